"""What a terminal, a script and a careful person expect of every command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from src.cli.commands import main
from tests.processes import DEADLINE

TABLES = ("online_data", "archived_data", "rejected_data", "laboratory_data", "runs")


def _run(*words: str) -> Result:
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code in (0, 3), result.output
    return result


def _json(*words: str) -> Any:
    return json.loads(_run(*words, "--json").stdout)


def _counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {
            name: connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in TABLES
        }


def test_version_help_and_completion() -> None:
    assert _run("--version").stdout.startswith("impress ")
    assert _run("-h").stdout == _run("--help").stdout
    assert "--dry-run" in _run("load", "-h").stdout
    script = [sys.executable, "-m", "src.cli", "--show-completion", "bash"]
    shown = subprocess.run(script, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert "complete" in shown.stdout


@pytest.mark.usefixtures("production")
def test_other_programs_read_json(engine: Engine, small_dataset: Path) -> None:
    _run("load", str(small_dataset / "sensors.csv"))
    with engine.begin() as connection:
        insert = "INSERT INTO online_data (experimentnummer, waschen) VALUES (1, 9)"
        connection.execute(text(insert))
    outcome = _json("predict")
    assert outcome["rejected"] == 1 and outcome["scored"] > 0

    predictions = pd.DataFrame(_json("predictions"))
    assert len(predictions) == outcome["phases"]
    assert predictions["last_timestamp"].is_monotonic_increasing
    rinses = predictions[predictions["verdict"] != ""]
    for verdict in ("clean", "not clean", "uncertain"):
        listed = _json("predictions", "--verdict", verdict)
        assert len(listed) == rinses["verdict"].str.startswith(verdict).sum()
    assert len(_json("predictions", "--from", "2999-01-01")) == 0
    assert 0 < len(_json("predictions", "--week")) <= len(predictions)

    state = _json("status")
    assert state["production"]["number"] == "1" and state["inbox"]["rejected"] == 1
    assert state["predictions"][0]["outcome"] == "partial"
    assert state["last_good"]["monitor"] is None
    assert _json("status", "--max-age", "8d")["age"] < 8 * 86400
    version, *_ = _json("models")["versions"]
    assert version["number"] == "1"
    assert datetime.fromisoformat(version["registered_at"]).tzinfo is not None
    assert _json("rejected")[0]["reason"] == "unknown_phase"
    assert len(_json("next-sample", "--count", "2")) <= 2
    washing, _ = _json("why", "2")
    parts = sum(washing["contributions"]["oberflaechenspannung"].values())
    assert parts == pytest.approx(washing["ledger"]["oberflaechenspannung"], rel=1e-3)
    assert _json("monitor", "--dry-run")["status"] == "no drift"
    assert _json("status")["reports"] == []
    assert _json("monitor")["outcome"] == "no drift"
    checked = json.loads(CliRunner().invoke(main, ["check", "--json"]).stdout)
    assert {"subject", "grade", "words"} == set(checked[0])


@pytest.mark.usefixtures("production")
def test_a_dry_run_changes_nothing(engine: Engine, small_dataset: Path) -> None:
    sensors, laboratory = (str(small_dataset / name) for name in ("sensors.csv", "lab.csv"))
    before = _counts(engine)
    dry = _run("load", sensors, "--dry-run")
    assert "rows would be loaded" in dry.stderr and "nothing was loaded" in dry.stdout
    _run("load", laboratory, "--laboratory", "--dry-run")
    assert _counts(engine) == before
    _run("load", sensors)

    loaded = _counts(engine)
    assert "due" in _run("predict", "--dry-run").stdout
    assert _json("predict", "--dry-run")["due"] == loaded["online_data"]
    assert _counts(engine) == loaded
    _run("predict")
    assert _json("predict", "--dry-run")["kept"] == loaded["online_data"]
    rescored = _json("predict", "--dry-run", "--rescore")
    assert rescored["due"] == loaded["online_data"]

    predicted = _counts(engine)
    assert "no drift" in _run("monitor", "--dry-run").stdout
    assert _counts(engine) == predicted and not Path("artifacts/reports").exists()


@pytest.mark.usefixtures("production")
def test_what_goes_to_a_file_is_never_cut(
    engine: Engine, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _run("load", str(small_dataset / "sensors.csv"))
    _run("predict")
    assert _counts(engine)["archived_data"] > 0
    traced = _run("why", "2").stdout
    assert "anionic surfactant [mg/L]  nonionic surfactant [mg/L]" in traced
    assert "mean    std" in traced and "percentile75" in traced
    assert "verdict" in _run("predictions").stdout.splitlines()[2]


@pytest.mark.usefixtures("engine")
def test_a_terminal_shows_a_bar_and_whole_lines(small_dataset: Path) -> None:
    controlling, terminal = pty.openpty()
    command = [sys.executable, "-m", "src.cli", "load", str(small_dataset / "sensors.csv")]
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while part := os.read(controlling, 65536):
                shown += part
        except OSError:  # the other end is closed
            pass
        assert process.wait(DEADLINE) == 0
    os.close(controlling)
    words = shown.decode()
    assert "reading sensors.csv" in words and "loading" in words
    assert "rows loaded into online_data" in words
