"""The verdict on a month: all tests together, and whether earlier months confirm them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from src.components.drift_reporter import drift_tests, performance
from src.components.drift_reporter.checks import CHECKS, checks
from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.onset import onset
from src.components.drift_reporter.status import Status
from src.soft_sensor import SoftSensor

LEAST_REFERENCE = 20  # rows that drift is tested against
HARDLY_ANY, ONE_VALUE = "has hardly any values", "shows one value only"  # why it is not tested


@dataclass(frozen=True)
class Verdict:  # pylint: disable=too-many-instance-attributes  # all that a report says
    """The verdict on one month.

    Attributes:
        status: the worst of all tests, or that there were too few rows.
        faults: for each fault the sensor, followed by those that it cannot be told apart from, the
            strongest evidence first.
        tests: all tests: kind (see `Kind`), part, indicator, reference_rows, rows, shift,
            statistic, p, p_holm, status and, from `drift`, rank and stands.
        onsets: drifted sensor to the begin of its drift; None for before the month.
        smallest_shift: of a level, in SD, that this month would have shown with a probability of
            80 %.
        short: name of each phase with too few rows to its numbers in month and reference.
        unconfirmed: sensors whose alarm awaits confirmation by another month
            (`monitoring.confirm`).
        untestable: sensor to the reason why the reference cannot carry a test of it.
        smallest_bias: of the predictions, in SD of the usual error, that the laboratory values
            would have shown with a probability of 80 %.
    """

    status: Status
    faults: list[tuple[str, ...]]
    tests: pd.DataFrame
    onsets: dict[str, pd.Timestamp | None]
    smallest_shift: float
    short: dict[str, tuple[int, int]]
    unconfirmed: list[str]
    untestable: dict[str, str] = field(default_factory=dict)
    smallest_bias: float = float("nan")

    @property
    def sensors(self) -> list[str]:
        """Names of the sensors at fault, or possibly at fault."""
        return list(dict.fromkeys(name for fault in self.faults for name in fault))


def judge(evidence: Evidence, spec: SoftSensor) -> Verdict:
    """Judge a month by what the reference can carry: without enough of it by the checks alone."""
    month, reference = evidence.month, evidence.reference
    untestable = _untestable(reference, spec)
    drifts = _drift(month, reference, untestable, spec)
    results = checks(evidence, spec)
    losses = performance.tests(evidence.laboratory.recent, evidence.laboratory.expected, spec)
    tests = _joined({Kind.DRIFT: drifts, Kind.CHECK: results, Kind.LABORATORY: losses})
    drifted = drift_tests.sensors_at_fault(drifts)
    named = list(dict.fromkeys(name for fault in drifted for name in fault))
    failing = dict.fromkeys(name for name in _failing(results, spec) if name not in named)
    suspects = [*drifted, *((name,) for name in failing)]  # one may fail several checks
    confirmed = [fault for fault in suspects if _confirmed(fault, evidence.earlier.tests, spec)]
    unconfirmed = [name for fault in suspects if fault not in confirmed for name in fault]
    waiting = tests["part"].isin(unconfirmed) & (tests["status"] == Status.ALARM.value)
    tests["status"] = tests["status"].mask(waiting, Status.WATCH.value)
    short = _short(month, reference, spec)
    onsets = {}
    for name in named:
        indicator = drift_tests.most_significant(name, drifts)
        onsets[name] = onset(name, indicator, month, reference, spec)
    return Verdict(
        status=_status(set(tests["status"]), bool(short) or len(reference) < LEAST_REFERENCE),
        faults=confirmed,
        tests=tests,
        onsets=onsets,
        smallest_shift=drift_tests.smallest_shift(drifts, spec),
        short=short,
        unconfirmed=unconfirmed,
        untestable=untestable,
        smallest_bias=performance.smallest_bias(losses, spec),
    )


def _drift(
    month: pd.DataFrame, reference: pd.DataFrame, untestable: dict[str, str], spec: SoftSensor
) -> pd.DataFrame:
    """The drift tests of the sensors that can be tested."""
    sensors = tuple(sensor for sensor in spec.sensors if sensor.name not in untestable)
    enough = reference if len(reference) >= LEAST_REFERENCE else reference.head(0)
    return drift_tests.drift(month, enough, spec.model_copy(update={"sensors": sensors}))


def _untestable(reference: pd.DataFrame, spec: SoftSensor) -> dict[str, str]:
    """See `Verdict.untestable`."""
    reasons = {}
    for sensor in spec.sensors:
        levels = reference.groupby(spec.columns.phase)[sensor.level]
        if levels.count().max() < spec.monitoring.min_rows:
            reasons[sensor.name] = HARDLY_ANY
        elif not levels.nunique().max() > 1:
            reasons[sensor.name] = ONE_VALUE
    return reasons


def _joined(tables: dict[Kind, pd.DataFrame]) -> pd.DataFrame:
    parts = [table.assign(kind=kind.value) for kind, table in tables.items() if len(table)]
    return pd.concat(parts, ignore_index=True)


def _failing(results: pd.DataFrame, spec: SoftSensor) -> list[str]:
    """Sensors that a check has put in alarm."""
    alarms = results[results["status"] == Status.ALARM.value]
    names = {sensor.name for sensor in spec.sensors}
    return [part for part in alarms["part"] if part in names]


def _status(statuses: set[str], short: bool) -> Status:
    """The worst status; a month is not called healthy when part of it could not be tested."""
    for status in (Status.ALARM, Status.WATCH):
        if status in statuses:
            return status
    return Status.TOO_FEW if short else Status.NO_DRIFT


def _short(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> dict[str, tuple[int, int]]:
    """See `Verdict.short`."""
    short = {}
    for phase in spec.phases:
        in_month = int((month[spec.columns.phase] == phase.value).sum())
        in_reference = int((reference[spec.columns.phase] == phase.value).sum())
        if min(in_month, in_reference) < spec.monitoring.min_rows:
            short[phase.name] = in_month, in_reference
    return short


def _confirmed(fault: tuple[str, ...], earlier: pd.DataFrame, spec: SoftSensor) -> bool:
    """Whether one of some sensors was found in enough of the last periods, including this one.

    An earlier alarm that was awaiting confirmation was stored as a watch, with everything else of
    an alarm.

    Args:
        earlier: see `Earlier.tests`.
    """
    rules = spec.monitoring
    ends = earlier["until"].drop_duplicates().nlargest(rules.confirm.of - 1)
    own = earlier[earlier["until"].isin(ends) & earlier["part"].isin(fault)]
    reported = own["status"] != Status.NO_DRIFT.value
    significant = own["p_holm"].fillna(0) <= rules.alarm
    large = own["shift"].abs() >= rules.min_shift
    drifted = (own["kind"] == Kind.DRIFT.value) & large & drift_tests.accuses(own, spec)
    alarming = [check.name for check in CHECKS if check.status == Status.ALARM]
    failed = own["indicator"].isin(alarming)
    counts = reported & significant & (drifted | failed)
    earlier_times = own.loc[counts, "until"].nunique()
    return int(earlier_times) + 1 >= rules.confirm.need


def backtest(reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Test each calendar month of the reference against the others, as if it were a new one.

    It shows how often an alarm would be false on this plant's own data.

    Returns:
        One row per month with enough rows: month, rows, status, sensors; empty for a reference of
        one month.
    """
    stamps = pd.to_datetime(reference["last_timestamp"], unit="s")
    tested = []
    for month, rows in reference.groupby(stamps.dt.strftime("%Y-%m")):
        others = reference.drop(rows.index)
        if len(others) < LEAST_REFERENCE or _short(rows, others, spec):
            continue
        tests = drift_tests.drift(rows, others, spec)
        status = _status(set(tests["status"]), short=False)
        alarms = tests[tests["status"] == Status.ALARM.value]
        tested.append(
            {
                "month": month,
                "rows": len(rows),
                "status": status.value,
                "sensors": ", ".join(alarms["part"].unique()),
            }
        )
    return pd.DataFrame(tested, columns=["month", "rows", "status", "sensors"])
