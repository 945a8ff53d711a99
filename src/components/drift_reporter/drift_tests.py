"""Has a sensor drifted, or has the process moved? Tests of a few indicators, within phases.

A month is compared with the reference: the training rows with their out-of-fold predictions, and
the months that a person has accepted as healthy. Comparing within phases keeps a changed share of
phases from looking like drift; the phases of one experiment may be correlated; the normal variation
from month to month counts as healthy; and Holm's correction over all tests keeps the chance of a
false alarm in a healthy month at `monitoring.alarm`. `Documentation/monitoring.md` has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from src.components.drift_reporter.indicators import (
    LEVEL,
    PROCESS,
    SENSOR_INDICATORS,
    Baseline,
    own_values,
    sensor_indicator,
)
from src.components.drift_reporter.joint_test import PEER, Joint, Levels, given_level_tests
from src.components.drift_reporter.precedents import precedents
from src.components.drift_reporter.rank_tests import NUMBERS, holm, shift_tests
from src.components.drift_reporter.sample import Columns, Sample
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.variation import MONTHS
from src.soft_sensor import SoftSensor

# So many probes fail in a month at most; where more seem to, and levels moved, the process did.
PROBES = 2
# Probes at fault explain at least so much of what the levels moved together; else the process did.
EXPLAINED = 0.8
# A sensor whose t squared is less below the largest may be at fault as well: of two sensors, the
# one at fault is beyond it in 5 % of months (its margin is normal, see monitoring.md).
CLOSE = norm.isf(0.05) ** 2
# SD; a move of the process that is an alarm although the reference does not show yet how much
# healthy months differ.
LARGE = 1.0


class Accusation(NamedTuple):
    """A sensor at fault, and those that it cannot be told apart from."""

    sensor: str
    rivals: tuple[str, ...] = ()
    follows_process: bool = True  # for something that a move of the process can look like


@dataclass(frozen=True)
class Comparison:
    """A month beside a reference.

    Attributes:
        levels: of all sensors; those of sensors without values enough are not tested.
        precedents: the same month beside parts of the reference, see `precedents`.
    """

    levels: Levels
    precedents: tuple[Levels, ...]

    def tests(self, names: list[str], spec: SoftSensor) -> pd.DataFrame:
        """What each of some sensors moved by itself; `stands`: against every precedent, too."""
        tests = self.levels.only(names).tests
        stands = pd.Series(True, index=tests.index)
        for precedent in self.precedents:
            p = precedent.only(names).tests.set_index("part")["p"]
            stands &= tests["part"].map(p).fillna(0) <= spec.monitoring.watch
        return tests.assign(stands=stands)

    def likeliest(self, names: list[str]) -> list[str]:
        """Of some sensors the one that most likely moved by itself, and those close to it."""
        ratios = pd.Series(self.levels.only(names).ratios, dtype=float)
        ordered = ratios.sort_values(ascending=False, kind="stable")
        return [str(name) for name in ordered.index[ordered > ordered.max() - CLOSE]]

    def joint(self, names: list[str]) -> Joint:
        """What some sensors moved together."""
        return self.levels.only(names).joint

    def joint_stands(self, names: list[str], spec: SoftSensor) -> bool:
        """Whether they moved against every precedent, too."""
        parts = [precedent.only(names) for precedent in self.precedents]
        return all(part.joint.p <= spec.monitoring.watch for part in parts if part.scores)


def compare(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> Comparison:
    """Rank the levels of a month together with those of the reference and of its precedents."""

    def levels_beside(rows: pd.DataFrame) -> Levels:
        levels = {
            sensor.name: np.concatenate([part[sensor.level] for part in (rows, month)], dtype=float)
            for sensor in spec.sensors
        }
        return Levels.of(levels, Sample.of(rows, month, spec), spec.monitoring.min_rows)

    parts = tuple(levels_beside(part) for part in precedents(reference, month))
    return Comparison(levels_beside(reference), parts)


def drift(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Test every indicator of every sensor, the process, and the predictions.

    Sensors at fault are identified one at a time, the strongest evidence first. An identified
    sensor is no longer used as a peer of the others, because its fault would show in them too.

    Args:
        month, reference: keys, last_timestamp, features and predictions, one row per phase.

    Returns:
        One row per test, the strongest evidence first: part (sensor or target, empty for the
        process), indicator, reference_rows, rows, shift (in standard deviations within a phase),
        statistic (shift / error, Student's t when nothing has changed), error (of the shift), p,
        p_holm, status (`alarm`, `watch`, `no drift`), rank (1 for the sensor identified first, and
        for those that it cannot be told apart from; NaN for those that were not) and stands (false
        where a precedent shows the same).
    """
    baseline = Baseline(reference, spec)
    sample = Sample.of(reference, month, spec)
    own_tests = _own_tests(_of_both(month, baseline), sample, spec)
    comparison = compare(month, reference, spec)
    tests, accused = _accuse(own_tests.assign(stands=True), comparison, spec)
    accused = _unless_the_process_moved(accused, comparison, spec)
    rest = _rest(accused, comparison)
    if len(comparison.levels.scores) > 1 and rest:
        tests = pd.concat([tests, _process_test(rest, own_tests, comparison, spec)])
    tests = tests.reset_index(drop=True)
    tests["p_holm"] = holm(tests["p"])
    ranks: dict[str, int] = {}
    for rank, each in enumerate(accused, start=1):
        for name in (each.sensor, *each.rivals):
            ranks.setdefault(name, rank)
    tests["rank"] = tests["part"].map(ranks)
    tests["status"] = _statuses(tests, accused, reference, spec)
    return tests.sort_values(["rank", "p"], kind="stable", ignore_index=True)


