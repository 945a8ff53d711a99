"""A sensor file into the inbox, by COPY."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg2 import DataError as PostgresDataError
from psycopg2 import sql
from sqlalchemy import Engine

from src.components.database.tables import tables
from src.components.ingestion.data_set import as_csv, read_header
from src.errors import DataError
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)


def load_sensor_rows(engine: Engine, spec: SoftSensor, file: Path, prefix: str = "") -> int:
    """Copy a sensor file, CSV or Parquet, into the inbox, all of its rows or none.

    Returns:
        The number of rows.

    Raises:
        DataError: naming the line and the column that is wrong.
    """
    with as_csv(file, spec.files.separator) as lines:
        return _load(engine, spec, file, lines, prefix)


def _load(engine: Engine, spec: SoftSensor, file: Path, lines: Path, prefix: str) -> int:
    header = read_header(lines, spec.files.separator)
    if unknown := [name for name in header if name not in spec.columns.online]:
        raise DataError(f"{file}: columns {', '.join(unknown)} are not in params.yaml")
    needed = [*spec.columns.keys, spec.columns.timestamp, *(s.name for s in spec.sensors)]
    if missing := [name for name in needed if name not in header]:
        raise DataError(
            f"{file}: column {', '.join(missing)} is missing; it has {', '.join(header)}"
        )
    online = tables(spec, prefix).online.name
    connection = engine.raw_connection()
    try:
        with closing(connection.cursor()) as cursor, lines.open("rb") as source:
            # The staging table numbers the lines, so that a wrong one can be named.
            cursor.execute(
                sql.SQL(
                    "CREATE TEMP TABLE incoming (LIKE {}, line bigint GENERATED ALWAYS AS IDENTITY)"
                    " ON COMMIT DROP"
                ).format(sql.Identifier(online))
            )
            names = sql.SQL(", ").join(map(sql.Identifier, header))
            statement = sql.SQL(
                "COPY incoming ({}) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER {})"
            ).format(names, sql.Literal(spec.files.separator))
            cursor.copy_expert(statement, source)
            _check_incoming(cursor, spec, file)
            cursor.execute(
                sql.SQL("INSERT INTO {} ({names}) SELECT {names} FROM incoming").format(
                    sql.Identifier(online), names=names
                )
            )
            rows = int(cursor.rowcount)
        connection.commit()
    except PostgresDataError as error:
        # "COPY incoming, line 7, column ph: ..." is what a reader can mend.
        where = (error.diag.context or "").removeprefix("COPY incoming, ")
        raise DataError(
            f"{file}, {where}: {error.diag.message_primary}; nothing was loaded"
        ) from error
    finally:
        connection.close()
    logger.info("loaded %d rows of %s into %s", rows, file, online)
    return rows


def _check_incoming(cursor: Any, spec: SoftSensor, file: Path) -> None:
    """Refuse rows without keys and rows of a phase that params.yaml does not know."""
    keys = spec.columns
    phases = {phase.value: phase.name for phase in spec.phases}
    cursor.execute(
        sql.SQL(
            "SELECT line + 1, {experiment}, {phase}, {timestamp} FROM incoming "
            "WHERE {experiment} IS NULL OR {timestamp} IS NULL OR {phase} IS NULL"
            " OR NOT {phase} = ANY(%s) ORDER BY line LIMIT 1"
        ).format(
            experiment=sql.Identifier(keys.experiment),
            phase=sql.Identifier(keys.phase),
            timestamp=sql.Identifier(keys.timestamp),
        ),
        (list(phases),),
    )
    if fault := cursor.fetchone():
        line, experiment, phase, timestamp = fault
        expected = ", ".join(f"{value} ({name})" for value, name in phases.items())
        raise DataError(
            f"{file}, line {line}: {keys.experiment}={experiment}, {keys.phase}={phase}, "
            f"{keys.timestamp}={timestamp}: none may be empty and {keys.phase} is one of "
            f"{expected}; nothing was loaded"
        )
