"""What a user meets who types a command: exit codes, one clear line, nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from src.cli.commands import main
from src.components.database.schema import initialise
from src.components.inbox.hold import hold
from src.components.ingestion.load import load_sensor_rows
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench
from tests.processes import wait_for

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


def _configured_at(postgres: Engine) -> datetime:
    """When the server, which lets in this new connection, last read its configuration."""
    with postgres.connect() as connection:
        moment: datetime = connection.execute(text("SELECT pg_conf_load_time()")).scalar_one()
    return moment


def test_wrong_use_exits_with_2() -> None:
    assert _run("predict", "--no-such-option").exit_code == 2
    assert _run("simulate", "here", "--fault", "gremlin").exit_code == 2
    assert _run("predict", "--from", "2026-01-01").exit_code == 2
    assert _run("predict", "--rescore", "--from", "yesterday").exit_code == 2
    assert _run("status", "--max-age", "8d", "--pipeline", "prediction").exit_code == 2
    assert _run("rejected", "replay", "--reason", "because").exit_code == 2
    assert _run("train", "--retrain", "--trials", "5").exit_code == 2
    assert _run("train", "--retrain", "--cold").exit_code == 2


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
    before = _configured_at(postgres)
    with postgres.connect() as connection:
        connection.execute(text("SELECT pg_reload_conf()"))
    wait_for(lambda: _configured_at(postgres) > before, "a server that has read its rules again")
    monkeypatch.setenv("DB_USERNAME", "stranger")
    monkeypatch.setenv("DB_PASSWORD", "wrong-secret")
    result = _run("predict")
    _fails(result, "password authentication failed", "DB_PASSWORD")
    written = result.output + "".join(log.read_text() for log in Path("logs").glob("*.log"))
    assert "wrong-secret" not in written


def test_a_database_without_tables_points_to_init(engine: Engine, spec: SoftSensor) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("DROP TABLE online_data, archived_data, rejected_data, runs CASCADE")
        )
    _fails(_run("predict"), "impress init")
    assert _run("init").exit_code == 0
    assert not initialise(engine, spec)


@pytest.mark.usefixtures("production")
def test_an_archive_that_is_not_understood_stops_a_run_before_it_begins(
    engine: Engine, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("load", str(small_dataset / "sensors.csv")).exit_code == 0
    monkeypatch.setenv("RAW_ARCHIVE", "gs://bucket/raw")
    result = _run("predict")
    assert result.exit_code == 1
    assert "RAW_ARCHIVE must be a path" in result.stderr and "Traceback" not in result.output
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM runs WHERE pipeline <> 'load'")) == 0


def test_a_statement_timeout_is_named_by_every_command(engine: Engine, small_dataset: Path) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(f"ALTER DATABASE {engine.url.database} SET statement_timeout = '1ms'")
        )
        connection.execute(text("ALTER TABLE runs ADD CHECK (pg_sleep(0.1) IS NOT NULL)"))
    rows = str(small_dataset / "sensors.csv")
    for words in (["load", rows], ["predict"], ["monitor"]):
        _fails(_run(*words), "statement timeout", "raise statement_timeout of the role")


@pytest.mark.usefixtures("engine")
def test_a_command_in_the_wrong_folder_creates_no_database(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An absolute IMPRESS_PARAMS is found from everywhere, the .env beside it is not."""
    configured = ("DB_HOSTNAME", "DB_NAME", "DB_USERNAME")
    lines = [f"{name}={os.environ[name]}" for name in configured]
    (home / ".env").write_text("\n".join(lines), encoding="utf-8")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        for name in configured:
            patch.delenv(name)
        assert _run("predict").exit_code == 0
        patch.setenv("IMPRESS_PARAMS", str(home / "params.yaml"))
        patch.chdir(elsewhere)
        _fails(_run("predict"), "DB_HOSTNAME is not set", "impress init", ".env", str(elsewhere))
        assert not (elsewhere / "artifacts").exists()


