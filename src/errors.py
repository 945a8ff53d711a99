"""Named errors, for mistakes and states that the reader of the message can fix.

Anything else that goes wrong is not caught and ends a run with its traceback.
"""

from __future__ import annotations


class ImpressError(Exception):
    """Base of the errors whose message says what to do next."""


class ParamsError(ImpressError):
    """params.yaml is missing or breaks its contract."""


class SettingsError(ImpressError):
    """An environment variable has a value that it cannot have; the message does not quote it."""


class DataError(ImpressError):
    """A file or table does not hold what params.yaml says it holds."""


class BundleRefused(ImpressError):
    """A model bundle is damaged, was altered, or asks for what the loader does not allow."""


class NoModel(ImpressError):
    """The registry has no such model version, or cannot be reached and nothing is cached."""


class RegistryUnavailable(ImpressError):
    """The model registry does not answer."""


class InboxHeld(ImpressError):
    """Another run is working on the inbox."""


class DeliveryError(ImpressError):
    """The message could not be handed to the mail server."""


# What to do about errors of libraries, by a word of their type or message; the first match counts.
_REMEDIES = {
    "UndefinedTable": "run `impress init` first",
    "UndefinedColumn": "run `impress init` to add what is missing",
    "InsufficientPrivilege": "ask the owner of the tables to grant it to DB_USERNAME, or to grant "
    "TEMPORARY on the database",
    "PermissionError": "give this user write access there; see RAW_ARCHIVE and IMPRESS_HOME",
    "AWS Error": "check RAW_ARCHIVE and the credentials and region of AWS",
    "UnicodeDecodeError": "save the file as UTF-8",
    "ConnectError": "check PREFECT_API_URL and that the server is running",
    "OperationalError": "check DB_HOSTNAME, DB_PORT, DB_NAME, DB_USERNAME, DB_PASSWORD, DB_SSLMODE "
    "and that the server is running",
    "'prefect'": "install the extra `flows`, or unset PREFECT_API_URL",
    "'pyarrow'": "install the extra `archive`, or unset RAW_ARCHIVE",
    "ModuleNotFoundError": "install requirements.txt; or, if an embedded part is missing, "
    "configure a server instead (DB_HOSTNAME, MLFLOW_TRACKING_URI)",
}


def advice(error: BaseException) -> str | None:
    """Cause and remedy in one line, for an error that a user can fix; None for any other.

    Errors of libraries keep their type on the way up; they are put into words only here, at the
    edge.
    """
    if isinstance(error, ImpressError):
        return str(error)
    lines = str(error).strip().splitlines()
    cause = f"{type(error).__name__}: {lines[0] if lines else ''}"
    for word, remedy in _REMEDIES.items():
        if word in cause:
            return f"{cause}: {remedy}"
    return None
