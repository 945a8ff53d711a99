"""Named errors, for mistakes and states that the reader of the message can fix.

Anything else that goes wrong is not caught and ends a run with its traceback.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any


class ImpressError(Exception):
    """Base of the errors whose message says what to do next."""


class ParamsError(ImpressError):
    """params.yaml is missing or breaks its contract."""


class DataError(ImpressError):
    """A file or table does not hold what params.yaml says it holds."""


class SettingsError(ImpressError):
    """An environment variable, or a line of the .env file, cannot be understood."""


class DatabaseUnavailable(ImpressError):
    """There is no database, or the embedded one cannot be created, started or used."""


class BundleRefused(ImpressError):
    """A model bundle is damaged, was altered, or asks for what the loader does not allow."""


class InvalidKey(ImpressError):
    """A variable for a key holds something else."""


class ExportFailed(ImpressError):
    """A trained model cannot be stored so that it predicts the same."""


class NoModel(ImpressError):
    """The registry has no such model version, or cannot be reached and nothing is cached."""


class RegistryUnavailable(ImpressError):
    """The model registry, or the way to it, does not work; which may pass."""


class RegistryFault(ImpressError):
    """The model registry is wrongly configured, or answers what must not be believed."""


class VersionLost(ImpressError):
    """Production is a version that the registry does not have."""


class InboxHeld(ImpressError):
    """Another run is working on the inbox."""


class DeliveryError(ImpressError):
    """The message could not be handed to the mail server."""


# What to do about an error of PostgreSQL, by its SQLSTATE or the beginning of one:
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL = {
    "08": "the connection was lost: see whether the server is running, then run this again",
    "22001": "a text column of the tables is too short: change its type to text",
    "22003": "a column of the tables is too narrow for this number: change its type to bigint, or "
    "to double precision",
    "22021": "a text is not in the encoding it should be in, which in a database without one "
    "(SQL_ASCII) is UTF-8: correct the row",
    "22P05": "the encoding of the database has no such character: use names that it can hold, or a "
    "database with the encoding UTF8",
    "23502": "a column that IMPRESS does not fill must not be empty: give it a default, or drop "
    "NOT NULL",
    "23": "a rule of the table does not admit this row: create the partition that it belongs to, "
    "or correct the row or the rule",
    "25006": "the database accepts no changes: name the primary server in DB_HOSTNAME, or change "
    "default_transaction_read_only of the role or the database",
    "25P03": "raise idle_in_transaction_session_timeout of the role DB_USERNAME",
    "25P04": "raise transaction_timeout of the role DB_USERNAME",
    "28000": "the server does not admit this login: check DB_USERNAME and DB_NAME, and pg_hba.conf "
    "on the server",
    "28P01": "check DB_USERNAME and DB_PASSWORD",
    "3D000": "check DB_NAME, or create the database",
    "40": "another session was working on the same rows: run this again",
    "428C9": "the database fills this column itself: drop its expression or identity",
    "42501": "ask the owner of the tables to grant it to DB_USERNAME, or to grant TEMPORARY on the "
    "database",
    "42703": "run `impress init` to add what is missing",
    "42809": "something else has the name of this table or view: rename it, then run "
    "`impress init`",
    "42P10": "the database fills this column itself: drop its expression, or leave the column out",
    "42P01": "run `impress init` first",
    "53100": "the disk of the database server is full: free some space there, then run this again",
    "53200": "the database server is out of memory: lower prediction.connections in params.yaml, "
    "or give it more",
    "53300": "all connections are in use: end other sessions, raise the limit of the server, "
    "database or role, or lower prediction.connections in params.yaml",
    "53400": "raise this limit for the role DB_USERNAME",
    "55P03": "another session holds a lock on the table: run this again when it has ended, see "
    "pg_locks, or raise lock_timeout of the role DB_USERNAME",
    "57014": "raise statement_timeout of the role DB_USERNAME, unless somebody cancelled the "
    "statement",
    "57P": "the server is starting or stopping, or somebody ended the session: run this again "
    "later",
}
_ROW_SECURITY = (
    "row-level security keeps rows of this table from DB_USERNAME: ask its owner for a policy that "
    "admits all rows, or for BYPASSRLS"
)
# Functions of the server that report it, with the SQLSTATE of a missing privilege.
_ROW_SECURITY_REPORTERS = {"ExecWithCheckOptions", "check_enable_rls"}

# libpq says why it could not connect, or lost the connection, only as text: the server's, the
# system's and its own, with a line for each address and each way of connecting that it tried. The
# first of these patterns counts, so an answer of the server comes before a fault of the network.
_CONNECTING = {
    "password authentication failed": _POSTGRESQL["28P01"],
    "no password supplied": "set DB_PASSWORD",
    'FATAL:  role ".*" (does not exist|is not permitted)': "check DB_USERNAME, which must be a "
    "role of the server that may log in",
    'FATAL:  permission denied for database ".*"': "ask its owner to grant CONNECT on DB_NAME to "
    "DB_USERNAME",
    'FATAL:  database ".*" does not exist': _POSTGRESQL["3D000"],
    "too many (clients|connections)|remaining connection slots": _POSTGRESQL["53300"],
    "the database system is |terminating connection": _POSTGRESQL["57P"],
    ", SSL encryption$": _POSTGRESQL["28000"],
    ", no encryption$": "the server does not admit this login without TLS: set DB_SSLMODE to "
    "`require` or `verify-full`, or check DB_USERNAME and DB_NAME, and pg_hba.conf on the server",
    "FATAL:  .*(authentication failed|pg_hba.conf)": _POSTGRESQL["28000"],
    # Two blanks follow the severity, which is in the language of the server.
    r"failed: \S+:  ": "the server answers but rejects this login: check DB_NAME, DB_USERNAME and "
    "DB_PASSWORD",
    "does not support SSL": "the server offers no TLS: enable it there, or set DB_SSLMODE=prefer "
    "if you trust the network",
    "certificate verify failed": "the server's certificate is not signed by the authority in "
    "DB_SSLROOTCERT",
    "root certificate": "DB_SSLROOTCERT must name the file with the certificate of the authority "
    "that signed the server's",
    "does not match host name": "DB_HOSTNAME must be a name in the server's certificate",
    "sslmode": "check DB_SSLMODE",
    "SSL negotiation|authentication request": "check DB_HOSTNAME and DB_PORT: what answers there "
    "is not PostgreSQL",
    "closed|SYSCALL|could not (receive|send) data|reset by peer": _POSTGRESQL["08"],
    "SSL error": "check DB_SSLMODE and DB_SSLROOTCERT",
    "could not translate host name": "check DB_HOSTNAME, and that this machine can resolve names",
    "Connection refused|No such file or directory": "check DB_HOSTNAME and DB_PORT, and that the "
    "server is running",
    "timeout expired|timed out|No route to host|unreachable": "check DB_HOSTNAME and DB_PORT, and "
    "the network and its firewalls",
}
_ANY_CONNECTION = (
    "check DB_HOSTNAME, DB_PORT, DB_NAME, DB_USERNAME, DB_PASSWORD, DB_SSLMODE and that the server "
    "is running"
)

_NO_ACCESS = "give this user write access there; see RAW_ARCHIVE and IMPRESS_HOME"
_NO_SPACE = "free some space there; see RAW_ARCHIVE and IMPRESS_HOME"
_NO_FOLDER = "a file is in the way of a folder; see RAW_ARCHIVE and IMPRESS_HOME"
_OPERATING_SYSTEM = {
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EROFS: _NO_ACCESS,
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EEXIST: _NO_FOLDER,
    errno.ENOTDIR: _NO_FOLDER,
}

# By the name of the type, so that no library is imported for it.
_LIBRARIES = {
    "botocore.exceptions.BotoCoreError": "check the address, and the credentials and region of AWS",
    "httpx.ConnectError": "check PREFECT_API_URL and that the server is running",
    "sqlite3.Error": "check the SQLite file of the model registry, artifacts/mlflow.db unless "
    "MLFLOW_TRACKING_URI names another: is it whole, writable, free of other users, and its disk "
    "not full?",
}
_MISSING_MODULES = {
    "duckdb": "run this where requirements.txt is installed; the predict image does not read files",
    "prefect": "install the extra `flows`, or unset PREFECT_API_URL",
    "pyarrow": "install the extra `archive`, or unset RAW_ARCHIVE and PAGE_TARGET",
}
_MISSING_MODULE = (
    "install requirements.txt; or, if an embedded part is missing, configure a server instead "
    "(DB_HOSTNAME, MLFLOW_TRACKING_URI)"
)


def advice(error: BaseException) -> str | None:
    """Cause and remedy in one line, for an error that a user can fix; None for any other.

    Errors of libraries keep their type on the way up; they are put into words only here, at the
    edge. An error is judged by its type and its code, and so are those that it was raised from.
    """
    if isinstance(error, ImpressError):
        return str(error)
    for cause in _causes(error):
        line, remedy = _line_and_remedy(cause)
        if remedy is not None:
            return f"{type(cause).__name__}: {line}: {remedy}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error that SQLAlchemy has got from a driver, the error itself, and what it came from."""
    driver_error = getattr(error, "orig", None)
    if isinstance(driver_error, BaseException):
        yield driver_error
    yield error
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)