def test_an_empty_inbox_is_nothing_to_do(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM online_data")) == 0
    assert _run("predict").exit_code == 0


def test_without_a_production_model_rows_stay(
    engine: Engine, spec: SoftSensor, small_dataset: Path
) -> None:
    rows = load_sensor_rows(engine, spec, small_dataset / "sensors.csv")
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
    assert not (home / "artifacts" / "outbox").exists(), "nothing is wrong"
    assert len(list((home / "artifacts" / "reports").glob("drift-*/report.html"))) == 1
    _fails(_run("monitor"), "nothing was archived after")

    status = _run("status")
    assert status.exit_code == 0, status.output
    for part in ("version 1 is Production", "partial", "no drift"):
        assert part in status.stdout


@pytest.mark.usefixtures("production")
def test_a_prediction_is_traced_back_to_what_it_was_made_from(
    engine: Engine, small_dataset: Path
) -> None:
    assert _run("load", str(small_dataset / "sensors.csv")).exit_code == 0
    assert _run("predict").exit_code == 0
    assert _run("predict", "--rescore", "--from", "2026-01-05", "--to", "2026-01-06").exit_code == 0
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT * FROM latest_predictions WHERE experimentnummer = 2 AND waschen = 0")
        ).mappings()
        ledger = dict(row.one())
        run = connection.execute(text("SELECT * FROM runs WHERE id = 3")).mappings().one()
        hashes = connection.scalar(text("SELECT count(*) FROM archived_data"))
    assert hashes > 48, "some were scored again"
    result = _run("why", "2")
    assert result.exit_code == 0, result.output
    for part in (
        "experiment 2, washing",
        "experiment 2, rinsing",
        f"{ledger['n_samples']} valid rows",
        "stamped 2026-01-05 09:",
        "still in the inbox",
        f"by version 1 in run 3, code {run['code_version']}",
        "supersedes 1 older prediction",
        ledger["verdict"],
        f"{ledger['oberflaechenspannung']:.4g}",
        f"{ledger['leitfaehigkeit_percentile75']:.4g}",
        "random_forest",
        "xgboost",
        "contributions of the sensors (SHAP)",
        "model data",
        "scikit-learn",
    ):
        assert part in result.stdout, part
    for target in ("oberflaechenspannung", "anionischetenside", "nichtionischentenside"):
        assert (
            f"{ledger[f'{target}_lower']:.4g} to {ledger[f'{target}_upper']:.4g}" in result.stdout
        )
    votes = re.findall(r"(?:_forest|_trees|xgboost|_process) +([\d.]+) x ([\d.]+)", result.stdout)
    voted = sum(float(vote) * float(weight) for vote, weight in votes[4:])
    assert voted == pytest.approx(ledger["oberflaechenspannung"], rel=0.01)
    _fails(_run("why", "9999"), "nothing was predicted for experiment 9999")
    _fails(_run("why", "two"), "'two' is not an experiment")


