"""Where things are and who may use them: the only reader of the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from src.errors import SettingsError
from src.safe_text import keep_secret, secrets_in, visible

EMF = "emf"  # as METRICS: the embedded metric format of CloudWatch
SYSTEM = "system"  # as DB_SSLROOTCERT: the authorities that the operating system trusts

# Mailboxes, without the forms of RFC 5322 that nobody uses, such as comments.
_ATOM = r'[^\s"(),.:;<>@\[\\\]]+'
_ADDRESS = rf"{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = rf"(?:{_QUOTED}|{_ATOM}(?:[\s.]+{_ATOM})*(?:\.\s)?)?"
_MAILBOX = rf"{_NAME}\s*<{_ADDRESS}>|{_ADDRESS}"
_ENTRY = rf'(?:{_QUOTED}|[^",;])+|"'  # what commas and semicolons separate


def _local(value: object, understood: str = "a path, ~/path or file:///path") -> str:
    """A path as it is written, with a leading ~ expanded; or that of file:///path."""
    text = str(value)
    if re.match("[A-Za-z][A-Za-z0-9+.-]*:", text):
        if not text.lower().startswith("file:///"):
            raise ValueError(f"must be {understood}")
        return unquote(text[len("file://") :])
    path = os.path.expanduser(text)
    if path.startswith(("~", "$")):
        raise ValueError(f"begins with a user or variable that is unknown: write {understood}")
    return path


def _archive(text: str) -> str:
    """An address on S3, or a folder, which is relative to the working directory."""
    if not text.lower().startswith("s3:"):
        understood = "a path, ~/path, file:///path or s3://bucket/prefix"
        return str(Path(_local(text, understood)).absolute())
    if "@" in text:
        raise ValueError("holds a key: give it to AWS's own variables or to a role")
    if not re.match("s3://[^/]", text, re.IGNORECASE):
        raise ValueError("names no bucket: write s3://bucket/prefix")
    return f"s3{text[2:]}"


def _authority(text: str) -> str:
    """A file with certificates, or `system`."""
    if text == SYSTEM:
        return text
    file = Path(_local(text))
    if not file.is_file():
        raise ValueError("names no file")
    return str(file)


def _address(text: str) -> str:
    """An address with a scheme, or one of MLflow's words."""
    if "://" not in text and text not in ("databricks", "databricks-uc", "uc"):
        raise ValueError("lacks a scheme such as https://")
    return text


def _web_address(text: str) -> str:
    """An address that a browser opens, without a login in it."""
    if not re.match(r"https?://[^/@\s]+(/|$)", text, re.IGNORECASE):
        raise ValueError("is not an address such as https://impress.example.org/")
    return text


def _host(text: str) -> str:
    """Names or addresses of servers, separated by commas, or the folder of a local socket."""
    if not re.fullmatch(r"[\w.:%,-]+|/.*", text):
        raise ValueError(
            "is not the name or address of a server: give a connection string in its parts, "
            "DB_HOSTNAME, DB_PORT, DB_NAME, DB_USERNAME, DB_PASSWORD and DB_SSLMODE"
        )
    return text


def _mailboxes(text: str) -> str:
    """A list of `a@x.org` or `Name <a@x.org>`, as the header To has it."""
    entries = [entry.strip() for entry in re.findall(_ENTRY, text) if entry.strip()]
    if not entries:
        raise ValueError("contains no address")
    for place, entry in enumerate(entries, start=1):
        # An encoded word, as in =?utf-8?q?=0A?=, could hold a line break.
        hidden = visible(entry) != entry or "=?" in entry
        if hidden or not re.fullmatch(_MAILBOX, entry):
            raise ValueError(
                f"has no address in entry {place}: separate addresses with commas, and put a name "
                'that contains one in quotation marks, as in "Miller, Jo" <jo@example.org>'
            )
    return ", ".join(entries)


def _mailbox(text: str) -> str:
    """A single `a@x.org` or `Name <a@x.org>`."""
    mailbox = _mailboxes(text)
    if not re.fullmatch(_MAILBOX, mailbox):
        raise ValueError("names more than one sender")
    return mailbox


def _metrics(text: str) -> str:
    """`emf` or `emf:NAMESPACE`, or a folder that is there."""
    if re.fullmatch(rf"{EMF}(:[\w.#/-]+)?", text):
        return text
    folder = Path(_local(text, "emf, emf:NAMESPACE, a path, ~/path or file:///path"))
    if not folder.is_dir():
        raise ValueError("names no folder: write emf, or the folder of node_exporter's files")
    return str(folder.absolute())


