"""Sensor rows to features, by one SQL statement."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from src.soft_sensor import Sensor, SoftSensor

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


ROUNDING = 1e-9  # relative, far more than that of sums and far less than any instrument resolves


def features_query(spec: SoftSensor, table: str) -> str:
    """The one definition of the features: a standard SQL statement.

    It runs unchanged on PostgreSQL, DuckDB and Spark. A value that is NaN, infinite or outside its
    instrument's range counts as missing, and unless it is NaN it is counted as out of bounds; the
    sample standard deviation of one value is 0; percentiles are interpolated linearly (type 7 of
    Hyndman and Fan, The American Statistician 50, 1996).

    Args:
        spec: names the columns, which params.yaml has checked as identifiers.
        table: a table or view with the columns of `spec.columns.online`.

    Returns:
        Text of a query with one row a phase: keys, n_samples, first_timestamp, last_timestamp
        (Unix seconds), `Sensor.out_of_bounds` of each sensor (number of values outside the range),
        then the features in the order of `spec.features`.
    """
    keys = ", ".join(f'"{key}"' for key in spec.columns.keys)
    time = f'"{spec.columns.timestamp}"'
    counts = [
        f'count("{sensor.out_of_bounds}") AS "{sensor.out_of_bounds}"' for sensor in spec.sensors
    ]
    features = [
        f'{_aggregate(sensor.name, statistic)} AS "{sensor.feature(statistic)}"'
        for sensor in spec.sensors
        for statistic in spec.statistics
    ]
    readings = []
    for sensor in spec.sensors:
        readings += [_reading(sensor), _mark_out_of_bounds(sensor)]
    return f"""SELECT
    {keys},
    count(*) AS n_samples,
    min({time}) AS first_timestamp,
    max({time}) AS last_timestamp,
    {_lines([*counts, *features])}
FROM (
  SELECT
    {keys},
    {time},
    {_lines(readings)}
  FROM "{table}"
  WHERE {valid_rows(spec)}
) AS readings
GROUP BY {keys}"""


def valid_rows(spec: SoftSensor) -> str:
    """SQL condition that leaves out the rows that the rig itself marks as invalid."""
    rule = spec.valid_rows
    return f'("{rule.column}" >= {rule.min} OR "{rule.column}" IS NULL)' if rule else "1 = 1"


def _lines(columns: list[str]) -> str:
    return ",\n    ".join(columns)


def _reading(sensor: Sensor) -> str:
    within = f'"{sensor.name}" BETWEEN {sensor.low} AND {sensor.high}'
    return f'CASE WHEN {within} THEN "{sensor.name}" END AS "{sensor.name}"'


def _mark_out_of_bounds(sensor: Sensor) -> str:
    outside = f'"{sensor.name}" NOT BETWEEN {sensor.low} AND {sensor.high}'
    number = f"\"{sensor.name}\" <> 'NaN'"
    return f'CASE WHEN {outside} AND {number} THEN 1 END AS "{sensor.out_of_bounds}"'


def _aggregate(name: str, statistic: str) -> str:
    if statistic == "mean":
        return f'avg("{name}")'
    if statistic == "std":
        return f'CASE WHEN count("{name}") = 1 THEN 0.0 ELSE stddev_samp("{name}") END'
    share = 0.5 if statistic == "median" else int(statistic.removeprefix("percentile")) / 100
    return f'percentile_cont({share}) WITHIN GROUP (ORDER BY "{name}")'


def typed_features(frame: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """The rows of `features_query` with the same column types on every engine, sorted by key."""
    numbers = ["first_timestamp", "last_timestamp", *spec.features]
    return (
        frame.astype(dict.fromkeys(numbers, "float64"))
        .sort_values(spec.columns.keys)
        .reset_index(drop=True)
    )


def feature_definition(spec: SoftSensor) -> str:
    """SHA-256 of the statement: features with the same one mean the same."""
    return hashlib.sha256(features_query(spec, "sensors").encode()).hexdigest()


def model_inputs(features: pd.DataFrame, spec: SoftSensor) -> np.ndarray:
    """What a model sees: the features and, where the mean is among them, each sensor's skewness.

    (mean - median) / standard deviation, between -1 and 1 (Hotelling and Solomons, Annals of
    Mathematical Statistics 3, 1932): on which side of a phase a reading spends its time, for
    example how fast it falls, free of units and offsets.

    A sensor on the scale `log` shows log(1 + value) of its mean and percentiles, and its standard
    deviation divided by 1 + median, which is about that of log(1 + value). Its skewness stays that
    of the values: it has no unit.

    Returns:
        (rows, features + sensors) or (rows, features), single precision; `input_sensors` says which
        belong together.
    """
    import numpy as np

    values = features[spec.features].to_numpy(dtype=float)
    by_sensor = values.reshape(len(values), len(spec.sensors), len(spec.statistics))
    # Where numbers are too large for the division or for single precision, infinity is as good, and
    # infinity divided by infinity is not known.
    with np.errstate(over="ignore", invalid="ignore"):
        inputs = _on_scales(by_sensor, spec).reshape(values.shape)
        if "mean" in spec.statistics:
            inputs = np.hstack([inputs, _skewness(by_sensor, spec)])
        return inputs.astype(np.float32)


def input_sensors(spec: SoftSensor) -> np.ndarray:
    """The position of the sensor that each column of `model_inputs` is about."""
    import numpy as np

    sensors = np.arange(len(spec.sensors))
    of_features = np.repeat(sensors, len(spec.statistics))
    return np.append(of_features, sensors) if "mean" in spec.statistics else of_features


def _on_scales(by_sensor: np.ndarray, spec: SoftSensor) -> np.ndarray:
    """Features on the scales of their sensors, (rows, sensors, statistics)."""
    import numpy as np

    median, std = (spec.statistics.index(name) for name in ("median", "std"))
    scaled = by_sensor.copy()
    for number, sensor in enumerate(spec.sensors):
        if sensor.scale == "log":
            # No reading within the range is negative; features of another origin may be.
            values = np.maximum(by_sensor[:, number], 0)
            scaled[:, number] = np.log1p(values)
            scaled[:, number, std] = values[:, std] / (1 + values[:, median])
    return scaled


def _skewness(by_sensor: np.ndarray, spec: SoftSensor) -> np.ndarray:
    """(rows, sensors) from (rows, sensors, statistics)."""
    import numpy as np

    mean, median, std = (
        by_sensor[:, :, spec.statistics.index(name)] for name in ("mean", "median", "std")
    )
    difference = mean - median
    # Of a constant reading both are rounding errors, which differ from engine to engine.
    constant = std <= ROUNDING * np.abs(median)
    difference = np.where(constant, 0, difference)
    return np.asarray(np.clip(difference / np.where(constant, 1, std), -1, 1))