def _own_tests(columns: Columns, sample: Sample, spec: SoftSensor) -> pd.DataFrame:
    """The tests of the indicators that need no other sensor."""
    with_level = {each.name for each in SENSOR_INDICATORS if each.given_level}
    alone = {name: values for name, values in columns.items() if name[1] not in with_level}
    given_level = {name: values for name, values in columns.items() if name[1] in with_level}
    levels = {part: values for (part, name), values in columns.items() if name == LEVEL}
    least = spec.monitoring.min_rows
    tests = [
        shift_tests(alone, sample, least),
        given_level_tests(given_level, levels, sample, least),
    ]
    return pd.concat(tests, ignore_index=True)


def _of_both(month: pd.DataFrame, baseline: Baseline) -> Columns:
    """Values of the reference, followed by those of the month."""
    of_reference, of_month = own_values(baseline.reference, baseline), own_values(month, baseline)
    return {name: np.concatenate([of_reference[name], values]) for name, values in of_month.items()}


def _accuse(
    own_tests: pd.DataFrame, comparison: Comparison, spec: SoftSensor
) -> tuple[pd.DataFrame, list[Accusation]]:
    """All tests but that of the process, and the sensors at fault."""
    left = list(comparison.levels.scores) if len(spec.sensors) > 1 else []
    of_levels: dict[str, pd.DataFrame] = {}
    accused: list[Accusation] = []
    while True:
        by_itself = comparison.tests(left, spec)
        of_levels |= {name: by_itself[by_itself["part"] == name] for name in left}
        tests = pd.concat([own_tests, *of_levels.values()], ignore_index=True)
        likeliest = comparison.likeliest(left)
        suspect = _strongest_suspect(tests, likeliest[:1], {each.sensor for each in accused}, spec)
        if suspect is None:
            return tests, [_without_rivals_at_fault(each, accused) for each in accused]
        name, indicator = suspect
        rivals = tuple(likeliest[1:]) if indicator == PEER else ()
        follows_process = not sensor_indicator(indicator).given_level
        accused.append(Accusation(name, rivals, follows_process))
        left = [other for other in left if other != name]


def _strongest_suspect(
    tests: pd.DataFrame, likeliest: list[str], accused: set[str], spec: SoftSensor
) -> tuple[str, str] | None:
    """Sensor and indicator with the smallest p among the large shifts, if that is significant.

    Args:
        likeliest: the one sensor that can be accused for what its level moved by itself.
    """
    rules = spec.monitoring
    names = {sensor.name for sensor in spec.sensors} - accused
    large = tests["shift"].abs() >= rules.min_shift
    own = tests["part"].isin(names) & accuses(tests, spec)
    own &= (tests["indicator"] != PEER) | tests["part"].isin(likeliest)
    suspects = tests[large & own & tests["stands"]]
    suspects = suspects.sort_values("p", kind="stable")
    if suspects.empty or suspects["p"].iloc[0] * len(tests) > rules.alarm:
        return None
    return str(suspects["part"].iloc[0]), str(suspects["indicator"].iloc[0])


