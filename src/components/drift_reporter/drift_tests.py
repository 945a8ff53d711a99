"""Have the sensors drifted? Rank tests of a few indicators, within phases.

A month is compared with the reference: the training rows with their out-of-fold predictions, and
the months that a person has accepted as healthy. Comparing within phases keeps a changed share of
phases from looking like drift; the phases of one experiment may be correlated; the normal variation
from month to month counts as healthy; and Holm's correction over all tests keeps the chance of a
false alarm in a healthy month at `monitoring.alarm`. `Documentation/monitoring.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from src.components.drift_reporter.indicators import (
    LEVEL,
    PEER,
    Baseline,
    own_values,
    peer_values,
    sensor_indicator,
)
from src.components.drift_reporter.rank_tests import Array, Columns, Sample, shift_tests
from src.components.drift_reporter.status import Status
from src.soft_sensor import SoftSensor

# The likelihood that a change point must gain over a shift from the first row on. 99 % of months
# with such a shift gain less (simulated, phases of an experiment correlated by 0.5).
GAIN = 13


def drift(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Test every indicator of every sensor, and the predictions.

    Sensors at fault are identified one at a time, the strongest evidence first. An identified
    sensor is no longer used as a peer of the others, because its fault would show in them too.

    Args:
        month, reference: keys, last_timestamp, features and predictions, one row per phase.

    Returns:
        One row per test, the strongest evidence first: part (sensor or target), indicator,
        reference_rows, rows, shift (in standard deviations within a phase), statistic (shift /
        error, Student's t when nothing has changed), error (of the shift), p, p_holm, status
        (`alarm`, `watch`, `no drift`), rank (1 for the sensor identified first, NaN for those that
        were not) and apart (the sensor's shift against all others, before any was identified).
    """
    rules = spec.monitoring
    sample = Sample.of(reference, month, spec)
    baseline = Baseline(reference, spec, spec.sensors)
    own_tests = shift_tests(_of_both(own_values, month, baseline), sample, rules.min_rows)
    peer_tests: dict[str, pd.DataFrame] = {}
    apart: dict[str, float] = {}
    at_fault: list[str] = []
    while True:
        if len(baseline.peers) > 1:
            columns = _of_both(peer_values, month, baseline)
            by_peers = shift_tests(columns, sample, rules.min_rows)
            for sensor in baseline.peers:
                peer_tests[sensor.name] = by_peers[by_peers["part"] == sensor.name]
            if not apart:
                distances = by_peers[by_peers["indicator"] == PEER]
                apart = dict(zip(distances["part"], distances["shift"]))
        tests = pd.concat([own_tests, *peer_tests.values()], ignore_index=True)
        suspect = _strongest_suspect(tests, baseline)
        if suspect is None:
            break
        at_fault.append(suspect)
        baseline = baseline.without(suspect)
    tests["p_holm"] = multipletests(tests["p"], method="holm")[1] if len(tests) else []
    tests["status"] = _statuses(tests, at_fault, spec)
    ranks = {name: rank for rank, name in enumerate(at_fault, start=1)}
    tests["rank"] = tests["part"].map(ranks)
    tests["apart"] = tests["part"].map(apart)
    return tests.sort_values(["rank", "p"], kind="stable", ignore_index=True)


def _of_both(
    describe: Callable[[pd.DataFrame, Baseline], Columns], month: pd.DataFrame, baseline: Baseline
) -> Columns:
    """Values of the reference, followed by those of the month."""
    of_reference = describe(baseline.reference, baseline)
    of_month = describe(month, baseline)
    return {name: np.concatenate([of_reference[name], of_month[name]]) for name in of_month}


def _strongest_suspect(tests: pd.DataFrame, baseline: Baseline) -> str | None:
    """The peer with the smallest p among the large shifts, if that is significant."""
    rules = baseline.spec.monitoring
    peers = [sensor.name for sensor in baseline.peers]
    large = tests["shift"].abs() >= rules.min_shift
    suspects = tests[large & tests["part"].isin(peers)].sort_values("p", kind="stable")
    if suspects.empty or suspects["p"].iloc[0] * len(tests) > rules.alarm:
        return None
    return str(suspects["part"].iloc[0])


