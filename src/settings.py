"""Where things are and who may use them: the only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Environment variables, by their names in capitals; a `.env` file is read if present.

    An empty variable counts as not set. Nothing set means the embedded parts under `artifacts/`.
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

    model_signing_key: SecretStr | None = Field(
        None, description="private key that signs new models, or its file"
    )
    model_trusted_keys: str | None = Field(
        None, description="public keys, or their files; only models signed by one of them serve"
    )

    dvc_username: str | None = Field(None, description="user of the data remote")
    dvc_token: SecretStr | None = Field(None, description="token of the data remote")

    email_sender: str = Field("impress@localhost", description="From")
    email_pass: SecretStr | None = Field(None, description="password of EMAIL_SENDER at SMTP_HOST")
    email_recipient: str = Field("laboratory@localhost", description="To, separated by commas")
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


def variables() -> list[str]:
    """Names of all environment variables that are read."""
    return [name.upper() for name in dict(Settings.model_fields)]
