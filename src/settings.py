"""Where things are and who may use them: the only reader of the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.errors import SettingsError
from src.safe_text import keep_secret, secrets_in, visible

_HOST = re.compile(r"[\w.:%,-]+|/.*")  # names or addresses, or the folder of a local socket

# Mailboxes, without the forms of RFC 5322 that nobody uses, such as comments.
_ATOM = r'[^\s"(),.:;<>@\[\\\]]+'
_ADDRESS = rf"{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = rf"(?:{_QUOTED}|{_ATOM}(?:[\s.]+{_ATOM})*(?:\.\s)?)?"
_MAILBOX = re.compile(rf"{_NAME}\s*<{_ADDRESS}>|{_ADDRESS}")
_ENTRY = re.compile(rf'(?:{_QUOTED}|[^",;])+|"')  # what commas and semicolons separate


class Settings(BaseSettings):
    """Environment variables, by their names in capitals; a `.env` file is read if present.

    An empty variable counts as not set. Nothing set means the embedded parts under `artifacts/`.
    What is secret in them is hidden from now on wherever text leaves the process.

    Raises:
        SettingsError: when a variable has a value that it cannot have.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    impress_home: Path = Field(Path("."), description="root of artifacts/, logs/, ml_downloads/")
    impress_params: Path = Field(Path("params.yaml"), description="the soft sensor's contract")

    db_hostname: str | None = Field(None, description="PostgreSQL; without it an embedded one")
    db_port: int = Field(5432, description="port of PostgreSQL")
    db_name: str = Field("impress", description="database")
    db_username: str | None = Field(None, description="role")
    db_password: SecretStr | None = Field(None, description="password of the role")
    db_sslmode: str = Field("prefer", description="libpq's sslmode; verify-full where possible")

    raw_archive: str | None = Field(None, description="where purged rows go, a folder or s3://...")

    mlflow_tracking_uri: str | None = Field(None, description="registry; without it SQLite")
    mlflow_tracking_username: str | None = Field(None, description="user of the registry")
    mlflow_tracking_password: SecretStr | None = Field(None, description="its password or token")

    dvc_username: str | None = Field(None, description="user of the data remote")
    dvc_token: SecretStr | None = Field(None, description="token of the data remote")

    email_sender: str = Field("impress@localhost", description="From")
    email_username: str | None = Field(
        None, description="login at SMTP_HOST; without it the address of EMAIL_SENDER"
    )
    email_pass: SecretStr | None = Field(None, description="its password")
    email_recipient: str = Field(
        "laboratory@localhost", description="To, separated by commas or semicolons"
    )
    smtp_host: str | None = Field(None, description="without it mail goes to artifacts/outbox/")
    smtp_port: int = Field(587, description="port of SMTP_HOST")
    smtp_security: Literal["starttls", "tls"] = Field(
        "starttls", description="how SMTP_HOST begins TLS: when asked to, or with the first byte"
    )
    email_max_mb: float = Field(10, ge=0, description="MB; a larger report (zip) is not attached")

    prefect_api_url: str | None = Field(None, description="with it pipelines run as Prefect flows")
    prefect_cloud_api_token: SecretStr | None = Field(None, description="key of Prefect Cloud")
    prefect_api_key: SecretStr | None = Field(None, description="the same, by Prefect's own name")

    git_hash: str | None = Field(None, description="code version of an image; else asked of git")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            # Pydantic's own message quotes the values, which may be passwords.
            faults = [
                f"{'_'.join(map(str, fault['loc'])).upper()}: "
                f"{fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors(include_input=False)
            ]
            raise SettingsError("; ".join(faults)) from None

    def model_post_init(self, _: Any, /) -> None:
        """Keep the secrets out of all text from the start."""
        keep_secret(self._secrets())

    def _secrets(self) -> Iterator[str]:
        for value in dict(self).values():
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
            elif isinstance(value, str):
                yield from secrets_in(value)

    @field_validator("db_hostname")
    @classmethod
    def _is_host(cls, value: str | None) -> str | None:
        if value and not _HOST.fullmatch(value):
            raise ValueError(
                "this is not the name or address of a server; a connection string is given in "
                "parts: DB_HOSTNAME, DB_PORT, DB_NAME, DB_USERNAME, DB_PASSWORD, DB_SSLMODE"
            )
        return value

    @field_validator("email_recipient")
    @classmethod
    def _are_mailboxes(cls, value: str) -> str:
        return ", ".join(_mailboxes(value))

    @field_validator("email_sender")
    @classmethod
    def _is_mailbox(cls, value: str) -> str:
        mailboxes = _mailboxes(value)
        if len(mailboxes) > 1:
            raise ValueError("there can be only one sender")
        return mailboxes[0]

    @property
    def artifacts(self) -> Path:
        """What a run makes: database, registry, reports, mail, data store."""
        return self.impress_home.resolve() / "artifacts"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.impress_home.resolve() / "logs"

    @property
    def ml_downloads(self) -> Path:
        """Cache of the Production bundle."""
        return self.impress_home.resolve() / "ml_downloads"

    @property
    def registry_uri(self) -> str:
        """Tracking address of MLflow."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.artifacts / 'mlflow.db'}"

    def export(self) -> None:
        """Hand to MLflow and Prefect what they read from the environment only."""
        values = {
            "MLFLOW_TRACKING_USERNAME": self.mlflow_tracking_username,
            "MLFLOW_TRACKING_PASSWORD": _reveal(self.mlflow_tracking_password),
            "PREFECT_API_URL": self.prefect_api_url,
            "PREFECT_API_KEY": _reveal(self.prefect_api_key or self.prefect_cloud_api_token),
            # The defaults of MLflow wait several minutes for a registry that is down.
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "DO_NOT_TRACK": "1",
            "DVC_NO_ANALYTICS": "1",
        }
        for name, value in values.items():
            if value is not None:
                os.environ.setdefault(name, value)


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _mailboxes(text: str) -> list[str]:
    """The mailboxes of a list, `a@x.org` or `Name <a@x.org>` each."""
    entries = [entry.strip() for entry in _ENTRY.findall(text) if entry.strip()]
    if not entries:
        raise ValueError("it contains no address")
    for place, entry in enumerate(entries, start=1):
        # An encoded word, as in =?utf-8?q?=0A?=, could hold a line break.
        hidden = visible(entry) != entry or "=?" in entry
        if hidden or not _MAILBOX.fullmatch(entry):
            raise ValueError(
                f"entry {place} is not an address: separate addresses with commas, and put a name "
                'that contains one in quotation marks, as in "Miller, Jo" <jo@example.org>'
            )
    return entries


def variables() -> list[str]:
    """Names of all environment variables that are read."""
    return [name.upper() for name in dict(Settings.model_fields)]
