"""Have the sensors drifted? Few, nearly independent indicators, and rank tests within phases.

A month is compared with the reference: the training rows, whose predictions are out-of-fold, and
the months that a person found healthy. Comparing within phases keeps a changed share of washing and
rinsing from looking like drift; the two phases of one experiment may be alike; what usually changes
from month to month counts as healthy; and Holm's correction over all tests keeps the chance of a
false alarm in a healthy month at `monitoring.alarm`. `Documentation/monitoring.md` has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from src.components.drift_reporter.rank_tests import Array, Indicators, Sample, shift_tests
from src.soft_sensor import SoftSensor

ALARM, WATCH, OK, TOO_FEW = "alarm", "watch", "no drift", "not enough rows"
PREDICTION = "prediction"
FAR = 6  # interquartile ranges; what is further off must not bend the line through the peers


def drift(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Test every indicator of every sensor, and the predictions.

    Sensors are accused one by one: the surest first, which then is no peer of the others any more,
    as its fault would show in them too.

    Args:
        month, reference: keys, last_timestamp, features and predictions, one row a phase.

    Returns:
        One row a test, the surest first: part (sensor or target), indicator, reference_rows, rows,
        shift (in standard deviations within a phase), statistic (shift / error, Student's t when
        nothing has changed), error (of the shift), p, p_holm, status (`alarm`, `watch`, `no
        drift`), rank (1 for the sensor accused first, NaN for the others) and apart (the sensor's
        shift against all others, before any was accused).
    """
    rules = spec.monitoring
    sample, tables = Sample.of(reference, month, spec), (reference, month)
    base = shift_tests(
        _both(indicators(table, reference, spec) for table in tables), sample, rules.min_rows
    )
    peers = [sensor.name for sensor in spec.sensors]
    accused: list[str] = []
    found: dict[str, pd.DataFrame] = {}
    apart: dict[str, float] = {}
    while True:
        if len(peers) > 1:
            distances = _both(peer_distances(peers, table, reference, spec) for table in tables)
            against = shift_tests(distances, sample, rules.min_rows)
            found |= {name: against[against["part"] == name] for name in peers}
            apart = apart or dict(zip(against["part"], against["shift"]))
        tests = pd.concat([base, *found.values()], ignore_index=True)
        suspect = tests["part"].isin(peers) & (tests["shift"].abs() >= rules.min_shift)
        surest = tests[suspect].sort_values("p", kind="stable").head(1)
        if surest.empty or surest["p"].item() * len(tests) > rules.alarm:
            break
        accused.append(str(surest["part"].item()))
        peers.remove(accused[-1])
    tests["p_holm"] = multipletests(tests["p"], method="holm")[1] if len(tests) else []
    # Predictions follow the sensors: by themselves they send nobody to the plant.
    sure = (tests["p_holm"] <= rules.alarm) & tests["part"].isin(accused)
    sure &= tests["shift"].abs() >= rules.min_shift
    tests["status"] = np.select([sure, tests["p_holm"] <= rules.watch], [ALARM, WATCH], OK)
    tests["rank"] = tests["part"].map({name: place for place, name in enumerate(accused, start=1)})
    tests["apart"] = tests["part"].map(apart)
    return tests.sort_values(["rank", "p"], kind="stable", ignore_index=True)


def _both(parts: Iterable[Indicators]) -> Indicators:
    """The reference's values, then the month's."""
    usual, now = parts
    return {name: np.concatenate([usual[name], now[name]]) for name in usual}


