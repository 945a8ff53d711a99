"""Months of a plant as the monitoring sees them: features of phases, with what may befall them.

Levels vary from experiment to experiment with heavy tails, the sensors are correlated, the two
phases of an experiment are alike, one experiment in ten lacks a phase, and washing and rinsing lie
between 0.3 and 5 standard deviations apart. A phase is summarised from 120 autocorrelated readings,
as the database does it; how noisy they are varies by 30 % from phase to phase. Targets are known to
a soft sensor with R2 = 0.72.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.simulator import autocorrelated
from src.soft_sensor import SoftSensor

Array = NDArray[np.float64]

READINGS, MONTH = 120, 30 * 86_400  # in a phase; s
# Between the levels of turbidity, pressure, flow, pH and conductivity.
CORRELATION = np.array(
    [
        [1.0, 0.0, 0.0, 0.3, 0.5],
        [0.0, 1.0, -0.5, 0.0, 0.0],
        [0.0, -0.5, 1.0, 0.0, 0.0],
        [0.3, 0.0, 0.0, 1.0, 0.4],
        [0.5, 0.0, 0.0, 0.4, 1.0],
    ]
)
APART = np.array([2.5, 0.7, 0.3, 5.0, 5.0])  # washing minus rinsing, SD within a phase
WEIGHTS = np.array([[-0.5, 0.1, 0.1, 0.3, -0.6], [0.4, 0.2, 0, 0.3, 0.5], [0.6, 0, -0.2, 0.1, 0.4]])
SPREAD = np.sqrt((WEIGHTS @ CORRELATION * WEIGHTS).sum(axis=1))  # of predictions within a phase
R2 = 0.72


@dataclass(frozen=True)
class Plant:
    """An endless supply of healthy experiments; every draw is new."""

    spec: SoftSensor
    random: np.random.Generator

    def phases(self, rows: int, start: float = 0.0, months: int = 1) -> pd.DataFrame:
        """About `rows` phases, spread over `months` from `start` (Unix seconds) on.

        Returns:
            Keys, last_timestamp, features, predictions under the targets' names, and laboratory
            values as `<target>_measured`.
        """
        count = int(rows / 1.9) + 2
        number = np.repeat(np.arange(count) + self.random.integers(1 << 40), 2)
        stamps = np.sort(self.random.uniform(0, months * MONTH, count)) + start
        table = pd.DataFrame(
            {
                self.spec.columns.experiment: number,
                self.spec.columns.phase: np.tile([1, 0], count),
                "last_timestamp": np.repeat(stamps, 2) + np.tile([1500.0, 3000.0], count),
                "n_samples": READINGS,
            }
        )
        self._measure(table)
        lost = np.repeat(self.random.random(count) < 0.1, 2)
        lost &= np.repeat(self.random.integers(0, 2, count), 2) == np.tile([1, 0], count)
        return table[~lost].iloc[:rows].reset_index(drop=True)

    def _measure(self, table: pd.DataFrame) -> None:
        phase = table[self.spec.columns.phase].to_numpy(dtype=float)
        level = self._levels(len(phase))
        for place, sensor in enumerate(self.spec.sensors):
            own = self.random.lognormal(-1, 0.28, len(phase))
            noise = autocorrelated(self.random, (len(phase), READINGS), 0.5) * own[:, None]
            centre = level[:, place] + APART[place] * phase
            readings = centre[:, None] + noise
            if not place:
                readings = np.exp(readings / 3)  # turbidity is log-normal
            low, median, high = np.quantile(readings, [0.25, 0.5, 0.75], axis=1)
            table[f"{sensor.name}_mean"] = readings.mean(axis=1)
            table[f"{sensor.name}_std"] = readings.std(axis=1, ddof=1)
            table[f"{sensor.name}_median"] = median
            table[f"{sensor.name}_percentile25"], table[f"{sensor.name}_percentile75"] = low, high
        self.predict(table)
        for name, spread in zip(self.spec.target_names, SPREAD):
            unknown = self.random.normal(0, np.sqrt(1 / R2 - 1), len(phase))
            table[f"{name}_measured"] = table[name] + unknown * spread

    def _levels(self, rows: int) -> Array:
        """Multivariate t (6 degrees) of unit variance, alike in the phases of an experiment."""
        half = np.linalg.cholesky(CORRELATION)
        shared = np.repeat(self.random.normal(size=(rows // 2, 5)), 2, axis=0)
        own = self.random.normal(size=(rows, 5))
        scale = np.repeat(np.sqrt(4 / self.random.chisquare(6, rows // 2)), 2)
        return np.asarray((shared + own) / np.sqrt(2) @ half.T * scale[:, None])

    def predict(self, table: pd.DataFrame) -> None:
        """Let the soft sensor predict from the levels as they are now."""
        levels = table[[f"{sensor.name}_median" for sensor in self.spec.sensors]].to_numpy(
            copy=True
        )
        levels[:, 0] = 3 * np.log(np.maximum(levels[:, 0], 1e-3))
        table[self.spec.target_names] = np.nan_to_num(levels) @ WEIGHTS.T


@cache
def units(spec: SoftSensor) -> dict[str, float]:
    """Standard deviation of each sensor's level within the phases."""
    some = Plant(spec, np.random.default_rng(0)).phases(20_000)
    phase = some[spec.columns.phase].to_numpy()
    return {sensor.name: _within(some[f"{sensor.name}_median"], phase) for sensor in spec.sensors}


def _within(values: pd.Series, phase: Array) -> float:
    """Standard deviation within the phases."""
    return float((values - values.groupby(phase).transform("mean")).std())