LocalPath = Annotated[Path, BeforeValidator(_local)]
ArchiveRoot = Annotated[str, AfterValidator(_archive)]
Authority = Annotated[str, AfterValidator(_authority)]
Address = Annotated[str, AfterValidator(_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Host = Annotated[str, AfterValidator(_host)]
Metrics = Annotated[str, AfterValidator(_metrics)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]
Mailboxes = Annotated[str, AfterValidator(_mailboxes)]


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

    impress_home: LocalPath = Field(
        Path("."), description="root of artifacts/, logs/, ml_downloads/"
    )
    impress_params: LocalPath = Field(Path("params.yaml"), description="the soft sensor's contract")

    db_hostname: Host | None = Field(None, description="PostgreSQL; without it an embedded one")
    db_port: int = Field(5432, description="port of PostgreSQL")
    db_name: str = Field("impress", description="database")
    db_username: str | None = Field(None, description="role")
    db_password: SecretStr | None = Field(None, description="password of the role")
    db_sslmode: str | None = Field(
        None, description="libpq's sslmode: prefer, or verify-full with DB_SSLROOTCERT"
    )
    db_sslrootcert: Authority | None = Field(
        None, description="file of the authority that DB_SSLMODE=verify-full trusts, or `system`"
    )

    raw_archive: ArchiveRoot | None = Field(
        None, description="where purged rows go, a folder or s3://..."
    )

    page_target: ArchiveRoot | None = Field(
        None, description="where predict and monitor publish the pages, a folder or s3://..."
    )

    page_url: WebAddress | None = Field(
        None, description="where people open the pages; mails link to it"
    )

    mlflow_tracking_uri: Address | None = Field(None, description="registry; without it SQLite")
    mlflow_tracking_username: str | None = Field(None, description="user of the registry")
    mlflow_tracking_password: SecretStr | None = Field(None, description="its password or token")

    model_signing_key: SecretStr | None = Field(
        None, description="private key that signs new models, or its file"
    )
    model_trusted_keys: str | None = Field(
        None, description="public keys, or their files; only models signed by one of them serve"
    )

    dvc_username: str | None = Field(None, description="user of the data remote")
    dvc_token: SecretStr | None = Field(None, description="token of the data remote")

    email_sender: Mailbox = Field("impress@localhost", description="From")
    email_username: str | None = Field(
        None, description="login at SMTP_HOST; without it the address of EMAIL_SENDER"
    )
    email_pass: SecretStr | None = Field(None, description="its password")
    email_recipient: Mailboxes = Field(
        "laboratory@localhost", description="To, separated by commas or semicolons"
    )
    smtp_host: str | None = Field(None, description="without it mail goes to artifacts/outbox/")
    smtp_port: int = Field(587, description="port of SMTP_HOST")
    smtp_security: Literal["starttls", "tls"] = Field(
        "starttls", description="how SMTP_HOST begins TLS: when asked to, or with the first byte"
    )
    email_weekly: bool | None = Field(
        None, description="a letter a week about the results; by default if SMTP_HOST is set"
    )
    email_max_mb: float = Field(
        0, ge=0, description="MB (zip) up to which Evidently's page is attached; 0: never"
    )

    prefect_api_url: Address | None = Field(
        None, description="with it pipelines run as Prefect flows"
    )
    prefect_cloud_api_token: SecretStr | None = Field(None, description="key of Prefect Cloud")
    prefect_api_key: SecretStr | None = Field(None, description="the same, by Prefect's own name")

    log_format: Literal["text", "json"] = Field(
        "text", description="of log lines; json has one object a line"
    )
    metrics: Metrics | None = Field(
        None, description="`emf`: lines for CloudWatch; a folder: files for Prometheus"
    )

    git_hash: str | None = Field(None, description="code version of an image; else asked of git")

    @model_validator(mode="after")
    def _use_the_authority(self) -> Self:
        modes = ["verify-full"] if self.db_sslrootcert == SYSTEM else ["verify-full", "verify-ca"]
        if self.db_sslrootcert and self.sslmode not in modes:
            raise ValueError(f"DB_SSLROOTCERT is for DB_SSLMODE={' or '.join(modes)}")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _name_faults(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Name the variables that cannot be understood, without their values.

        The last validator, so that it hears of the faults that the others find.
        """
        try:
            return validate(values)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise SettingsError("; ".join(map(_fault, faults))) from None

    def model_post_init(self, _: Any, /) -> None:
        """Keep the secrets out of all text from now on."""
        keep_secret(self._secrets())

    def _secrets(self) -> Iterator[str]:
        for value in dict(self).values():
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
            elif isinstance(value, str):
                yield from secrets_in(value)

    @property
    def sslmode(self) -> str:
        """How a connection to PostgreSQL is secured."""
        return self.db_sslmode or ("verify-full" if self.db_sslrootcert else "prefer")

    @property
    def weekly_letter(self) -> bool:
        """Whether people get a letter a week."""
        return bool(self.smtp_host) if self.email_weekly is None else self.email_weekly

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
    def mlflow_database(self) -> Path:
        """Database of the embedded registry."""
        return self.artifacts / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifacts of the embedded registry."""
        return self.artifacts / "mlartifacts"

    @property
    def registry_uri(self) -> str:
        """Tracking address of MLflow."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.mlflow_database}"

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


def _fault(fault: ErrorDetails) -> str:
    name = "".join(str(part).upper() for part in fault["loc"][:1])
    return f"{name} {fault['msg'].removeprefix('Value error, ')}".strip()


def variables() -> list[str]:
    """Names of all environment variables that are read."""
    return [name.upper() for name in dict(Settings.model_fields)]
