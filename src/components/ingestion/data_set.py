"""Sensor series and laboratory values of a data set folder, read and checked at the border."""

from __future__ import annotations

import csv
import logging
import tempfile
from collections.abc import Iterator
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
    import pandas as pd

logger = logging.getLogger(__name__)


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
            "Say files.separator in params.yaml or convert the file"
        )
    return header


@contextmanager
def as_csv(file: Path, separator: str) -> Iterator[Path]:
    """A sensor file as CSV: itself, or for a Parquet file a copy for the time of its use.

    Raises:
        DataError: when a Parquet file is none, or empty.
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
        raise DataError(f"{file} is no Parquet file: {error}") from error
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
    """Features of every phase of a data set folder, from its sensor rows or, without, archived.

    Returns and raises what `read_sensor_features` and `read_archived` do.
    """
    import pandas as pd

    features = read_sensor_features(folder, spec)
    if not (folder / spec.files.archived).is_file():
        return features
    archived = read_archived(folder, spec).drop(columns="definition")
    logger.info("%s: features of %d phases", folder / spec.files.archived, len(archived))
    outside = {f"{sensor.name}_out_of_bounds": 0 for sensor in spec.sensors}
    both = pd.concat([features, archived.assign(**outside)], ignore_index=True)
    return typed_features(both.drop_duplicates(spec.columns.keys), spec)


def read_archived(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Features of phases whose sensor rows are gone, as `labelled_archive.collect` wrote them.

    Raises:
        DataError: when a column is missing, or they were computed by another definition.
    """
    import pandas as pd

    file = folder / spec.files.archived
    header = read_header(file, spec.files.separator)
    keys, times = spec.columns.keys, ["first_timestamp", "last_timestamp"]
    needed = [*keys, "n_samples", *times, *spec.features, "definition"]
    if missing := [name for name in needed if name not in header]:
        raise DataError(f"{file}: column {', '.join(missing[:5])} is missing")
    kinds = {"BIGINT": "int64", "VARCHAR": "str"}
    types = {key: kinds[_types(spec)[key]] for key in keys}
    frame = pd.read_csv(
        file,
        sep=spec.files.separator,
        usecols=needed,
        dtype=types,
        float_precision="round_trip",
    )[needed]
    if (frame["definition"] != feature_definition(spec)).any():
        raise DataError(
            f"{file} holds features that params.yaml defines otherwise by now: go back to those "
            "definitions, or move the file away"
        )
    return frame


def read_sensor_features(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Features of every phase of a data set folder that has sensor rows.

    Returns:
        One row a phase: the keys, n_samples, first_timestamp and last_timestamp (Unix seconds), and
        the features.

    Raises:
        DataError: when the sensor file lacks a column, holds text where numbers belong, or a phase
            that params.yaml does not know.
    """
    import duckdb

    file = folder / spec.files.sensors
    connection = duckdb.connect()
    if file.suffix == ".parquet":
        if not file.is_file():
            raise DataError(f"{file} not found")
        relation = connection.read_parquet(str(file))
        header = relation.columns
    else:
        header = read_header(file, spec.files.separator)
    if missing := [name for name in _needed_columns(spec) if name not in header]:
        raise DataError(
            f"{file}: column {', '.join(missing)} is missing; it has {', '.join(header)}"
        )
    try:
        if file.suffix != ".parquet":
            relation = connection.read_csv(
                str(file),
                sep=spec.files.separator,
                header=True,
                dtype={name: kind for name, kind in _types(spec).items() if name in header},
            )
        relation.create_view("sensors")
        features = connection.sql(features_query(spec, "sensors")).df()
    except (duckdb.ConversionException, duckdb.InvalidInputException) as error:
        cause = str(error).split("\n\n", maxsplit=1)[0].replace("\n", " ")
        raise DataError(f"{file}: {cause[:300]}") from error
    known = {phase.value for phase in spec.phases}
    if unknown := sorted(set(features[spec.columns.phase].dropna()) - known):
        raise DataError(
            f"{file}: {spec.columns.phase} holds {unknown}, params.yaml knows {sorted(known)}"
        )
    logger.info("%s: %d phases of %d rows", file, len(features), features["n_samples"].sum())
    return typed_features(features, spec)


def _needed_columns(spec: SoftSensor) -> list[str]:
    keys = [*spec.columns.keys, spec.columns.timestamp]
    valid = [spec.valid_rows.column] if spec.valid_rows else []
    return [*keys, *valid, *(sensor.name for sensor in spec.sensors)]


def _types(spec: SoftSensor) -> dict[str, str]:
    kinds = dict.fromkeys(spec.columns.online, "DOUBLE")
    integer_experiment = spec.columns.experiment_type == "integer"
    kinds[spec.columns.experiment] = "BIGINT" if integer_experiment else "VARCHAR"
    integer_phase = isinstance(spec.phases[0].value, int)
    kinds[spec.columns.phase] = "BIGINT" if integer_phase else "VARCHAR"
    return kinds


def read_laboratory(file: Path, spec: SoftSensor) -> pd.DataFrame:
    """Rows of a laboratory file: experiment, phase label and targets, otherwise as they stand.

    Raises:
        DataError: when a column is missing or holds no number where one belongs.
    """
    import pandas as pd

    header = read_header(file, spec.files.separator)
    needed = [spec.columns.experiment, spec.laboratory.phase_column, *spec.target_names]
    if missing := [name for name in needed if name not in header]:
        raise DataError(
            f"{file}: column {', '.join(missing)} is missing; it has {', '.join(header)}"
        )
    frame = pd.read_csv(
        file, sep=spec.files.separator, encoding="utf-8-sig", usecols=needed, dtype="str"
    )[needed]
    numbers = list(spec.target_names)
    if spec.columns.experiment_type == "integer":
        numbers.append(spec.columns.experiment)
    for name in numbers:
        values = pd.to_numeric(frame[name], errors="coerce")
        wrong = frame[name].notna() & values.isna()
        if wrong.any():
            place = int(wrong.to_numpy().argmax())
            text = frame[name].iloc[place]
            raise DataError(f"{file}, line {place + 2}, column {name}: {text!r} is no number")
        frame[name] = values
    frame = frame.dropna(subset=[spec.columns.experiment])
    if spec.columns.experiment_type == "integer":
        frame[spec.columns.experiment] = frame[spec.columns.experiment].astype("int64")
    return frame


def read_groups(folder: Path, spec: SoftSensor) -> pd.Series | None:
    """Experiment to group, when params.yaml names a grouping file; None when not.

    Raises:
        DataError: when the file or one of its columns is missing.
    """
    import pandas as pd

    group = spec.training.group
    if group is None:
        return None
    file = folder / group.file
    header = read_header(file, spec.files.separator)
    needed = [spec.columns.experiment, group.column]
    if missing := [name for name in needed if name not in header]:
        raise DataError(f"{file}: column {', '.join(missing)} is missing")
    kind = "int64" if spec.columns.experiment_type == "integer" else "str"
    frame = pd.read_csv(
        file, sep=spec.files.separator, usecols=needed, dtype={spec.columns.experiment: kind}
    )
    return frame.set_index(spec.columns.experiment)[group.column]