def accuses(tests: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Which tests can put a sensor at fault: not those of its level, which others may explain."""
    return (tests["indicator"] != LEVEL) | (len(spec.sensors) == 1)


def _without_rivals_at_fault(one: Accusation, accused: list[Accusation]) -> Accusation:
    """An accusation whose rivals are not at fault themselves."""
    faulty = {each.sensor for each in accused}
    return one._replace(rivals=tuple(name for name in one.rivals if name not in faulty))


def _rest(accused: list[Accusation], comparison: Comparison) -> list[str]:
    """The tested sensors that are not at fault."""
    faulty = {each.sensor for each in accused}
    return [name for name in comparison.levels.scores if name not in faulty]


def _unless_the_process_moved(
    accused: list[Accusation], comparison: Comparison, spec: SoftSensor
) -> list[Accusation]:
    """The accusations; none where the process has moved, which noise and scatter follow, too."""
    rest, alarm = _rest(accused, comparison), spec.monitoring.alarm
    if not accused or not rest:
        return accused
    of_all, left = comparison.joint(list(comparison.levels.scores)), comparison.joint(rest)
    unexplained = left.p <= alarm and left.size > (1 - EXPLAINED) * of_all.size
    too_many = of_all.p <= alarm and len(accused) > PROBES
    return [] if too_many or unexplained else accused


def _process_test(
    names: list[str], own_tests: pd.DataFrame, comparison: Comparison, spec: SoftSensor
) -> pd.DataFrame:
    """The test of what the levels of some sensors moved together, as a table of one row.

    Its shift is the largest of their shifts.
    """
    joint = comparison.joint(names)
    of_levels = own_tests[(own_tests["indicator"] == LEVEL) & own_tests["part"].isin(names)]
    largest = of_levels["shift"].iloc[of_levels["shift"].abs().to_numpy().argmax()]
    row = {
        "part": "",
        "indicator": PROCESS.name,
        "reference_rows": joint.reference_rows,
        "rows": joint.rows - joint.reference_rows,
        "shift": largest,
        "p": joint.p,
        "stands": comparison.joint_stands(names, spec),
    }
    table = pd.DataFrame([row]).reindex(columns=own_tests.columns.union(["stands"], sort=False))
    return table.astype(dict.fromkeys(NUMBERS, float))


def _statuses(
    tests: pd.DataFrame, accused: list[Accusation], reference: pd.DataFrame, spec: SoftSensor
) -> np.ndarray:
    """The status of each test, (rows,)."""
    rules = spec.monitoring
    significant = tests["p_holm"] <= rules.alarm
    size = tests["shift"].abs()
    # Shifts of predictions and of levels that the other sensors explain are never an alarm of their
    # own: they follow the process.
    alarm = significant & (size >= rules.min_shift) & tests["rank"].notna()
    rivals = {name for each in accused for name in each.rivals}
    alarm |= tests["part"].isin(rivals) & (tests["indicator"] == PEER)
    if not any(each.follows_process for each in accused):
        least = rules.min_shift if covers_months(reference) else LARGE
        alarm |= (
            significant & (size >= least) & (tests["indicator"] == PROCESS.name) & tests["stands"]
        )
    watch = tests["p_holm"] <= rules.watch
    return np.select(
        [alarm, watch], [Status.ALARM.value, Status.WATCH.value], Status.NO_DRIFT.value
    )


def covers_months(reference: pd.DataFrame) -> bool:
    """Whether a reference shows how much healthy months differ."""
    return len(np.unique(_calendar_months(reference))) >= MONTHS


def _calendar_months(reference: pd.DataFrame) -> np.ndarray:
    stamps = pd.to_datetime(reference["last_timestamp"], unit="s").to_numpy()
    return stamps[~np.isnat(stamps)].astype("datetime64[M]")


def sensors_at_fault(tests: pd.DataFrame) -> list[tuple[str, ...]]:
    """The sensors that `drift` has identified, the strongest evidence first.

    Returns:
        For each fault the sensor, followed by those that it cannot be told apart from.
    """
    identified = tests[tests["rank"].notna()]
    faults = []
    for _, rows in identified.groupby("rank"):
        of_levels = rows[rows["indicator"] == PEER].sort_values("p", kind="stable")["part"]
        names = [*of_levels, *rows.sort_values("p", kind="stable")["part"]]
        faults.append(tuple(dict.fromkeys(str(name) for name in names)))
    return faults


def most_significant(name: str, tests: pd.DataFrame) -> str:
    """The indicator of a sensor with the smallest p."""
    own = tests[tests["part"] == name]
    return str(own.nsmallest(1, "p")["indicator"].iloc[0])


def smallest_shift(tests: pd.DataFrame, spec: SoftSensor) -> float:
    """The shift of a level that this month would have shown with a probability of 80 %, in SD.

    NaN when no level was tested.
    """
    accusing = PEER if len(spec.sensors) > 1 else LEVEL
    of_levels = tests["indicator"] == accusing
    errors = tests.loc[of_levels & np.isfinite(tests["error"]), "error"]
    significance = norm.isf(spec.monitoring.alarm / 2 / max(len(tests), 1))
    power = norm.isf(0.2)
    return float(max((significance + power) * errors.median(), spec.monitoring.min_shift))
