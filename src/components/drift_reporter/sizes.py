"""By how much a sensor reads wrongly, phase by phase: in its unit, and as a share of the reading.

A shift in standard deviations is a single number for all phases. Multiplied by a standard deviation
it is true of none: a gain that is off by 30 % is 130 uS/cm in rinses and 600 uS/cm in washes. So
each reading is compared with what is expected in its own phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.components.drift_reporter.sample import Array
from src.soft_sensor import Phase, Sensor, SoftSensor

ROWS_A_SLOPE = 5  # of the reference in a phase; with fewer, its median is expected
LEAST = 3  # readings of a phase


@dataclass(frozen=True)
class Size:
    """How far off a sensor is in one phase.

    Attributes:
        shift: in the unit of the sensor.
        share: the same, of what was expected; NaN for a sensor whose zero is arbitrary.
    """

    phase: Phase
    shift: float
    share: float


def sizes(  # pylint: disable=too-many-arguments
    sensor: Sensor,
    month: pd.DataFrame,
    reference: pd.DataFrame,
    spec: SoftSensor,
    *,
    peers: Sequence[Sensor] = (),
    since: pd.Timestamp | None = None,
) -> list[Size]:
    """Of each phase the median distance of the sensor's level from what is expected.

    Args:
        month, reference: phase and features, one row per phase.
        peers: the sensors that say what is expected, by least squares on the sensors' scales in the
            rows of the reference; without any, it is the median of the reference.
        since: only rows that ended then or later.
    """
    rows = month if since is None else month[month["last_timestamp"] >= since.timestamp()]
    found = []
    for phase in spec.phases:
        own = rows[rows[spec.columns.phase] == phase.value]
        usual = reference[reference[spec.columns.phase] == phase.value]
        level = own[sensor.level].to_numpy(dtype=float)
        expected = _expected(sensor, peers, own, usual)
        known = np.isfinite(level - expected)
        if known.sum() < LEAST:
            continue
        off, expected = (level - expected)[known], expected[known]
        share = float(np.median(off / expected)) if _has_a_zero(sensor, expected) else np.nan
        found.append(Size(phase, float(np.median(off)), share))
    return found


def _has_a_zero(sensor: Sensor, expected: Array) -> bool:
    """Whether a share of a reading means anything: not of pH, nor of degrees Celsius."""
    return sensor.unit not in ("1", "degC", "°C", "C") and bool((expected > 0).all())


def _expected(
    sensor: Sensor, peers: Sequence[Sensor], rows: pd.DataFrame, usual: pd.DataFrame
) -> Array:
    """The expected level of some rows of a phase, (rows,), in the unit of the sensor."""
    level = _scaled(sensor, usual)
    known = np.isfinite(level)
    if not known.any():
        return np.full(len(rows), np.nan)
    if not peers or known.sum() < ROWS_A_SLOPE * (len(peers) + 1):
        return np.full(len(rows), np.nanmedian(usual[sensor.level]))
    peers = [peer for peer in peers if np.isfinite(_scaled(peer, usual)[known]).any()]
    medians = [float(np.nanmedian(_scaled(peer, usual)[known])) for peer in peers]
    design = _design(peers, usual, medians)
    line = np.linalg.lstsq(design[known], level[known], rcond=None)[0]
    expected = _design(peers, rows, medians) @ line
    lowest, highest = np.nanmin(level), np.nanmax(level)
    reach = highest - lowest
    expected = np.clip(expected, lowest - reach, highest + reach)
    return np.asarray(np.expm1(expected) if sensor.scale == "log" else expected)


def _design(peers: Sequence[Sensor], rows: pd.DataFrame, medians: Sequence[float]) -> Array:
    """Ones and the levels of the peers, the median of the reference where one is missing."""
    columns = [np.ones(len(rows))]
    for peer, median in zip(peers, medians):
        level = _scaled(peer, rows)
        columns.append(np.where(np.isfinite(level), level, median))
    return np.column_stack(columns)


def _scaled(sensor: Sensor, rows: pd.DataFrame) -> Array:
    """Levels on the scale of the sensor, (rows,)."""
    level = rows[sensor.level].clip(lower=sensor.low).to_numpy(dtype=float)
    return np.asarray(np.log1p(level) if sensor.scale == "log" else level)
