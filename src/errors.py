"""Named errors: a mistake or a state that the reader of the message can mend.

Everything else that goes wrong is left as it is and ends a run with its traceback.
"""

from __future__ import annotations

import smtplib


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


class DeliveryError(ImpressError):
    """The message could not be handed to the mail server."""


def advice(error: BaseException) -> str | None:
    """One line of cause and remedy for an error that a user can mend, None for any other.

    Library errors keep their type on the way up; only here, at the edge, they get words.
    """
    if isinstance(error, ImpressError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return (
            f"the package {error.name} is not installed here: name a server instead of the embedded "
            "parts (DB_HOSTNAME, MLFLOW_TRACKING_URI), or install requirements.txt"
        )
    if isinstance(error, (smtplib.SMTPException, ConnectionError, TimeoutError)):
        return f"{type(error).__name__}: {error}: check the host, the port and the network"
    module = type(error).__module__
    first_line = str(error).strip().split("\n", maxsplit=1)[0]
    if module == "sqlalchemy.exc" and type(error).__name__ == "OperationalError":
        return (
            f"PostgreSQL: {first_line}: check DB_HOSTNAME, DB_PORT, DB_NAME, DB_USERNAME, "
            "DB_PASSWORD, DB_SSLMODE and that the server runs"
        )
    if module == "sqlalchemy.exc" and "UndefinedTable" in first_line:
        return f"PostgreSQL: {first_line}: run `impress init` first"
    if module == "sqlalchemy.exc" and "UndefinedColumn" in first_line:
        return f"PostgreSQL: {first_line}: run `impress init` to add what is missing"
    return None
