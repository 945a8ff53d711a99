"""A sensor file into the inbox, by COPY."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from sqlalchemy import Connection, Engine

from src.components.database.connection import run_copy, transaction
from src.components.database.existing import Existing
from src.components.database.journal import Journal
from src.components.database.schema import require_fit
from src.components.database.tables import tables
from src.components.ingestion import data_set, table_file
from src.components.ingestion.account import Account
from src.components.ingestion.cells import literal
from src.components.ingestion.table_file import TableFile
from src.errors import DataError
from src.progress import step
from src.soft_sensor import SoftSensor

TIMES = ("timestamp with time zone", "timestamp without time zone")
WHOLE_NUMBERS = ("smallint", "integer", "bigint")


def load_sensor_rows(
    engine: Engine,
    spec: SoftSensor,
    file: Path,
    prefix: str = "",
    again: bool = False,
    dry_run: bool = False,
) -> int:
    """Copy a sensor file into the inbox: all of its rows or none, with a line in the journal.

    Args:
        again: also when a file with the same content was loaded before.
        dry_run: undo it at the end.

    Returns:
        The number of rows.

    Raises:
        DataError: naming the line and the column that is wrong; or when the file was loaded before.
    """
    online = tables(spec, prefix).online
    journal = Journal(engine, spec, prefix)
    digest = digest_of(file)
    account = Account()
    columns, dialect = data_set.sensor_columns(spec), spec.files.of_sensors
    with table_file.read(file, columns, dialect) as table, transaction(
        engine, keep=not dry_run
    ) as connection:
        data_set.note_sensor_rows(table, spec, account)
        if not again:
            _refuse_known(journal, connection, file, digest)
        (inbox,) = require_fit(connection, [online])
        _copy(table, connection, inbox)
        loaded = "rows would be loaded into" if dry_run else "rows loaded into"
        account.note(table.rows, f"{loaded} {online.name}")
        details = {"file": file.name, "sha256": digest, "rows": table.rows}
        journal.note_load(connection, details)
    account.log()
    return table.rows


def digest_of(file: Path) -> str:
    """SHA-256 of the content of a file.

    Raises:
        DataError: when there is none.
    """
    if not file.is_file():
        raise DataError(f"{file} not found")
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _refuse_known(journal: Journal, connection: Connection, file: Path, digest: str) -> None:
    before = journal.load_of(connection, digest)
    if before is not None:
        raise DataError(
            f"{file} was loaded before, as {before['details']['file']} by run {before['id']} on "
            f"{before['ended_at']:%Y-%m-%d %H:%M} UTC: its rows would be there twice; use --again "
            "if the rows of that time are gone; nothing was loaded"
        )


def _copy(table: TableFile, connection: Connection, inbox: Existing) -> None:
    """Copy the rows of a file into the inbox, whose columns may be of other types than ours."""
    name = inbox.table.name
    cells = [_as_there(table, column, inbox) for column in table.columns]
    columns = ", ".join(f'"{column}"' for column in table.columns)
    with tempfile.NamedTemporaryFile(suffix=".csv") as scratch:
        # The rows come in the order of the file.
        table.connection.execute(
            f"COPY (SELECT {', '.join(cells)} FROM rows) TO {literal(scratch.name)} "
            "(FORMAT csv, HEADER false, DELIMITER ',')"
        )
        statement = f"COPY \"{name}\" ({columns}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')"
        with open(scratch.name, "rb") as source:
            with step(f"loading {table.rows:,} rows"):
                run_copy(connection, statement, source)


def _as_there(table: TableFile, name: str, inbox: Existing) -> str:
    """SQL: a column of the file as its column of the inbox takes it.

    Raises:
        DataError: when a column of whole numbers cannot hold a value.
    """
    column = f'"{name}"'
    kind = inbox.columns[name].kind if name in inbox.columns else None
    if kind in TIMES:
        return f"strftime(to_timestamp({column}), '%Y-%m-%d %H:%M:%S.%f') || '+00'"
    if kind == "boolean":
        return f"{column} <> 0"
    if kind in WHOLE_NUMBERS:
        whole = f"try_cast({column} AS BIGINT)"
        # NaN means the same as no value.
        broken = f"NOT isnan(CAST({column} AS DOUBLE)) AND {whole} IS DISTINCT FROM {column}"
        _refuse_broken(table, column, broken, inbox.table.name)
        return whole
    return column


def _refuse_broken(table: TableFile, column: str, condition: str, inbox: str) -> None:
    query = f"SELECT impress_row, {column} FROM rows WHERE {condition} ORDER BY impress_row LIMIT 1"
    broken = table.connection.execute(query).fetchone()
    if broken is not None:
        row, value = broken
        raise DataError(
            f"{table.file}, {table.place(row)}: {value} does not fit into {inbox}.{column}, which "
            f'holds whole numbers: ALTER TABLE "{inbox}" ALTER COLUMN {column} TYPE double '
            "precision; nothing was loaded"
        )