def _line_and_remedy(error: BaseException) -> tuple[str, str | None]:
    """The line of the message that names the cause, and what to do."""
    types = {_name(each) for each in type(error).__mro__}
    first, *_ = lines = str(error).strip().splitlines() or [""]
    if "psycopg2.Error" in types:
        if getattr(error, "pgcode", None) is not None:
            return first, _by_sqlstate(error)
        lost = "psycopg2.InterfaceError" in types and "connection already closed" in first
        if lost or "psycopg2.OperationalError" in types:
            return _by_text(lines)
    if isinstance(error, ModuleNotFoundError):
        missing = (error.name or "").partition(".")[0]
        return first, _MISSING_MODULES.get(missing, _MISSING_MODULE)
    if isinstance(error, OSError):
        if "AWS Error" in first:  # of pyarrow, without a number
            return first, "check RAW_ARCHIVE and the credentials and region of AWS"
        return first, _OPERATING_SYSTEM.get(error.errno or 0)
    return first, next((remedy for name, remedy in _LIBRARIES.items() if name in types), None)


def _name(kind: type) -> str:
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _by_sqlstate(error: Any) -> str | None:
    if error.diag.source_function in _ROW_SECURITY_REPORTERS:
        return _ROW_SECURITY
    for length in (5, 3, 2):  # the code, a group of codes, a class
        if error.pgcode[:length] in _POSTGRESQL:
            return _POSTGRESQL[error.pgcode[:length]]
    return None


def _by_text(lines: list[str]) -> tuple[str, str]:
    for pattern, remedy in _CONNECTING.items():
        for line in lines:
            if re.search(pattern, line):
                return line, remedy
    return lines[0], _ANY_CONNECTION