def indicators(table: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> Indicators:
    """Nearly independent columns in place of a sensor's correlated features.

    `level` is the median, `noise` the logarithm of the standard deviation, `scatter` the distance
    of the level from its phase's centre in the reference. Each target has its `prediction`.
    """
    columns: dict[tuple[str, str], pd.Series] = {}
    phase = spec.columns.phase
    for sensor in spec.sensors:
        level, spread = f"{sensor.name}_median", f"{sensor.name}_std"
        centre = reference.groupby(phase)[level].median()
        # A stuck sensor has no spread; a thousandth of the usual one stands for the logarithm of 0.
        floor = 1e-3 * reference[spread].median()
        floor = floor if floor > 0 else np.finfo(float).tiny
        columns[sensor.name, "level"] = table[level]
        columns[sensor.name, "noise"] = np.log(table[spread] + floor)
        columns[sensor.name, "scatter"] = (table[level] - table[phase].map(centre)).abs()
    columns |= {(target, PREDICTION): table[target] for target in spec.target_names}
    return {name: values.to_numpy(dtype=float) for name, values in columns.items()}


def peer_distances(
    peers: list[str], table: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> Indicators:
    """How far each of some sensors is from what the others of them say.

    The level minus its linear prediction (least squares, fitted on the reference) from the levels
    of the other sensors and the phase, in units of the interquartile range, which a wild value
    does not stretch. A fault of one probe shows here better than in its level, which the process
    moves too.
    """
    phase, names = spec.columns.phase, [f"{name}_median" for name in peers]
    low, centre, high = (reference[names].quantile(share) for share in (0.25, 0.5, 0.75))
    width = (high - low).where(high > low, reference[names].std()).replace(0, 1)
    usual, now = (
        np.clip(((rows[names] - centre) / width).to_numpy(), -FAR, FAR)
        for rows in (reference, table)
    )
    codes = {each.value: code for code, each in enumerate(spec.phases)}
    then_in, now_in = (rows[phase].map(codes).to_numpy() for rows in (reference, table))
    filled = [usual.copy(), now.copy()]
    for code in np.unique(then_in):
        middle = np.nan_to_num(_nanmedian(usual[then_in == code]))
        for values, inside in zip(filled, (then_in == code, now_in == code)):
            values[inside] = np.where(np.isnan(values[inside]), middle, values[inside])
    design = [
        np.column_stack([np.eye(len(codes))[inside], np.nan_to_num(values)])
        for inside, values in zip((then_in, now_in), filled)
    ]
    columns: Indicators = {}
    for place, name in enumerate(peers):
        others = [k for k in range(design[0].shape[1]) if k != len(codes) + place]
        known = ~np.isnan(usual[:, place])
        line = np.linalg.lstsq(design[0][known][:, others], usual[known, place], rcond=None)[0]
        columns[name, "peer"] = now[:, place] - design[1][:, others] @ line
    return columns


def _nanmedian(values: Array) -> Array:
    """Medians of the columns, NaN for one without values."""
    return np.asarray(pd.DataFrame(values).median())


def smallest_shift(tests: pd.DataFrame, spec: SoftSensor) -> float:
    """The shift of a level that this month would have shown with a chance of 80 %, in SD.

    NaN when no level was tested.
    """
    errors = tests.loc[(tests["indicator"] == "level") & np.isfinite(tests["error"]), "error"]
    needed = norm.isf(spec.monitoring.alarm / 2 / max(len(tests), 1)) + norm.isf(0.2)
    return float(max(needed * errors.median(), spec.monitoring.min_shift))


def onset(
    part: str, indicator: str, month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> pd.Timestamp | None:
    """Since when an indicator has been off within the month; None when from the first row on.

    The change point that explains most, between rows like the reference and rows off by a constant:
    the largest gain of likelihood of normal scores (Hinkley, Biometrika 57, 1970).
    """
    peers = [each.name for each in spec.sensors]
    usual, now = (
        (
            peer_distances(peers, table, reference, spec)
            if indicator == "peer"
            else indicators(table, reference, spec)
        )[part, indicator]
        for table in (reference, month)
    )
    phase, scores, stamps = spec.columns.phase, [], []
    for value in reference[phase].unique():
        then = np.sort(usual[(reference[phase] == value) & np.isfinite(usual)])
        rows = ((month[phase] == value) & np.isfinite(now)).to_numpy()
        scores.append(norm.ppf((np.searchsorted(then, now[rows]) + 0.5) / (len(then) + 1)))
        stamps.append(month.loc[rows, "last_timestamp"].to_numpy())
    order = np.argsort(np.concatenate(stamps), kind="stable")
    score, stamp = np.concatenate(scores)[order], np.concatenate(stamps)[order]
    tail = score[::-1].cumsum()[::-1]
    gain = tail**2 / np.arange(len(tail), 0, -1)
    first = int(gain.argmax())
    # 99 % of months with a shift from the first row on gain less (simulated, phases alike by 0.5).
    if not first or gain[first] - gain[0] < 13:
        return None
    return pd.Timestamp(stamp[first], unit="s", tz="UTC")
