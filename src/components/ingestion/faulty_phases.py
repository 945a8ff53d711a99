"""Archived phases in which monitoring has found a sensor at fault: nothing is trained on them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sqlalchemy import Engine

from src.components.database.journal import Journal
from src.soft_sensor import SoftSensor

PIPELINE = "monitor"
REPORTS = 120  # newest ones that are looked at


def is_faulty(
    ledger: pd.DataFrame, engine: Engine, spec: SoftSensor, known_at: pd.Timestamp | None = None
) -> pd.Series:
    """Which phases were recorded while a sensor was at fault.

    That is from the beginning of the fault, or of the period of the report that named it, until the
    next report; after the newest one the fault lasts. A report that a person has accepted as
    healthy names no fault.

    Args:
        ledger: rows with predicted_at and last_timestamp.
        known_at: only what reports had found until then.
    """
    faulty = pd.Series(False, index=ledger.index)
    runs = Journal(engine, spec).newest(PIPELINE, REPORTS)
    if known_at is not None:
        runs = [run for run in runs if run["ended_at"] and run["ended_at"] <= known_at]
    reports = [run["details"] for run in runs if run["details"].get("asked_for") is False]
    for place, report in enumerate(reports):
        if report.get("accepted_at") or not report.get("sensors"):
            continue
        faulty |= _in_period(ledger, report, newest=place == 0) & _since_onset(ledger, report)
    return faulty


def _in_period(ledger: pd.DataFrame, report: dict[str, Any], newest: bool) -> pd.Series:
    predicted = pd.to_datetime(ledger["predicted_at"], utc=True)
    inside = pd.Series(True, index=ledger.index)
    if since := report.get("since"):
        inside &= predicted > _moment(since)
    if not newest:
        inside &= predicted <= _moment(report.get("until"))
    return inside


def _moment(words: Any) -> Any:
    """A moment in a report; NaT, before and after which nothing is, where it is unreadable."""
    return pd.to_datetime(str(words), utc=True, errors="coerce")


def _since_onset(ledger: pd.DataFrame, report: dict[str, Any]) -> pd.Series:
    """Rows from the first onset on; all where a fault began before the period."""
    onsets = report.get("onsets") or {}
    if set(onsets) != set(report["sensors"]):
        return pd.Series(True, index=ledger.index)
    ended = pd.to_datetime(ledger["last_timestamp"], unit="s", utc=True, errors="coerce")
    return pd.Series(ended >= min(_moment(onset) for onset in onsets.values()))