@pytest.mark.usefixtures("production")
def test_a_prediction_is_traced_also_when_the_registry_is_down(
    engine: Engine, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run("load", str(small_dataset / "sensors.csv")).exit_code == 0
    assert _run("predict").exit_code == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{CLOSED_PORT}")
    result = _run("why", "2")
    assert result.exit_code == 0, result.output
    assert "does not answer" in result.stdout and "features" in result.stdout
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM runs WHERE pipeline <> 'load'")) == 1


def test_predictions_from_before_the_upgrade_are_traced_as_far_as_they_can_be(
    bench: Workbench,
) -> None:
    bench.execute(
        "INSERT INTO archived_data (experimentnummer, waschen, ph_mean, oberflaechenspannung) "
        "VALUES (7, 0, 7.5, 61.5)"
    )
    result = _run("why", "7")
    assert result.exit_code == 0, result.output
    for part in ("61.5", "7.5", "at an unknown time", "not known"):
        assert part in result.stdout
    assert "*" not in result.stdout


def test_rejected_rows_are_listed_and_replayed(bench: Workbench) -> None:
    assert "no rows are rejected" in _run("rejected").stdout
    bench.add(1, 9, 20)
    bench.add(2, 9, 10)
    assert _run("predict").exit_code == 3
    listed = _run("rejected").stdout
    for part in ("unknown_phase", "30", "add the phase"):
        assert part in listed
    assert "10 rows are back" in _run("rejected", "replay", "--experiment", "2").stdout
    bench.execute("UPDATE rejected_data SET waschen = 1")
    assert "20 rows are back" in _run("rejected", "replay", "--reason", "unknown_phase").stdout
    _fails(_run("rejected", "replay", "--experiment", "two"), "'two' is not an experiment")
    with hold(bench.engine):
        _fails(_run("rejected", "replay"), "another run holds the inbox")


def test_a_dead_mans_alarm_asks_for_the_last_good_run(bench: Workbench) -> None:
    assert _run("status", "--max-age", "8d").exit_code == 1
    assert _run("predict").exit_code == 0
    assert _run("status", "--max-age", "8d").exit_code == 0
    assert _run("status", "--max-age", "8d", "--pipeline", "monitor").exit_code == 1
    bench.execute("UPDATE runs SET ended_at = ended_at - interval '9 days'")
    bench.add(1, 1, 100)
    _fails(_run("predict"), "impress promote")
    assert bench.table("runs").sort_values("id")["outcome"].tolist() == ["done", "failed"]
    stale = _run("status", "--max-age", "8d")
    assert (stale.exit_code, stale.stdout) == (1, "last good run of predict: 9 d 0 h ago\n")
    assert _run("status", "--max-age", "10d").exit_code == 0
    assert _run("status", "--max-age", "soon").exit_code == 2


def test_a_run_that_finds_the_inbox_held_is_noted(bench: Workbench) -> None:
    with hold(bench.engine):
        assert _run("predict").exit_code == 0
    assert bench.table("runs")["outcome"].tolist() == ["skipped"]
    assert _run("status", "--max-age", "8d").exit_code == 1, "it has done nothing"


@pytest.mark.usefixtures("production")
def test_status_names_phases_with_a_doubtful_clock(bench: Workbench) -> None:
    bench.add(17, 1, 100, age=-86400)
    status = _run("status")
    assert "stamped later than they arrived" in status.stdout
    assert re.search(r"17 +1 .*waiting", status.stdout)


@pytest.mark.usefixtures("engine")
def test_a_registry_that_is_down_leaves_the_inbox_alone(
    engine: Engine, spec: SoftSensor, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = load_sensor_rows(engine, spec, small_dataset / "sensors.csv")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{CLOSED_PORT}")
    _fails(_run("predict"), "does not answer", "holds no bundle")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM online_data")) == rows


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


def test_a_study_compares_the_sets_of_sensors(dataset: Path, home: Path) -> None:
    params = home / "params.yaml"
    content = params.read_text(encoding="utf-8")
    lines = content.replace("folds: 10 ", "folds: 3 ").splitlines(keepends=True)
    left_out = ("name: truebung", "name: druck1", "name: fluss1")
    params.write_text("".join(line for line in lines if not any(n in line for n in left_out)))
    study = _run("study", "--dataset", str(dataset), "--repeats", "1")
    assert study.exit_code == 0, study.output
    for words in ("pH + conductivity", "1400", "*"):
        assert words in study.stdout
    found = pd.read_csv(home / "artifacts" / "study" / "sensors.csv")
    assert sorted(found["set"]) == ["conductivity", "pH", "pH + conductivity"]
    assert found["pareto"].any()
    assert (home / "artifacts" / "study" / "sensors.png").stat().st_size > 1000


def test_pipelines_run_as_files_from_a_checkout(engine: Engine, home: Path) -> None:
    """As the images start them; with an empty inbox, so that no model is needed."""
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM runs WHERE pipeline <> 'load'")) == 0
    script = Path(__file__).resolve().parents[3] / "src" / "pipelines" / "predict_pipeline.py"
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
