"""Named errors: a mistake or a state that the reader of the message can mend.

Everything else that goes wrong is left as it is and ends a run with its traceback.
"""

from __future__ import annotations


class ImpressError(Exception):
    """Base of the errors whose message says what to do next."""


class ParamsError(ImpressError):
    """params.yaml is missing or breaks its contract."""


class DataError(ImpressError):
    """A file or table does not hold what params.yaml says it holds."""


class BundleRefused(ImpressError):
    """A model bundle is damaged, changed, or asks for what the loader does not allow."""


class NoModel(ImpressError):
    """The registry has no such model version, or cannot be asked and nothing is cached."""


class RegistryUnavailable(ImpressError):
    """The model registry does not answer."""


class InboxHeld(ImpressError):
    """Another run is at work on the inbox."""


class DeliveryError(ImpressError):
    """The message could not be handed to the mail server."""


# What to do about errors of libraries, by a word of their type or message.
_REMEDIES = {
    "UndefinedTable": "run `impress init` first",
    "UndefinedColumn": "run `impress init` to add what is missing",
    "InsufficientPrivilege": "let the owner of the tables grant it to DB_USERNAME, or TEMPORARY "
    "that of the database",
    "PermissionError": "let this user write there; see RAW_ARCHIVE and IMPRESS_HOME",
    "AWS Error": "check RAW_ARCHIVE and the credentials and region of AWS",
    "UnicodeDecodeError": "save the file as UTF-8",
    "ConnectError": "check PREFECT_API_URL and that the server runs",
    "OperationalError": "check DB_HOSTNAME, DB_PORT, DB_NAME, DB_USERNAME, DB_PASSWORD, DB_SSLMODE "
    "and that the server runs",
    "'prefect'": "install the extra `flows`, or do without PREFECT_API_URL",
    "'pyarrow'": "install the extra `archive`, or do without RAW_ARCHIVE",
    "ModuleNotFoundError": "install requirements.txt; or, where it is about an embedded part, name "
    "a server instead (DB_HOSTNAME, MLFLOW_TRACKING_URI)",
}


def advice(error: BaseException) -> str | None:
    """One line of cause and remedy for an error that a user can mend, None for any other.

    Library errors keep their type on the way up; only here, at the edge, they get words.
    """
    if isinstance(error, ImpressError):
        return str(error)
    cause = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    remedy = next((remedy for word, remedy in _REMEDIES.items() if word in cause), None)
    return f"{cause}: {remedy}" if remedy else None
