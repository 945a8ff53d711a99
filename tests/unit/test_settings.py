"""The environment, read in one place, with its secrets kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.settings import Settings, variables

ROOT = Path(__file__).resolve().parents[2]
SECRETS = (
    "DB_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD",
    "DVC_TOKEN",
    "EMAIL_PASS",
    "PREFECT_CLOUD_API_TOKEN",
    "PREFECT_API_KEY",
)


def test_nothing_set_means_embedded_parts(home: Path) -> None:
    settings = Settings()
    assert settings.db_hostname is None and settings.smtp_host is None
    assert settings.registry_uri == f"sqlite:///{home / 'artifacts' / 'mlflow.db'}"


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hush-hush")
    assert "hush-hush" not in repr(Settings())
    assert "hush-hush" not in Settings().model_dump_json()


def test_a_dotenv_file_is_read_and_the_environment_wins(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".env").write_text("DB_HOSTNAME=file\nDB_NAME=file\nDB_PORT=\n", encoding="utf-8")
    monkeypatch.setenv("DB_NAME", "environment")
    settings = Settings()
    found = (settings.db_hostname, settings.db_name, settings.db_port)
    assert found == ("file", "environment", 5432)


def test_the_example_names_every_variable_and_no_other() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    named = {line.lstrip("# ").split("=")[0] for line in lines if "=" in line}
    assert named == set(variables())
