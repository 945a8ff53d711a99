"""What a user meets who types a command: exit codes, one clear line, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from src.cli import main
from src.components import database
from src.soft_sensor import SoftSensor

CLOSED_PORT = "9"


def _run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def _fails(result: Result, *parts: str) -> None:
    """One clear line, no traceback but in the log file."""
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0]
    assert "Traceback" not in result.output
    logs = list(Path("logs").glob("*.log"))
    assert any("Traceback" in log.read_text(encoding="utf-8") for log in logs)


def test_wrong_use_exits_with_2() -> None:
    assert _run("predict", "--no-such-option").exit_code == 2
    assert _run("simulate", "here", "--fault", "gremlin").exit_code == 2


def test_a_faulty_params_file_is_named_by_line(home: Path) -> None:
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    params.write_text(content.replace("high: 14", "high: low"), encoding="utf-8")
    _fails(_run("train"), "params.yaml, line", "sensors.3.high")


def test_an_unreachable_database_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_HOSTNAME", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", CLOSED_PORT)
    _fails(_run("predict"), "Connection refused", "DB_HOSTNAME")


def test_a_wrong_password_says_so_and_stays_secret(
    engine: Engine, postgres: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS stranger"))
        connection.execute(text("CREATE ROLE stranger LOGIN PASSWORD 'right'"))
        rules = Path(str(connection.scalar(text("SHOW hba_file"))))
    rules.write_text("local all stranger scram-sha-256\nlocal all all trust\n", encoding="utf-8")
    with postgres.connect() as connection:
        connection.execute(text("SELECT pg_reload_conf()"))
    monkeypatch.setenv("DB_USERNAME", "stranger")
    monkeypatch.setenv("DB_PASSWORD", "wrong-secret")
    result = _run("predict")
    _fails(result, "password authentication failed", "DB_PASSWORD")
    written = result.output + "".join(log.read_text() for log in Path("logs").glob("*.log"))
    assert "wrong-secret" not in written


def test_a_database_without_tables_points_to_init(engine: Engine, sensor: SoftSensor) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("DROP TABLE online_data, archived_data, rejected_data, runs CASCADE")
        )
    _fails(_run("predict"), "impress init")
    assert _run("init").exit_code == 0
    assert not database.initialise(engine, sensor)


def test_an_empty_inbox_is_nothing_to_do(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM online_data")) == 0
    assert _run("predict").exit_code == 0


def test_without_a_production_model_rows_stay(
    engine: Engine, sensor: SoftSensor, small_dataset: Path
) -> None:
    rows = database.load(engine, sensor, small_dataset / "sensors.csv")
    _fails(_run("predict"), "impress promote")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM online_data")) == rows


@pytest.mark.usefixtures("production")
def test_predict_monitor_and_status(engine: Engine, small_dataset: Path, home: Path) -> None:
    """The weekly and the monthly task, and what a user sees of them."""
    assert _run("load", str(small_dataset / "sensors.csv")).exit_code == 0
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO online_data (experimentnummer, waschen) VALUES (1, 9)")
        )
    assert _run("predict").exit_code == 3
    assert _run("predict").exit_code == 0
    with engine.connect() as connection:
        ledger = pd.read_sql(text("SELECT * FROM archived_data"), connection)
    truth = pd.read_csv(small_dataset / "truth.csv", sep=";")
    assert len(ledger) == len(truth)
    assert set(ledger.loc[ledger["waschen"] == 1, "verdict"]) == {""}
    assert ledger.loc[ledger["waschen"] == 0, "verdict"].str.len().min() > 0
    assert ledger["model_version"].unique().tolist() == ["1"]

    monitored = _run("monitor")
    assert monitored.exit_code == 0, monitored.output
    assert len(list((home / "artifacts" / "outbox").glob("*.eml"))) == 1
    assert len(list((home / "artifacts" / "reports").glob("drift-*.html"))) == 1
    _fails(_run("monitor"), "nothing was archived since")

    status = _run("status")
    assert status.exit_code == 0, status.output
    for part in ("version 1 is Production", "partial", "no drift"):
        assert part in status.stdout


@pytest.mark.usefixtures("engine")
def test_a_registry_that_is_down_leaves_the_inbox_alone(
    engine: Engine, sensor: SoftSensor, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = database.load(engine, sensor, small_dataset / "sensors.csv")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{CLOSED_PORT}")
    _fails(_run("predict"), "does not answer", "holds no bundle")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM online_data")) == rows


@pytest.mark.usefixtures("production")
def test_a_mail_server_that_refuses_costs_neither_report_nor_message(
    engine: Engine, small_dataset: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("load", str(small_dataset / "sensors.csv")).exit_code == 0
    assert _run("predict").exit_code == 0
    monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("SMTP_PORT", CLOSED_PORT)
    _fails(_run("monitor"), "did not take the message", "SMTP_HOST")
    assert list((home / "artifacts" / "outbox").glob("*.eml"))
    with engine.connect() as connection:
        journal = pd.read_sql(text("SELECT * FROM runs WHERE pipeline = 'monitor'"), connection)
    assert journal["outcome"].tolist() == ["failed"]
    assert "until" not in journal["details"][0], "the next run must look at the window again"


@pytest.fixture(name="dataset")
def fixture_dataset(small_dataset: Path, home: Path) -> Path:
    """A data set that a test may spoil."""
    return Path(shutil.copytree(small_dataset, home / "Dataset"))


def test_training_on_bad_data_says_what_is_wrong(dataset: Path) -> None:
    laboratory = dataset / "lab.csv"
    good = laboratory.read_text(encoding="utf-8")
    laboratory.write_text(good.replace("anionischetenside", "anionisch"), encoding="utf-8")
    _fails(_run("train"), "column anionischetenside is missing")
    laboratory.write_text(good.replace(";W1;", ";Waschen;").replace(";S1;", ";Spuelen;"))
    _fails(_run("train"), "no laboratory row names a phase")
    lines = good.splitlines()
    laboratory.write_text("\n".join(lines[:12]), encoding="utf-8")
    _fails(_run("train"), "at least 10 are needed")
    frame = pd.read_csv(dataset / "lab.csv", sep=";").assign(anionischetenside=-1)
    frame.to_csv(laboratory, sep=";", index=False)
    _fails(_run("train"), "anionischetenside holds no value")
    shutil.rmtree(dataset)
    _fails(_run("train"), "Dataset/sensors.csv not found")


def test_pipelines_run_as_files_from_a_checkout(engine: Engine, home: Path) -> None:
    """As the images start them; with an empty inbox, so that no model is needed."""
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM runs")) == 0
    script = Path(__file__).resolve().parents[2] / "src" / "pipelines" / "predict_pipeline.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=home,
        env=dict(os.environ),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT outcome FROM runs")) == "done"
    assert list((home / "logs").glob("predict-*.log"))
