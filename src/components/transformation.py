"""Sensor rows to features, laboratory rows to targets, and which experiments no model may see."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from src.errors import DataError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

logger = logging.getLogger(__name__)


def features_query(sensor: SoftSensor, table: str) -> str:
    """The one definition of the features: a standard SQL statement.

    It runs unchanged on PostgreSQL and DuckDB. A value that is NaN, infinite or outside its
    instrument's range is missing, and but for NaN it is counted; the sample standard deviation of
    one value is 0; percentiles are interpolated linearly (type 7 of Hyndman and Fan, The American
    Statistician 50, 1996).

    Args:
        sensor: names the columns; params.yaml has checked them as identifiers.
        table: a table or view with the columns of `sensor.columns.online`.

    Returns:
        Text of a query with one row a phase: keys, n_samples, first_timestamp, last_timestamp
        (Unix seconds), `<sensor>_out_of_bounds` (number of values outside the range), then the
        features in the order of `sensor.features`.
    """
    keys = ", ".join(f'"{key}"' for key in sensor.columns.keys)
    time = f'"{sensor.columns.timestamp}"'
    outside = [
        f'count("{part.name}_out_of_bounds") AS "{part.name}_out_of_bounds"'
        for part in sensor.sensors
    ]
    aggregates = [
        f'{_aggregate(part.name, statistic)} AS "{part.name}_{statistic}"'
        for part in sensor.sensors
        for statistic in sensor.statistics
    ]
    readings = [
        f'CASE WHEN "{part.name}" {condition} AS "{part.name}{suffix}"'
        for part in sensor.sensors
        for condition, suffix in (
            (f'BETWEEN {part.low} AND {part.high} THEN "{part.name}" END', ""),
            (
                f"NOT BETWEEN {part.low} AND {part.high} AND \"{part.name}\" <> 'NaN' THEN 1 END",
                "_out_of_bounds",
            ),
        )
    ]
    return f"""SELECT
    {keys},
    count(*) AS n_samples,
    min({time}) AS first_timestamp,
    max({time}) AS last_timestamp,
    {_lines([*outside, *aggregates])}
FROM (
  SELECT
    {keys},
    {time},
    {_lines(readings)}
  FROM "{table}"
  WHERE {valid_rows(sensor)}
) AS readings
GROUP BY {keys}"""


def valid_rows(sensor: SoftSensor) -> str:
    """SQL condition that leaves out rows that are invalid by the rig's own word."""
    rule = sensor.valid_rows
    return f'("{rule.column}" >= {rule.min} OR "{rule.column}" IS NULL)' if rule else "1 = 1"


def _lines(columns: list[str]) -> str:
    return ",\n    ".join(columns)


def _aggregate(name: str, statistic: str) -> str:
    if statistic == "mean":
        return f'avg("{name}")'
    if statistic == "std":
        return f'CASE WHEN count("{name}") = 1 THEN 0.0 ELSE stddev_samp("{name}") END'
    share = 0.5 if statistic == "median" else int(statistic.removeprefix("percentile")) / 100
    return f'percentile_cont({share}) WITHIN GROUP (ORDER BY "{name}")'


