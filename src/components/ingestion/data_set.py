"""Sensor series and laboratory values of a data set folder, checked as they are read."""

from __future__ import annotations

import csv
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from src.components.transformation.features import (
    feature_definition,
    features_query,
    typed_features,
)
from src.errors import DataError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

logger = logging.getLogger(__name__)

DUCKDB_TYPES = {int: "BIGINT", str: "VARCHAR"}
PANDAS_TYPES = {int: "int64", str: "str"}


def read_header(file: Path, separator: str) -> list[str]:
    """Column names of a CSV file.

    Raises:
        DataError: when the file is missing, empty, or clearly separated by something else.
    """
    if not file.is_file():
        raise DataError(f"{file} not found")
    with file.open(encoding="utf-8-sig", newline="") as source:
        header = next(csv.reader(source, delimiter=separator), [])
        if not header or not source.readline().strip():
            raise DataError(f"{file} is empty: it needs a line of column names and rows")
    if len(header) == 1:
        raise DataError(
            f"{file} is not separated by {separator!r}: its first line is {header[0][:80]!r}. "
            "Set files.separator in params.yaml or convert the file"
        )
    return header


def require_columns(file: Path, header: list[str], required: Iterable[str]) -> None:
    """Refuse a file that lacks a column.

    Raises:
        DataError: naming the missing columns and those that the file has.
    """
    missing = [name for name in required if name not in header]
    if missing:
        are_missing = "column {} is missing" if len(missing) == 1 else "columns {} are missing"
        raise DataError(
            f"{file}: {are_missing.format(', '.join(missing))}; it has {', '.join(header)}"
        )


@contextmanager
def as_csv(file: Path, separator: str) -> Iterator[Path]:
    """A sensor file as CSV: the file itself, or a temporary copy of a Parquet file.

    Raises:
        DataError: when a file named .parquet is not a Parquet file, or is empty.
    """
    if file.suffix != ".parquet" or not file.is_file():
        yield file
        return
    from pyarrow import ArrowInvalid
    from pyarrow import csv as arrow_csv
    from pyarrow import parquet

    try:
        source = parquet.ParquetFile(file)
    except ArrowInvalid as error:
        raise DataError(f"{file} is not a Parquet file: {error}") from error
    if not source.metadata.num_rows:
        raise DataError(f"{file} is empty: it needs rows")
    options = arrow_csv.WriteOptions(delimiter=separator)
    with tempfile.NamedTemporaryFile(suffix=".csv") as scratch:
        with arrow_csv.CSVWriter(scratch, source.schema_arrow, write_options=options) as writer:
            for batch in source.iter_batches():
                writer.write_batch(batch)
        scratch.flush()
        yield Path(scratch.name)


