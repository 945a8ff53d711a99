"""PostgreSQL: the configured server or an embedded one."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any
from weakref import WeakSet

from psycopg2 import DataError as PostgresDataError
from psycopg2 import Error as PostgresError
from psycopg2 import OperationalError as PostgresOperationalError
from psycopg2.extensions import DECIMAL, FLOAT, PYDATETIME, PYDATETIMETZ
from psycopg2.extensions import encodings as ENCODINGS
from psycopg2.extensions import new_type, register_type
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from src.components.database import embedded
from src.errors import DatabaseUnavailable
from src.process import interrupted_by
from src.settings import SYSTEM, Settings

# A server that disappears without closing the connection is noticed after a minute, not two hours.
_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
# Whatever the database's encoding is, and whatever PGCLIENTENCODING says: the server converts.
_ENCODING = {"client_encoding": "utf8"}
EMBEDDED = "pgdata"  # folder of the embedded server's data, under artifacts/


@contextmanager
def connect(settings: Settings, create: bool = False, read_only: bool = False) -> Iterator[Engine]:
    """Yield an engine on the configured PostgreSQL, else on the embedded one.

    It does not pool: a batch job needs few connections, and closing one releases its locks. The
    embedded server is started unless it is running, and stopped by the last process that uses it;
    its data stay in `artifacts/pgdata`.

    Args:
        create: create the embedded database if it does not exist.
        read_only: PostgreSQL refuses whatever would change a table.

    Raises:
        DatabaseUnavailable: when the embedded server does not exist or cannot be used.
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
            connect_args={"connect_timeout": 15, **_tls(settings), **_KEEPALIVE, **_ENCODING},
        )
        try:
            with _cancelled_when_stopped(_with_known_settings(engine, read_only)):
                yield engine
        finally:
            engine.dispose()
    else:
        with embedded.serve(settings.artifacts / EMBEDDED, create) as address:
            engine = create_engine(address, poolclass=NullPool, connect_args=_ENCODING)
            with _cancelled_when_stopped(_with_known_settings(engine, read_only)):
                yield engine


@contextmanager
def transaction(engine: Engine, keep: bool = True) -> Iterator[Connection]:
    """One transaction; all of it is undone at its end unless it is to be kept."""
    with engine.connect() as connection, connection.begin() as changes:
        yield connection
        if not keep:
            changes.rollback()


def database_exists(settings: Settings) -> bool:
    """Whether a database is configured, or an embedded one was used before."""
    return bool(settings.db_hostname) or embedded.exists(settings.artifacts / EMBEDDED)


def _tls(settings: Settings) -> dict[str, str]:
    """What libpq is to know; the libpq of psycopg2's wheels has no `system` of its own."""
    options = {"sslmode": settings.sslmode}
    if settings.db_sslrootcert:
        options["sslrootcert"] = settings.db_sslrootcert
    if settings.db_sslrootcert == SYSTEM:
        authorities = ssl.get_default_verify_paths().cafile
        if authorities is None:
            raise DatabaseUnavailable(
                "this system has no file of trusted authorities: name one in DB_SSLROOTCERT, or in "
                "SSL_CERT_FILE"
            )
        options["sslrootcert"] = authorities
    return options


@contextmanager
def _cancelled_when_stopped(engine: Engine) -> Iterator[None]:
    """Cancel the statements of all connections when the process is asked to stop."""
    connections: WeakSet[Any] = WeakSet()

    def cancel() -> None:
        for connection in list(connections):
            with suppress(PostgresError):  # closed, or its server is gone
                connection.cancel()

    event.listen(engine, "connect", lambda connection, _: connections.add(connection))
    with interrupted_by(cancel):
        yield


def _with_known_settings(engine: Engine, read_only: bool) -> Engine:
    """Return times in UTC and numbers as `float`, whatever server, database and role prefer.

    NUMERIC is as good as DOUBLE PRECISION in any table. Of times see `_moment`.
    """

    def prepare(connection: Any, _: Any) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute(f"{_SETTINGS}; {_READ_ONLY}" if read_only else _SETTINGS)
        connection.commit()
        register_type(new_type(DECIMAL.values, "NUMBER", FLOAT), connection)
        for kind in (PYDATETIME, PYDATETIMETZ):
            possible = new_type(kind.values, kind.name, partial(_moment, kind))
            register_type(possible, connection)

    event.listen(engine, "connect", prepare)
    return engine


# Roles and databases may have others; with fewer digits all numbers would be rounded.
_SETTINGS = "SET TIME ZONE 'UTC'; SET IntervalStyle = postgres; SET extra_float_digits = 1"
_READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"


def _moment(kind: Any, text: str | None, cursor: Any) -> datetime | None:
    """A time as psycopg2 reads it, in UTC if it has no zone; None for one that Python does not
    know, such as infinity.

    Another writer may have left it, and one row should not make a table unreadable.
    """
    if text in ("infinity", "-infinity"):
        return None
    try:
        moment: datetime | None = kind(text, cursor)
    except (ValueError, PostgresDataError):  # before the year 1, after 9999
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def storable(connection: Connection, words: str) -> str:
    """A text without the characters that the database's encoding lacks; those become escapes."""
    driver_connection: Any = connection.connection.driver_connection
    info = driver_connection.info
    codec = ENCODINGS.get(info.parameter_status("server_encoding"), "utf8")
    if codec == "ascii":  # SQL_ASCII is none, and holds whatever it is sent
        return words
    return words.encode(codec, "backslashreplace").decode(codec)


def run_copy(connection: Connection, statement: str, file: IO[Any]) -> None:
    """Run COPY FROM STDIN or TO STDOUT in the connection's transaction.

    Raises:
        psycopg2.Error: the driver's own; `diag.context` names line and column of bad input.
    """
    with closing(connection.connection.cursor()) as cursor:
        try:
            cursor.copy_expert(statement, file)
        except PostgresOperationalError:
            connection.invalidate()  # or the rollback would fail too and hide the cause
            raise
