"""The verdict on a month: all tests together, corrected by what earlier months have shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from src.components.drift_reporter import checks, drift_tests, performance
from src.components.drift_reporter.drift_tests import ALARM, OK, PREDICTION, TOO_FEW, WATCH
from src.errors import DataError
from src.soft_sensor import SoftSensor

LEAST_REFERENCE = 20  # rows
DRIFT, CHECK, LABORATORY = "drift", "check", "laboratory"
FAILING = ("missing", "out of bounds", "stuck")  # checks that put a sensor in alarm


@dataclass(frozen=True)
class Laboratory:
    """What the laboratory says of Production.

    Attributes:
        recent: errors on the values looked at (see `performance.errors`).
        known: errors on phases that the models had not seen.
    """

    recent: pd.DataFrame
    known: pd.DataFrame


@dataclass(frozen=True)
class Verdict:
    """What one month looks like.

    Attributes:
        status: `alarm`, `watch`, `no drift` or `not enough rows`.
        sensors: names of the sensors at fault, the surest first.
        tests: all tests: kind (`drift`, `check`, `laboratory`), part, indicator, reference_rows,
            rows, shift, statistic, p, p_holm, status and, for an accused sensor, rank.
        onsets: accused sensor to when it began; None for before the month.
        smallest_shift: of a level, which this month would have shown with a chance of 80 %, in SD.
        short: phases with too few rows, by name, with their numbers in month and reference.
        unconfirmed: sensors whose alarm waits for another month (`monitoring.confirm`).
    """

    status: str
    sensors: list[str]
    tests: pd.DataFrame
    onsets: dict[str, pd.Timestamp | None]
    smallest_shift: float
    short: dict[str, tuple[int, int]]
    unconfirmed: list[str]


def judge(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # all that counts
    month: pd.DataFrame,
    reference: pd.DataFrame,
    before: dict[str, Any],
    laboratory: Laboratory | None,
    earlier: pd.DataFrame,
    spec: SoftSensor,
) -> Verdict:
    """Judge a month.

    Args:
        month: rows of the ledger, targets predicted by the version that the reference is of.
        reference: see `windows.reference`.
        before: see `windows.before`.
        laboratory: errors, None when there are no laboratory values.
        earlier: tests of the windows before this one, with `until`; see `MonitoringLog.history`.

    Raises:
        DataError: when the reference is too small to compare with.
    """
    if len(reference) < LEAST_REFERENCE:
        raise DataError(
            f"the reference has {len(reference)} rows, at least {LEAST_REFERENCE} are needed: "
            "train on more laboratory values, or accept healthy months (`impress monitor --accept`)"
        )
    drifted = drift_tests.drift(month, reference, spec)
    checked = checks.checks(month, reference, before, spec)
    parts = [drifted.assign(kind=DRIFT), checked.assign(kind=CHECK)]
    if laboratory is not None:
        tested = performance.tests(laboratory.recent, laboratory.known, spec)
        parts.append(tested.assign(kind=LABORATORY))
    tests = pd.concat([part for part in parts if len(part)], ignore_index=True)
    accused = drifted.loc[drifted["rank"].notna(), "part"].drop_duplicates().tolist()
    names = {sensor.name for sensor in spec.sensors}
    failing = checked.loc[(checked["status"] == ALARM) & checked["part"].isin(names), "part"]
    sensors = list(dict.fromkeys([*accused, *failing]))
    unconfirmed = [name for name in sensors if not _confirmed(name, earlier, spec)]
    waiting = tests["part"].isin(unconfirmed) & (tests["status"] == ALARM)
    tests["status"] = tests["status"].mask(waiting, WATCH)
    short = _short(month, reference, spec)
    return Verdict(
        status=_status(set(tests["status"]), bool(short)),
        sensors=[name for name in sensors if name not in unconfirmed],
        tests=tests,
        onsets={name: _onset(name, drifted, month, reference, spec) for name in accused},
        smallest_shift=drift_tests.smallest_shift(drifted, spec),
        short=short,
        unconfirmed=unconfirmed,
    )


def _status(found: set[str], short: bool) -> str:
    """The worst of what was found; a month is not called healthy when part of it was not seen."""
    worst = next((status for status in (ALARM, WATCH) if status in found), OK)
    return TOO_FEW if short and worst == OK else worst


def _short(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> dict[str, tuple[int, int]]:
    counts = {
        phase.name: (
            int((month[spec.columns.phase] == phase.value).sum()),
            int((reference[spec.columns.phase] == phase.value).sum()),
        )
        for phase in spec.phases
    }
    least = spec.monitoring.min_rows
    return {name: pair for name, pair in counts.items() if min(pair) < least}


def _confirmed(name: str, earlier: pd.DataFrame, spec: SoftSensor) -> bool:
    """Whether a sensor was found in enough of the last windows, this one included."""
    rule = spec.monitoring.confirm
    windows = earlier["until"].drop_duplicates().nlargest(rule.of - 1)
    past = earlier[earlier["until"].isin(windows) & (earlier["part"] == name)]
    # An alarm that waited for confirmation was kept as a watch, with all else of an alarm.
    sure = past["p_holm"].fillna(0) <= spec.monitoring.alarm
    large = (past["kind"] == DRIFT) & (past["shift"].abs() >= spec.monitoring.min_shift)
    suspicious = (past["status"] != OK) & sure & (large | past["indicator"].isin(FAILING))
    return int(past.loc[suspicious, "until"].nunique()) + 1 >= rule.need


def _onset(
    name: str,
    drifted: pd.DataFrame,
    month: pd.DataFrame,
    reference: pd.DataFrame,
    spec: SoftSensor,
) -> pd.Timestamp | None:
    surest = drifted[drifted["part"] == name].nsmallest(1, "p")["indicator"].iloc[0]
    return drift_tests.onset(name, surest, month, reference, spec)


def backtest(reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Each calendar month of the reference against the others: what would it have been called?

    It shows how often an alarm would be false on this plant's own data.

    Returns:
        One row a month that has rows enough: month, rows, status, sensors; empty for a reference
        of one month.
    """
    stamps = pd.to_datetime(reference["last_timestamp"], unit="s")
    found = []
    for month, rows in reference.groupby(stamps.dt.strftime("%Y-%m")):
        others = reference.drop(rows.index)
        if len(others) < LEAST_REFERENCE or _short(rows, others, spec):
            continue
        tests = drift_tests.drift(rows, others, spec)
        alarm, any_word = (tests["status"] == ALARM).any(), (tests["status"] != OK).any()
        status = ALARM if alarm else WATCH if any_word else OK
        sensors = tests.loc[(tests["status"] == ALARM) & (tests["indicator"] != PREDICTION), "part"]
        found.append([month, len(rows), status, ", ".join(sensors.unique())])
    return pd.DataFrame(found, columns=["month", "rows", "status", "sensors"])
