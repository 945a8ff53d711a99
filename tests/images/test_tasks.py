"""Both tasks as containers, on real servers: what they do, and how they end."""

from __future__ import annotations

import os
from email import message_from_bytes
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.registry.cache import fetch_production
from src.components.registry.versions import Registry
from src.settings import Settings
from tests.images.conftest import GIT_HASH, HOME, Build, Image
from tests.integration.pipelines.test_orchestration import newest_run
from tests.integration.workbench import Workbench


def ask(engine: Engine, query: str) -> pd.DataFrame:
    """The rows that a query finds."""
    with engine.connect() as connection:
        return pd.read_sql(text(query), connection)


@pytest.fixture(name="volume")
def fixture_volume(tmp_path: Path) -> Path:
    """An empty folder that the containers' user may write, and nobody else."""
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o700)
    os.chown(folder, 10001, 10001)
    return folder


@pytest.mark.usefixtures("mlflow")
def test_the_inbox_is_predicted_once(predict: Image, inbox: Engine) -> None:
    assert predict.run().returncode == 0
    scored = ask(inbox, "SELECT DISTINCT experimentnummer, waschen, flags FROM archived_data")
    assert len(scored) == 47 and not scored["flags"].str.contains("cached_model").any()
    assert predict.run().returncode == 0
    assert len(ask(inbox, "SELECT 1 FROM archived_data")) == len(scored)
    runs = ask(inbox, "SELECT outcome, code_version FROM runs WHERE pipeline = 'predict'")
    assert runs["outcome"].tolist() == ["done", "done"]
    assert set(runs["code_version"]) == {GIT_HASH}


def test_an_empty_inbox_is_no_failure(predict: Image, engine: Engine) -> None:
    done = predict.run()
    assert done.returncode == 0, done.stderr
    assert ask(engine, "SELECT outcome FROM runs")["outcome"].tolist() == ["done"]


@pytest.mark.usefixtures("mlflow")
def test_rejected_rows_have_an_exit_code_of_their_own(predict: Image, bench: Workbench) -> None:
    bench.add(None, 1, rows=5)
    assert predict.run().returncode == 3


@pytest.mark.usefixtures("mlflow")
def test_a_report_is_written_and_mailed(
    predict: Image,
    monitor: Image,
    inbox: Engine,
    smtp: Path,
    volume: Path,
) -> None:
    assert predict.run().returncode == 0
    trusted = f"--volume={os.environ['SSL_CERT_FILE']}:/authority.pem:ro"
    options = (f"--volume={volume}:{HOME}", trusted, "--env=SSL_CERT_FILE=/authority.pem")
    done = monitor.run("monitor", "--always-mail", options=options)
    assert done.returncode == 0, done.stderr
    (report,) = volume.glob("artifacts/reports/*/report.html")
    assert report.with_name("evidently.html").stat().st_size > 100_000
    (message,) = smtp.iterdir()
    subject = str(message_from_bytes(message.read_bytes())["Subject"])
    (outcome,) = ask(inbox, "SELECT outcome FROM runs WHERE pipeline = 'monitor'")["outcome"]
    assert subject.startswith("laundry, ") and f": {outcome}" in subject


def test_nothing_to_report_on_is_a_failure_that_is_named(monitor: Image, engine: Engine) -> None:
    assert engine.url.database
    done = monitor.run()
    assert done.returncode == 1
    assert "nothing was archived" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.usefixtures("engine")
def test_a_database_that_is_down_is_named(
    image: Image, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PORT", str(closed_port))
    done = image.run()
    assert done.returncode == 1
    assert "check DB_HOSTNAME" in done.stderr and "Traceback" not in done.stderr


def test_without_registry_and_bundle_nothing_is_predicted(
    predict: Image, inbox: Engine, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    done = predict.run()
    assert done.returncode == 1
    assert "holds no bundle: try again later" in done.stderr and "Traceback" not in done.stderr
    assert ask(inbox, "SELECT 1 FROM archived_data").empty


@pytest.mark.usefixtures("mlflow")
def test_other_params_are_mounted_and_a_model_that_was_never_promoted_is_named(
    predict: Image, monitor: Image, inbox: Engine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert predict.run().returncode == 0 and not ask(inbox, "SELECT 1 FROM archived_data").empty
    params = (home / "params.yaml").read_text(encoding="utf-8")
    assert "name: laundry" in params
    (home / "other.yaml").write_text(params.replace("name: laundry", "name: other"), "utf-8")
    monkeypatch.setenv("IMPRESS_PARAMS", "/other.yaml")
    options = (f"--volume={home}/other.yaml:/other.yaml:ro",)
    done = monitor.run(options=options)
    assert done.returncode == 1
    assert "no version of other is Production" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.usefixtures("mlflow")
def test_a_bundle_that_was_built_in_serves_when_the_registry_is_down(
    build: Build, inbox: Engine, closed_port: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_production(Registry(Settings(), "laundry"))
    image = build("predict", home / "ml_downloads")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    done = image.run()
    assert done.returncode == 0, done.stderr
    flags = ask(inbox, "SELECT flags FROM archived_data")["flags"]
    assert len(flags) == 47 and flags.str.contains("cached_model").all()


@pytest.mark.usefixtures("mlflow", "inbox")
def test_a_run_is_seen_in_prefect(predict: Image, prefect: str) -> None:
    done = predict.run()
    assert done.returncode == 0, done.stderr
    assert newest_run(prefect, "predict")["state_type"] == "COMPLETED"
