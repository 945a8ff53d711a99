"""Sensor series and laboratory values of a data set folder, checked as they are read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from src.components.ingestion import table_file
from src.components.ingestion.account import Account, shortened
from src.components.ingestion.cells import Column, Kind
from src.components.ingestion.table_file import TableFile
from src.components.predictor.flags import number_reused
from src.components.predictor.judgement import OVERSHOOT
from src.components.transformation.features import (
    feature_definition,
    features_query,
    typed_features,
    valid_rows,
)
from src.errors import DataError
from src.soft_sensor import SoftSensor, Target

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

KEY_KINDS = {int: Kind.INTEGER, str: Kind.TEXT}


def experiment_column(spec: SoftSensor) -> Column:
    """The experiment in any file."""
    name = spec.columns.experiment
    return Column(name, KEY_KINDS[spec.key_types[name]], filled=True, of=spec.columns.rig)


def sensor_columns(spec: SoftSensor) -> list[Column]:
    """What a sensor file holds: columns of the sensor table; those without use may be absent."""
    experiment, phase = spec.columns.keys
    values = tuple(each.value for each in spec.phases)
    special = {
        experiment: experiment_column(spec),
        phase: Column(phase, KEY_KINDS[spec.key_types[phase]], filled=True, one_of=values),
        spec.columns.timestamp: Column(spec.columns.timestamp, Kind.STAMP, filled=True),
    }
    needed = spec.required_columns
    return [
        special.get(name, Column(name, Kind.NUMBER, optional=name not in needed))
        for name in spec.columns.online
    ]


def note_sensor_rows(table: TableFile, spec: SoftSensor, account: Account) -> None:
    """Count the rows of a sensor file, and warn of what looks like a mistake."""
    account.note(table.rows, f"rows in {table.file.name}")
    _note_left_out(table, account)
    valid = valid_rows(spec)
    if spec.valid_rows:
        account.note(table.count(f"NOT {valid}"), "rows that the rig has marked as invalid")
    for sensor in spec.sensors:
        name = f'"{sensor.name}"'
        outside = table.count(f"{name} NOT BETWEEN {sensor.low} AND {sensor.high} AND {valid}")
        if outside and outside == table.count(f"{name} IS NOT NULL AND {valid}"):
            logger.warning(
                "%s: all values of %s are outside %g to %g %s, so they count as missing: is the "
                "file in another unit?",
                table.file,
                sensor.name,
                sensor.low,
                sensor.high,
                sensor.unit,
            )
    zone = spec.files.of_sensors.time_zone
    if zone and (twice := table.repeated_hours(spec.columns.timestamp, zone)):
        logger.warning(
            "%s: %d rows are stamped in the hour that the clocks of %s show twice in autumn; they "
            "are read as winter time",
            table.file,
            twice,
            zone,
        )


def _note_left_out(table: TableFile, account: Account) -> None:
    account.note_left_out(table.blank, "rows without any value")
    if table.ignored:
        names = shortened(table.ignored)
        account.note_left_out(
            len(table.ignored), f"columns that params.yaml does not name: {names}"
        )


def read_features(folder: Path, spec: SoftSensor, account: Account | None = None) -> pd.DataFrame:
    """Features of every phase of a data set folder: from its sensor rows, else archived ones.

    Returns and raises what `read_sensor_features` and `read_archived` do; counts go to `account`.
    """
    account = account or Account()
    return with_archived(read_sensor_features(folder, spec, account), folder, spec, account)


def with_archived(
    features: pd.DataFrame, folder: Path, spec: SoftSensor, account: Account
) -> pd.DataFrame:
    """Features of phases, and those of archived ones that are not among them, if there are any.

    Raises what `read_archived` does; counts go to `account`.
    """
    import pandas as pd

    file = folder / spec.files.archived
    if not file.is_file():
        return features
    archived = read_archived(folder, spec).drop(columns="definition")
    out_of_bounds = {sensor.out_of_bounds: 0 for sensor in spec.sensors}
    both = pd.concat([features, archived.assign(**out_of_bounds)], ignore_index=True)
    distinct = both.drop_duplicates(spec.columns.keys)
    account.note(len(distinct) - len(features), f"phases of archived features in {file.name}")
    return typed_features(distinct, spec)


def read_sensor_features(
    folder: Path, spec: SoftSensor, account: Account | None = None
) -> pd.DataFrame:
    """Features of every phase of a data set folder that has sensor rows.

    Returns:
        One row per phase: the keys, n_samples, first_timestamp and last_timestamp (Unix seconds),
        `Sensor.out_of_bounds` and the features; without those of a number that was used twice.

    Raises:
        DataError: when the file lacks a column, or holds something that does not belong there.
    """
    account = account or Account()
    file = folder / spec.files.sensors
    with table_file.read(file, sensor_columns(spec), spec.files.of_sensors) as table:
        note_sensor_rows(table, spec, account)
        features = table.connection.sql(features_query(spec, "rows")).df()
    reused = number_reused(features, spec)
    names = shortened(
        [str(name) for name in features.loc[reused, spec.columns.experiment].unique()]
    )
    account.note_left_out(int(reused.sum()), f"phases of a number that was used twice: {names}")
    features = features[~reused]
    account.note(len(features), "phases of these rows")
    return typed_features(features, spec)


def read_archived(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Features of phases whose sensor rows are gone, as `late_labels.collect` wrote them.

    Raises:
        DataError: when a column is missing, or they were computed by another definition.
    """
    file = folder / spec.files.archived
    kinds = {key: KEY_KINDS[kind] for key, kind in spec.key_types.items()}
    kinds |= {"n_samples": Kind.INTEGER, "definition": Kind.TEXT}
    names = archived_columns(spec)
    columns = [Column(name, kinds.get(name, Kind.NUMBER)) for name in names]
    with table_file.read(file, columns, spec.files.own) as table:
        frame = table.frame()[names].reset_index(drop=True)
    if (frame["definition"] != feature_definition(spec)).any():
        raise DataError(
            f"{file} holds features that params.yaml has since redefined: restore those "
            "definitions, or move the file away"
        )
    return frame