def read_features(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Features of every phase of a data set folder: from its sensor rows, else archived ones.

    Returns and raises what `read_sensor_features` and `read_archived` do.
    """
    import pandas as pd

    features = read_sensor_features(folder, spec)
    file = folder / spec.files.archived
    if not file.is_file():
        return features
    archived = read_archived(folder, spec).drop(columns="definition")
    logger.info("%s: features of %d phases", file, len(archived))
    out_of_bounds = {sensor.out_of_bounds: 0 for sensor in spec.sensors}
    both = pd.concat([features, archived.assign(**out_of_bounds)], ignore_index=True)
    return typed_features(both.drop_duplicates(spec.columns.keys), spec)


def read_archived(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Features of phases whose sensor rows are gone, as `late_labels.collect` wrote them.

    Raises:
        DataError: when a column is missing, or they were computed by another definition.
    """
    import pandas as pd

    file = folder / spec.files.archived
    columns = archived_columns(spec)
    require_columns(file, read_header(file, spec.files.separator), columns)
    frame = pd.read_csv(
        file,
        sep=spec.files.separator,
        usecols=columns,
        dtype={key: PANDAS_TYPES[kind] for key, kind in spec.key_types.items()},
        float_precision="round_trip",
    )[columns]
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


def read_sensor_features(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Features of every phase of a data set folder that has sensor rows.

    Returns:
        One row per phase: the keys, n_samples, first_timestamp and last_timestamp (Unix seconds),
        and the features.

    Raises:
        DataError: when the sensor file lacks a column, holds text where numbers belong, or a phase
            that params.yaml does not know.
    """
    import duckdb

    file = folder / spec.files.sensors
    connection = duckdb.connect()
    try:
        rows = _sensor_rows(connection, file, spec)
        rows.create_view("sensors")
        features = connection.sql(features_query(spec, "sensors")).df()
    except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
        cause = str(error).split("\n\n", maxsplit=1)[0].replace("\n", " ")
        raise DataError(f"{file}: {cause[:300]}") from error
    _refuse_unknown_phases(file, features[spec.columns.phase], spec)
    logger.info("%s: %d phases of %d rows", file, len(features), features["n_samples"].sum())
    return typed_features(features, spec)


def _sensor_rows(
    connection: duckdb.DuckDBPyConnection, file: Path, spec: SoftSensor
) -> duckdb.DuckDBPyRelation:
    """The rows of a sensor file, not read yet."""
    if file.suffix == ".parquet":
        if not file.is_file():
            raise DataError(f"{file} not found")
        rows = connection.read_parquet(str(file))
        require_columns(file, rows.columns, spec.required_columns)
        return rows
    header = read_header(file, spec.files.separator)
    require_columns(file, header, spec.required_columns)
    types = dict.fromkeys(spec.columns.online, "DOUBLE")
    types |= {key: DUCKDB_TYPES[kind] for key, kind in spec.key_types.items()}
    return connection.read_csv(
        str(file),
        sep=spec.files.separator,
        header=True,
        dtype={name: types[name] for name in header if name in types},
    )


def _refuse_unknown_phases(file: Path, values: pd.Series, spec: SoftSensor) -> None:
    expected = {phase.value for phase in spec.phases}
    unknown = sorted(set(values.dropna()) - expected)
    if unknown:
        raise DataError(
            f"{file}: {spec.columns.phase} holds {unknown}, params.yaml knows {sorted(expected)}"
        )


def read_laboratory(file: Path, spec: SoftSensor) -> pd.DataFrame:
    """Rows of a laboratory file: experiment, phase label and targets, otherwise unchanged.

    Raises:
        DataError: when a column is missing or holds text where a number belongs.
    """
    import pandas as pd

    experiment = spec.columns.experiment
    columns = [experiment, spec.laboratory.phase_column, *spec.target_names]
    require_columns(file, read_header(file, spec.files.separator), columns)
    frame = pd.read_csv(
        file, sep=spec.files.separator, encoding="utf-8-sig", usecols=columns, dtype="str"
    )[columns]
    for name in spec.target_names:
        frame[name] = _numbers(file, frame[name])
    numbered = spec.key_types[experiment] is int
    if numbered:
        frame[experiment] = _numbers(file, frame[experiment])
    frame = frame.dropna(subset=[experiment])
    return frame.astype({experiment: "int64"}) if numbered else frame


def _numbers(file: Path, texts: pd.Series) -> pd.Series:
    """A column of a file as numbers, NaN where it is empty; the file has a header line."""
    import pandas as pd

    values = pd.to_numeric(texts, errors="coerce")
    wrong = texts.notna() & values.isna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(
            f"{file}, line {row + 2}, column {texts.name}: {texts.iloc[row]!r} is not a number"
        )
    return values


def read_groups(folder: Path, spec: SoftSensor) -> pd.Series | None:
    """Group by experiment, None when params.yaml names no grouping file.

    Raises:
        DataError: when the file or one of its columns is missing.
    """
    import pandas as pd

    group = spec.training.group
    if group is None:
        return None
    file = folder / group.file
    experiment = spec.columns.experiment
    columns = [experiment, group.column]
    require_columns(file, read_header(file, spec.files.separator), columns)
    types = {experiment: PANDAS_TYPES[spec.key_types[experiment]]}
    frame = pd.read_csv(file, sep=spec.files.separator, usecols=columns, dtype=types)
    return frame.set_index(experiment)[group.column]
