"""What sensors predict for each other: how far a level is from it, phase by phase.

It is what charts show, and what shows since when a sensor has been off. Whether a sensor is at
fault is decided for all sensors together, see `joint_test`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.components.drift_reporter.sample import Array
from src.soft_sensor import PhaseValue, Sensor, SoftSensor

FAR = 6  # interquartile ranges; values further off must not distort the fitted line


@dataclass(frozen=True)
class PeerModel:
    """The level of each sensor as a linear function of the levels of the others and the phase.

    Levels are in units of the interquartile range, which outliers do not affect.

    Attributes:
        sensors: those that predict each other.
        centre, width: median and interquartile range of each level.
        medians: phase to the medians of the standardised levels, which replace missing ones.
        lines: sensor to the coefficients of the phases and of the other sensors (least squares).
    """

    spec: SoftSensor
    sensors: tuple[Sensor, ...]
    centre: pd.Series
    width: pd.Series
    medians: dict[PhaseValue, Array]
    lines: dict[str, Array]

    @classmethod
    def fit(
        cls, reference: pd.DataFrame, sensors: tuple[Sensor, ...], spec: SoftSensor
    ) -> PeerModel:
        """Fit on a reference: phase and features."""
        levels = reference[[sensor.level for sensor in sensors]]
        spread = levels.quantile(0.75) - levels.quantile(0.25)
        width = spread.where(spread > 0, levels.std()).replace(0, 1)
        model = cls(spec, sensors, levels.quantile(0.5), width, medians={}, lines={})
        standardised = model._standardised(reference)
        model = replace(model, medians=_phase_medians(standardised, reference, spec))
        design = model._design(reference)
        lines = {}
        for place, sensor in enumerate(sensors):
            present = ~np.isnan(standardised[:, place])
            others = design[present][:, model._others(sensor)]
            solution = np.linalg.lstsq(others, standardised[present, place], rcond=None)
            lines[sensor.name] = solution[0]
        return replace(model, lines=lines)

    def distance(self, sensor: Sensor, table: pd.DataFrame) -> Array:
        """Level minus prediction, (rows,), in interquartile ranges; NaN where it is missing."""
        level = self._standardised(table)[:, self.sensors.index(sensor)]
        others = self._design(table)[:, self._others(sensor)]
        return np.asarray(level - others @ self.lines[sensor.name])

    def _standardised(self, table: pd.DataFrame) -> Array:
        """Levels, rows by sensors, NaN where missing."""
        levels = table[[sensor.level for sensor in self.sensors]]
        return np.asarray(np.clip(((levels - self.centre) / self.width).to_numpy(), -FAR, FAR))

    def _design(self, table: pd.DataFrame) -> Array:
        """One column for each phase, then one for each sensor, without gaps."""
        levels = self._standardised(table).copy()
        phase = table[self.spec.columns.phase].to_numpy()
        for value, medians in self.medians.items():
            rows = phase == value
            levels[rows] = np.where(np.isnan(levels[rows]), medians, levels[rows])
        in_phase = [(phase == each.value).astype(float) for each in self.spec.phases]
        return np.column_stack([*in_phase, np.nan_to_num(levels)])

    def _others(self, sensor: Sensor) -> list[int]:
        """Columns of the design without that of the sensor itself."""
        columns = list(range(len(self.spec.phases) + len(self.sensors)))
        columns.remove(len(self.spec.phases) + self.sensors.index(sensor))
        return columns


def _phase_medians(
    levels: Array, reference: pd.DataFrame, spec: SoftSensor
) -> dict[PhaseValue, Array]:
    """Phase to the medians of the standardised levels; 0 for a sensor without values."""
    medians = {}
    for phase in spec.phases:
        rows = (reference[spec.columns.phase] == phase.value).to_numpy()
        if rows.any():
            medians[phase.value] = np.nan_to_num(pd.DataFrame(levels[rows]).median())
    return medians