def archived_columns(spec: SoftSensor) -> list[str]:
    """Columns of the file of archived features."""
    times = ["first_timestamp", "last_timestamp"]
    return [*spec.columns.keys, "n_samples", *times, *spec.features, "definition"]


def read_laboratory(
    file: Path,
    spec: SoftSensor,
    account: Account | None = None,
    accept_outliers: bool = False,
) -> pd.DataFrame:
    """Rows of a laboratory file: experiment, phase label, targets with `Target.censored`, sample.

    Args:
        accept_outliers: take values outside the range of their target.

    Raises:
        DataError: when a column is missing, holds something that does not belong there, or a value
            lies outside the range of its target.
    """
    account = account or Account()
    label = spec.laboratory.phase_column
    columns = [
        experiment_column(spec),
        Column(label, Kind.TEXT),
        *(Column(name, Kind.MEASURED) for name in spec.target_names),
    ]
    if spec.laboratory.sample_column:
        columns.append(Column(spec.laboratory.sample_column, Kind.TEXT, optional=True))
    section = "files.laboratory_dialect"
    with table_file.read(file, columns, spec.files.of_laboratory, section) as table:
        account.note(table.rows, f"rows in {file.name}")
        account.note_left_out(table.blank, "rows without any value")
        frame = table.frame()
        for target in spec.targets:
            outliers = _outliers(frame, target, spec)
            if outliers.empty:
                continue
            if not accept_outliers:
                raise DataError(_outlier(table, target, outliers))
            account.note(len(outliers), f"values of {target.name} outside its range, accepted")
    _note_labels(frame[label], spec, account)
    return frame.reset_index(drop=True)


def _outliers(frame: pd.DataFrame, target: Target, spec: SoftSensor) -> pd.Series:
    """Values of phases that are not physically possible."""
    of_phase = frame[spec.laboratory.phase_column].isin([phase.label for phase in spec.phases])
    values = frame.loc[of_phase, target.name].dropna()
    if spec.laboratory.missing_below is not None:
        values = values[values >= spec.laboratory.missing_below]
    tolerance = OVERSHOOT * (target.high - target.low)
    return values[~values.between(target.low - tolerance, target.high + tolerance)]


def _outlier(table: TableFile, target: Target, outliers: pd.Series) -> str:
    return (
        f"{table.file}, {table.place(int(outliers.index[0]))}, column {target.name}: "
        f"{outliers.iloc[0]:g} is outside {target.low:g} to {target.high:g} {target.unit}, the "
        "range in params.yaml: is it in another unit? Correct it, or use --accept-outliers WHY; "
        "nothing was read"
    )


def _note_labels(labels: pd.Series, spec: SoftSensor, account: Account) -> None:
    """Count the rows that name no phase, by their label."""
    known = {phase.label.casefold(): phase.label for phase in spec.phases}
    others = labels[~labels.isin(known.values())].fillna("empty").value_counts()
    names = []
    for label, count in others.items():
        meant = known.get("".join(str(label).split()).casefold())
        names.append(f"{label} ({count}{f', is {meant} meant?' if meant else ''})")
    account.note_left_out(int(others.sum()), f"rows of no phase: {shortened(names)}")


def read_groups(folder: Path, spec: SoftSensor) -> pd.Series | None:
    """Group by experiment, None when params.yaml names no grouping file.

    Raises:
        DataError: when the file or one of its columns is missing, or an experiment has two groups.
    """
    group = spec.training.group
    if group is None:
        return None
    file = folder / group.file
    experiment = spec.columns.experiment
    columns = [
        experiment_column(spec),
        Column(group.column, Kind.TEXT, filled=True),
    ]
    with table_file.read(file, columns, spec.files.of_sensors) as table:
        frame = table.frame().drop_duplicates()
        twice = frame[frame.duplicated(experiment)]
        if not twice.empty:
            place = table.place(int(twice.index[0]))
            raise DataError(
                f"{file}, {place}: experiment {twice[experiment].iloc[0]} has another group before"
            )
    return frame.set_index(experiment)[group.column]
