"""Since when has an indicator of a sensor been off?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from src.components.drift_reporter.indicators import Baseline, sensor_indicator
from src.components.drift_reporter.sample import Array
from src.soft_sensor import SoftSensor

# The likelihood that a change point must gain over a shift from the first row on. 99 % of months
# with such a shift gain less (simulated, phases of an experiment correlated by 0.5).
GAIN = 13


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
    baseline = Baseline(reference, spec)
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
