"""Which phases to check again: those called clean while a sensor was at fault."""

from __future__ import annotations

import pandas as pd

from src.components.drift_reporter.verdict import Verdict
from src.components.predictor.judgement import Judgement
from src.language import UNKNOWN, Language
from src.soft_sensor import SoftSensor


def to_check_again(
    verdict: Verdict, month: pd.DataFrame, spec: SoftSensor
) -> list[tuple[str, str]]:
    """Days and the experiments of that day, oldest first; none where no sensor is at fault.

    The fault that began first counts, and a check, such as for a sensor that is stuck, for the
    whole month.

    Args:
        month: rows of the ledger.
    """
    if not verdict.faults:
        return []
    rows = month[month["verdict"] == Judgement.CLEAN].sort_values("last_timestamp", kind="stable")
    begins = [verdict.onsets.get(name) for name in verdict.sensors]
    known = [begin for begin in begins if begin is not None]
    if len(known) == len(begins):
        rows = rows[~(rows["last_timestamp"] < min(known).timestamp())]
    language = Language(spec.language)
    days: dict[str, list[str]] = {}
    for stamp, experiment in zip(rows["last_timestamp"], rows[spec.columns.experiment]):
        known_day = pd.notna(stamp)
        day = language.weekday(pd.Timestamp(stamp, unit="s")) if known_day else UNKNOWN
        days.setdefault(day, []).append(str(experiment))
    return [(day, ", ".join(experiments)) for day, experiments in days.items()]
