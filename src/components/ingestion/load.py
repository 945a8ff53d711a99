"""A sensor file into the inbox, by COPY."""

from __future__ import annotations

import logging
from pathlib import Path

from psycopg2 import DataError as PostgresDataError
from sqlalchemy import Connection, Engine, text

from src.components.database.connection import run_copy
from src.components.database.tables import tables
from src.components.ingestion.data_set import as_csv, read_header, require_columns
from src.errors import DataError
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)


def load_sensor_rows(engine: Engine, spec: SoftSensor, file: Path, prefix: str = "") -> int:
    """Copy a sensor file, CSV or Parquet, into the inbox: all of its rows or none.

    Returns:
        The number of rows.

    Raises:
        DataError: naming the line and the column that is wrong.
    """
    inbox = tables(spec, prefix).online.name
    with as_csv(file, spec.files.separator) as csv_file, engine.begin() as connection:
        header = read_header(csv_file, spec.files.separator)
        _check_header(header, file, spec)
        # This table numbers the lines, so that a wrong one can be named.
        create = f"""
            CREATE TEMP TABLE incoming (LIKE "{inbox}", line bigint GENERATED ALWAYS AS IDENTITY)
            ON COMMIT DROP"""
        connection.execute(text(create))
        columns = ", ".join(f'"{name}"' for name in header)
        _copy(connection, csv_file, columns, file, spec)
        _check_keys(connection, file, spec)
        insert = f'INSERT INTO "{inbox}" ({columns}) SELECT {columns} FROM incoming'
        rows = connection.execute(text(insert)).rowcount
    logger.info("loaded %d rows of %s into %s", rows, file, inbox)
    return rows


def _check_header(header: list[str], file: Path, spec: SoftSensor) -> None:
    """Refuse columns that params.yaml does not name, and a file that lacks a key or a sensor."""
    unknown = [name for name in header if name not in spec.columns.online]
    if unknown:
        raise DataError(f"{file}: columns {', '.join(unknown)} are not in params.yaml")
    sensors = [sensor.name for sensor in spec.sensors]
    require_columns(file, header, [*spec.columns.keys, spec.columns.timestamp, *sensors])


def _copy(
    connection: Connection, csv_file: Path, columns: str, file: Path, spec: SoftSensor
) -> None:
    """Copy the lines of a CSV file into the table `incoming`.

    Args:
        file: what the user named, for the message of an error.
    """
    separator = spec.files.separator.replace("'", "''")
    statement = f"""COPY incoming ({columns}) FROM STDIN
        WITH (FORMAT csv, HEADER, DELIMITER '{separator}')"""
    try:
        with csv_file.open("rb") as source:
            run_copy(connection, statement, source)
    except PostgresDataError as error:
        # Of "COPY incoming, line 7, column ph: ..." the user needs what follows the first comma.
        place = (error.diag.context or "").removeprefix("COPY incoming, ")
        raise DataError(
            f"{file}, {place}: {error.diag.message_primary}; nothing was loaded"
        ) from error


def _check_keys(connection: Connection, file: Path, spec: SoftSensor) -> None:
    """Refuse rows without keys and rows of a phase that params.yaml does not know."""
    experiment, phase, timestamp = (
        spec.columns.experiment,
        spec.columns.phase,
        spec.columns.timestamp,
    )
    query = f"""
        SELECT line + 1, "{experiment}", "{phase}", "{timestamp}" FROM incoming
        WHERE "{experiment}" IS NULL OR "{timestamp}" IS NULL OR "{phase}" IS NULL
           OR NOT "{phase}" = ANY(:phases)
        ORDER BY line LIMIT 1"""
    phases = [each.value for each in spec.phases]
    wrong = connection.execute(text(query), {"phases": phases}).one_or_none()
    if wrong is None:
        return
    line, experiment_value, phase_value, time = wrong
    expected = ", ".join(f"{each.value} ({each.name})" for each in spec.phases)
    raise DataError(
        f"{file}, line {line}: {experiment}={experiment_value}, {phase}={phase_value}, "
        f"{timestamp}={time}: none may be empty and {phase} is one of {expected}; nothing was "
        "loaded"
    )