def typed_features(frame: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
    """The rows of `features_query` with one type a column on every engine, sorted by key."""
    numbers = ["first_timestamp", "last_timestamp", *sensor.features]
    return (
        frame.astype(dict.fromkeys(numbers, "float64"))
        .sort_values(sensor.columns.keys)
        .reset_index(drop=True)
    )


def feature_definition(sensor: SoftSensor) -> str:
    """SHA-256 of the statement: with the same one, features mean the same."""
    return hashlib.sha256(features_query(sensor, "sensors").encode()).hexdigest()


def model_inputs(features: pd.DataFrame, sensor: SoftSensor) -> np.ndarray:
    """What a model sees: the features, and each sensor's skewness where the mean is a feature.

    (mean - median) / standard deviation, between -1 and 1 (Hotelling and Solomons, Annals of
    Mathematical Statistics 3, 1932): on which side of a phase a reading spends its time, for
    example how fast it falls while rinsing, free of units and offsets.

    Returns:
        (rows, features + sensors) or (rows, features), single precision.
    """
    import numpy as np

    values = features[sensor.features].to_numpy(dtype=float)
    if "mean" not in sensor.statistics:
        return values.astype(np.float32)
    cube = values.reshape(len(values), len(sensor.sensors), len(sensor.statistics))
    mean, median, std = (
        cube[:, :, sensor.statistics.index(name)] for name in ("mean", "median", "std")
    )
    skewness = np.clip((mean - median) / np.where(std == 0, 1, std), -1, 1)
    return np.hstack([values, skewness]).astype(np.float32)


def laboratory_targets(laboratory: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
    """What `phase_means` gives, if all of it can be learned from.

    Raises:
        DataError: when no row names a phase, or a target has no value at all.
    """
    means = phase_means(laboratory, sensor)
    if empty := [name for name in sensor.target_names if means[name].isna().all()]:
        raise DataError(
            f"laboratory column {', '.join(empty)} holds no value: measure it or take it out of "
            "targets in params.yaml"
        )
    return means


def phase_means(laboratory: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
    """Laboratory rows to one row of targets a phase.

    Replicates are averaged; values below `laboratory.missing_below` are missing; rows whose label
    names no phase are left out.

    Returns:
        Keys and targets, NaN where no replicate was measured.

    Raises:
        DataError: when no row names a phase.
    """
    values = {phase.label: phase.value for phase in sensor.phases}
    labels = laboratory[sensor.laboratory.phase_column]
    named = laboratory[labels.isin(values)]
    if named.empty:
        raise DataError(
            f"no laboratory row names a phase: {sensor.laboratory.phase_column} holds "
            f"{sorted(set(labels.dropna().astype(str)))[:5]}, params.yaml knows {sorted(values)}"
        )
    logger.info("%d laboratory rows, %d of them of no phase", len(labels), len(labels) - len(named))
    targets = named[sensor.target_names]
    if sensor.laboratory.missing_below is not None:
        targets = targets.mask(targets < sensor.laboratory.missing_below)
    keyed = targets.assign(
        **{
            sensor.columns.experiment: named[sensor.columns.experiment],
            sensor.columns.phase: labels[named.index].map(values),
        }
    )
    return keyed.groupby(sensor.columns.keys, as_index=False)[sensor.target_names].mean()


def training_table(
    features: pd.DataFrame, targets: pd.DataFrame, groups: pd.Series | None, sensor: SoftSensor
) -> pd.DataFrame:
    """Join features and targets by phase and say which rows belong together and are held out.

    Returns:
        Keys, features, targets, `group` (never split) and `holdout` (bool).

    Raises:
        DataError: when fewer experiments than `training.min_experiments` have both, one has no
            group, or two groups hold the same phase, whose label would leak from one to the other.
    """
    table = features.merge(targets, on=sensor.columns.keys, validate="one_to_one")
    # The copy puts the columns together again, which DuckDB hands over one by one.
    table = table.dropna(subset=sensor.target_names, how="all").reset_index(drop=True).copy()
    experiments = table[sensor.columns.experiment]
    found = experiments.nunique()
    if found < sensor.training.min_experiments:
        raise DataError(
            f"{found} experiments have both sensor rows and laboratory values, at least "
            f"{sensor.training.min_experiments} are needed: do both files number them alike?"
        )
    table["group"] = experiments if groups is None else experiments.map(groups)
    if (lost := table["group"].isna()).any():
        raise DataError(f"experiment {experiments[lost].iloc[0]} has no group in the grouping file")
    _refuse_copies(table, sensor)
    table["holdout"] = held_out(table["group"], sensor.training.holdout)
    if table["holdout"].all() or not table["holdout"].any():
        raise DataError("too few groups: all of them fall on one side of the hold-out")
    _refuse_unlearnable(table[~table["holdout"]], sensor)
    logger.info(
        "%d phases of %d experiments, %d of them held out",
        len(table),
        found,
        table["holdout"].sum(),
    )
    return table


def _refuse_copies(table: pd.DataFrame, sensor: SoftSensor) -> None:
    same = table[table.duplicated([*sensor.features, sensor.columns.phase], keep=False)]
    for _, copies in same.groupby(sensor.features, dropna=False):
        if copies["group"].nunique() > 1:
            twins = copies[sensor.columns.experiment].iloc[:2].tolist()
            raise DataError(
                f"experiments {twins[0]} and {twins[1]} have the same features to the last digit: "
                "one of them is a copy, which would give away its label; remove it"
            )


def _refuse_unlearnable(training: pd.DataFrame, sensor: SoftSensor) -> None:
    measured = training[sensor.target_names].notna().sum()
    if (rare := measured[measured < sensor.training.min_experiments]).size:
        raise DataError(
            f"{', '.join(rare.index)} was measured in only {rare.min()} phases for training, "
            f"{sensor.training.min_experiments} are needed: measure more or take it out of targets"
        )
    for name in sensor.target_names:
        known = training[training[name].notna()]
        if known["group"].nunique() < 2 or known[name].nunique() < 2:
            raise DataError(
                f"{name} was measured in one group only, or is always the same: nothing can be "
                "learned of it; measure more or take it out of targets"
            )


def held_out(groups: pd.Series, share: float) -> pd.Series:
    """Whether a group is held out: by a hash of its name, so for ever and in every version."""
    return groups.map(lambda group: _fraction(str(group)) < share).astype(bool)


def _fraction(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