def _statuses(tests: pd.DataFrame, at_fault: list[str], spec: SoftSensor) -> np.ndarray:
    """The status of each test, (rows,)."""
    rules = spec.monitoring
    # A shift of the predictions alone never raises an alarm: they follow the sensors.
    alarm = (
        (tests["p_holm"] <= rules.alarm)
        & (tests["shift"].abs() >= rules.min_shift)
        & tests["part"].isin(at_fault)
    )
    watch = tests["p_holm"] <= rules.watch
    return np.select(
        [alarm, watch], [Status.ALARM.value, Status.WATCH.value], Status.NO_DRIFT.value
    )


def sensors_at_fault(tests: pd.DataFrame) -> list[str]:
    """Names of the sensors that `drift` has identified, the strongest evidence first."""
    identified = tests[tests["rank"].notna()]
    return [str(name) for name in identified["part"].drop_duplicates()]


def most_significant(name: str, tests: pd.DataFrame) -> str:
    """The indicator of a sensor with the smallest p."""
    own = tests[tests["part"] == name]
    return str(own.nsmallest(1, "p")["indicator"].iloc[0])


def smallest_shift(tests: pd.DataFrame, spec: SoftSensor) -> float:
    """The shift of a level that this month would have shown with a probability of 80 %, in SD.

    NaN when no level was tested.
    """
    of_levels = tests["indicator"] == LEVEL
    errors = tests.loc[of_levels & np.isfinite(tests["error"]), "error"]
    significance = norm.isf(spec.monitoring.alarm / 2 / max(len(tests), 1))
    power = norm.isf(0.2)
    return float(max((significance + power) * errors.median(), spec.monitoring.min_shift))


def onset(
    name: str,
    indicator_name: str,
    month: pd.DataFrame,
    reference: pd.DataFrame,
    spec: SoftSensor,
) -> pd.Timestamp | None:
    """Since when an indicator of a sensor has been off; None when from the first row of the month.

    The change point that explains most, between rows like the reference and rows off by a constant:
    the largest gain of likelihood of normal scores (Hinkley, Biometrika 57, 1970).
    """
    sensor = spec.sensor(name)
    indicator = sensor_indicator(indicator_name)
    baseline = Baseline(reference, spec, spec.sensors)
    reference_values = np.asarray(indicator.values(sensor, reference, baseline), dtype=float)
    values = np.asarray(indicator.values(sensor, month, baseline), dtype=float)
    scored = []
    for phase in reference[spec.columns.phase].unique():
        in_reference = (reference[spec.columns.phase] == phase) & np.isfinite(reference_values)
        in_month = (month[spec.columns.phase] == phase) & np.isfinite(values)
        expected = np.sort(reference_values[in_reference])
        rank = np.searchsorted(expected, values[in_month])
        score = norm.ppf((rank + 0.5) / (len(expected) + 1))
        stamp = month.loc[in_month, "last_timestamp"]
        scored.append(pd.DataFrame({"stamp": stamp, "score": score}))
    rows = pd.concat(scored).dropna(subset="stamp").sort_values("stamp", kind="stable")
    change = _change_point(rows["score"].to_numpy()) if len(rows) else None
    return None if change is None else pd.Timestamp(rows["stamp"].iloc[change], unit="s", tz="UTC")


def _change_point(scores: Array) -> int | None:
    """The row from which on the scores are shifted; None when that is the first one."""
    sums_from_row = scores[::-1].cumsum()[::-1]
    rows_left = np.arange(len(scores), 0, -1)
    gain = sums_from_row**2 / rows_left
    change = int(gain.argmax())
    return change if change and gain[change] - gain[0] >= GAIN else None
