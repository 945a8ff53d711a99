"""The drift indicators: a few nearly independent numbers per phase for each sensor and target.

They stand in for the correlated features of a sensor. To add one, write a function of a sensor and
a table that returns one number per row, and give it an entry in `SENSOR_INDICATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import pandas as pd

from src.components.drift_reporter.joint_test import PEER
from src.components.drift_reporter.kinds import Entry
from src.components.drift_reporter.peers import PeerModel
from src.components.drift_reporter.sample import Array, Columns
from src.soft_sensor import Sensor, SoftSensor, Target

Q = TypeVar("Q", Sensor, Target)

LEVEL = "level"


@dataclass(frozen=True)
class Baseline:
    """What a table is compared with.

    Attributes:
        reference: keys, features and predictions, one row per phase.
    """

    reference: pd.DataFrame
    spec: SoftSensor

    @cached_property
    def peer_model(self) -> PeerModel:
        """What the sensors predict for each other, fitted on the reference."""
        return PeerModel.fit(self.reference, self.spec.sensors, self.spec)


@dataclass(frozen=True)
class Indicator(Entry, Generic[Q]):
    """An indicator of each sensor, or of each target.

    Attributes:
        values: of a sensor or target, the rows of a table and the baseline: one number per row,
            NaN where missing.
        uses_peers: it depends on the other sensors. It is tested by `joint_test`, together with
            theirs; its values are those of the charts.
        given_level: it varies with the sensor's level, which its test takes into account.
        in_units: a shift of it can be given in the unit of the sensor, too.
        line: style of its line in the chart of the last reports (Matplotlib); none if empty.
    """

    values: Callable[[Q, pd.DataFrame, Baseline], pd.Series | Array]
    uses_peers: bool = False
    given_level: bool = False
    in_units: bool = False
    line: str = ""


def _level(sensor: Sensor, table: pd.DataFrame, _: Baseline) -> pd.Series:
    """The median of a phase."""
    return table[sensor.level]


def _noise(sensor: Sensor, table: pd.DataFrame, baseline: Baseline) -> pd.Series:
    """The logarithm of the standard deviation within a phase."""
    # A stuck sensor has no spread: a thousandth of the normal one stands in for log(0).
    floor = 1e-3 * baseline.reference[sensor.spread].median()
    floor = floor if floor > 0 else np.finfo(float).tiny
    return pd.Series(np.log(table[sensor.spread] + floor))


def _scatter(sensor: Sensor, table: pd.DataFrame, baseline: Baseline) -> pd.Series:
    """The distance of the level from the centre of its phase in the same table.

    From that of the reference, each level that moves would look scattered.
    """
    phase = table[baseline.spec.columns.phase]
    # One of the values, so that no two are equally far from it.
    centre = table[sensor.level].groupby(phase).quantile(0.5, interpolation="lower")
    return (table[sensor.level] - phase.map(centre)).abs()


def _peer(sensor: Sensor, table: pd.DataFrame, baseline: Baseline) -> Array:
    """The distance of the level from what the other sensors predict for it."""
    return baseline.peer_model.distance(sensor, table)


def _prediction(target: Target, table: pd.DataFrame, _: Baseline) -> pd.Series:
    """The prediction itself."""
    return table[target.name]


CALIBRATE = (
    "Compare the sensor with {sensor_check}, then clean, calibrate or replace it. Have the "
    "laboratory check {accepted_phases} while it read wrongly."
)
PROCESS_ADVICE = (
    "The sensors agree with each other, so do not clean or calibrate them: find out what has "
    "changed in {influences}. If all is well, `impress monitor --accept`: this month then joins "
    "what later months are compared with, and months like it are an alarm no longer. If the change "
    "is here to stay, have samples of it analysed and retrain."
)
SENSOR_INDICATORS: tuple[Indicator[Sensor], ...] = (
    Indicator(
        name=LEVEL,
        words="level shifted by {shift:+.2f} SD",
        advice=PROCESS_ADVICE,
        values=_level,
        in_units=True,
        line="-",
    ),
    Indicator(
        name="noise",
        words="noise changed by {shift:+.2f} SD",
        advice="Check the sensor's plug, cable and grounding, and look for air bubbles and "
        "deposits on it.",
        values=_noise,
        given_level=True,
        line=":",
    ),
    Indicator(
        name="scatter",
        words="scatter between phases changed by {shift:+.2f} SD",
        advice="Compare the sensor's readings of successive experiments: is there a loose contact, "
        "or do deposits come and go? Changes of {influences} can have the same effect.",
        values=_scatter,
    ),
    Indicator(
        name=PEER,
        words="level off by {shift:+.2f} SD, which the other sensors do not explain",
        advice=CALIBRATE,
        values=_peer,
        uses_peers=True,
        in_units=True,
        line="--",
    ),
)
TARGET_INDICATORS: tuple[Indicator[Target], ...] = (
    Indicator(
        name="prediction",
        words="predictions shifted by {shift:+.2f} SD",
        advice="Predictions follow the sensors, so check those first. If no sensor is at fault, "
        "find out what has changed in {influences}.",
        values=_prediction,
    ),
)
PROCESS = Entry(
    name="process",
    words="several levels have moved together, by up to {shift:+.2f} SD",
    advice=PROCESS_ADVICE,
)


def sensor_indicator(name: str) -> Indicator[Sensor]:
    """The indicator of that name; KeyError when there is none."""
    return {indicator.name: indicator for indicator in SENSOR_INDICATORS}[name]


def own_values(table: pd.DataFrame, baseline: Baseline) -> Columns:
    """The indicators that need no other sensor: of all sensors, and of the targets."""
    columns: Columns = {}
    for sensor in baseline.spec.sensors:
        for indicator in SENSOR_INDICATORS:
            if not indicator.uses_peers:
                values = indicator.values(sensor, table, baseline)
                columns[sensor.name, indicator.name] = np.asarray(values, dtype=float)
    for target in baseline.spec.targets:
        for prediction in TARGET_INDICATORS:
            values = prediction.values(target, table, baseline)
            columns[target.name, prediction.name] = np.asarray(values, dtype=float)
    return columns


def peer_values(table: pd.DataFrame, baseline: Baseline) -> Columns:
    """The indicators that need other sensors; none where there are no two."""
    columns: Columns = {}
    if len(baseline.spec.sensors) < 2:
        return columns
    for sensor in baseline.spec.sensors:
        for indicator in SENSOR_INDICATORS:
            if indicator.uses_peers:
                values = indicator.values(sensor, table, baseline)
                columns[sensor.name, indicator.name] = np.asarray(values, dtype=float)
    return columns
