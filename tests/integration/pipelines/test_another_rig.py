"""A rig with other columns, keys, separator and grouping needs another params file and no code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from src.cli.commands import main
from src.components.database.connection import connect
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.conftest import ROOT
from tests.postgres import folder_for_postgres

CYCLES, SECONDS, BLOCK = 42, 12, 3


@pytest.fixture(name="rig")
def fixture_rig(home: Path) -> SoftSensor:
    """The hydraulic bench of examples/, with cycles named by text, and a third of the folds."""
    content = (ROOT / "examples" / "hydraulics" / "params.yaml").read_text(encoding="utf-8")
    for old, new in {
        "experiment_type: integer": "experiment_type: text",
        "training:\n": "training:\n  folds: 3\n",
    }.items():
        assert old in content
        content = content.replace(old, new)
    (home / "params.yaml").write_text(content, encoding="utf-8")
    return load_soft_sensor(home / "params.yaml")


@pytest.fixture(name="folder")
def fixture_folder(rig: SoftSensor, home: Path) -> Path:
    """Cycles in blocks of one condition, as the real files have them."""
    random = np.random.default_rng(0)
    folder = home / "data"
    folder.mkdir()
    names = [f"cycle {n}" for n in range(CYCLES)]
    block = np.arange(CYCLES) // BLOCK
    condition = random.uniform(0, 1, block.max() + 1)[block]
    pd.DataFrame({"experiment_id": names, "block": block}).to_csv(
        folder / "splits.csv", index=False
    )
    targets = {target.name: target.high * condition for target in rig.targets}
    pd.DataFrame({"experiment_id": names, "phase": "cycle", **targets}).to_csv(
        folder / rig.files.laboratory, index=False
    )
    rows = pd.DataFrame(
        {
            "experiment_id": np.repeat(names, SECONDS),
            "phase": "cycle",
            "timestamp": 1_500_000_000 + np.arange(CYCLES * SECONDS),
        }
    )
    signal = np.repeat(condition, SECONDS)
    for sensor in rig.sensors:
        rows[sensor.name] = sensor.high * (0.4 + 0.2 * signal) + random.normal(0, 0.1, len(rows))
    rows.to_csv(folder / rig.files.sensors, index=False)
    return folder


def test_the_whole_loop_runs_from_the_params_file_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [
        ["train", "--dataset", str(folder), "--trials", "1"],
        ["promote"],
        ["init"],
        ["load", str(folder / "online.csv")],
        ["predict"],
        ["monitor"],
        ["status"],
    ]
    with folder_for_postgres() as home:
        monkeypatch.setenv("IMPRESS_HOME", str(home))
        # Held open here, so that not every command starts the embedded server.
        with connect(Settings(), create=True) as engine:
            for command in commands:
                result = CliRunner().invoke(main, command)
                assert result.exit_code == 0, (command, result.output)
            with engine.connect() as connection:
                ledger = pd.read_sql(text("SELECT * FROM archived_data"), connection)
    truth = pd.read_csv(folder / "lab.csv")
    both = ledger.merge(truth, on=["experiment_id", "phase"], suffixes=("", "_true"))
    assert len(both) == CYCLES
    error = (both["pump_leakage"] - both["pump_leakage_true"]).abs().mean()
    assert error < (both["pump_leakage_true"] - both["pump_leakage_true"].median()).abs().mean() / 2
    assert "PS1_mean" in ledger.columns
    assert set(ledger["verdict"]) == {""}
