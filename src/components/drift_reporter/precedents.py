"""Healthy times that a month is compared with by themselves, besides the reference as a whole.

A shift that one of them shows as well is not a fault: the season of the year has come round again,
or a person has accepted a month that looked the same although it had been an alarm.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

ACCEPTED_ALARM = "impress_accepted_alarm"  # column of a reference: number of such a period, else 0
YEAR, SEASON = 365.25, 46  # days; so many before and after the month's middle are its season
SECONDS_A_DAY = 86_400
LEAST_ROWS = 20  # of a precedent


def precedents(reference: pd.DataFrame, month: pd.DataFrame) -> list[pd.DataFrame]:
    """Parts of a reference that are precedents of a month, with rows enough to compare with."""
    parts = [_same_season(reference, month)]
    if ACCEPTED_ALARM in reference:
        accepted = reference[reference[ACCEPTED_ALARM] > 0]
        parts += [rows for _, rows in accepted.groupby(ACCEPTED_ALARM)]
    return [part for part in parts if len(part) >= LEAST_ROWS]


def _same_season(reference: pd.DataFrame, month: pd.DataFrame) -> pd.DataFrame:
    """Rows of earlier years from the same time of the year."""
    days = (month["last_timestamp"].median() - reference["last_timestamp"]) / SECONDS_A_DAY
    years = np.round(days / YEAR)
    return reference[(years >= 1) & ((days - YEAR * years).abs() <= SEASON)]
