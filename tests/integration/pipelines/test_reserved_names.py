"""A rig may use every name that the program needs for itself but shows to no user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from src.cli.commands import main
from src.components.database.connection import connect
from src.settings import Settings
from tests.postgres import folder_for_postgres

EXPERIMENTS, SECONDS, MONTH = 40, 8, 12

PARAMS: dict[str, Any] = {
    "name": "names",
    "columns": {
        "experiment": "batch",
        "experiment_type": "text",
        "phase": "group",
        "timestamp": "state",
        "online": [
            *("batch", "group", "state", "share", "fold", "self", "t", "s", "a", "n_rows"),
            *("readings", "sensors", "holdout", "clock_ahead", "first_row", "last_row"),
            *("scored_from", "inbox", "ledger", "online", "due", "width", "why", "order", "month"),
        ],
    },
    "files": {"separator": ","},
    "phases": [
        {"name": "first", "value": "share", "label": "share"},
        {"name": "second", "value": "fold", "label": "fold", "judged": True},
    ],
    "laboratory": {"phase_column": "group"},
    "valid_rows": {"column": "n_rows", "min": 0},
    "sensors": [
        {"name": name, "title": name, "unit": "1", "low": 0, "high": 100}
        for name in ("share", "fold", "self", "t")
    ],
    "statistics": ["mean", "std", "median"],
    "targets": [
        {"name": name, "title": name, "unit": "1", "low": 0, "high": 100, "limit": {"max": 50}}
        for name in ("holdout", "self", "state")
    ],
    "training": {"folds": 3, "group": {"column": "fold", "file": "groups.csv"}},
    "prediction": {"settle_minutes": 0, "min_samples": 1, "retention_days": 0},
}


def _write(folder: Path, experiments: range, start: float) -> None:
    """Sensor rows, laboratory values and groups of experiments that follow each other."""
    random = np.random.default_rng(experiments.start)
    folder.mkdir()
    names = [f"batch {number}" for number in experiments]
    keys = pd.MultiIndex.from_product([names, ["share", "fold"]], names=["batch", "group"])
    phases = keys.to_frame(index=False)
    level = random.uniform(20, 80, len(phases))
    rows = phases.loc[phases.index.repeat(SECONDS)].reset_index(drop=True)
    rows["state"] = start + np.arange(len(rows))
    for sensor in PARAMS["sensors"]:
        rows[sensor["name"]] = np.repeat(level, SECONDS) + random.normal(0, 1, len(rows))
    for name in PARAMS["columns"]["online"]:
        if name not in rows:
            rows[name] = 1.0
    rows.to_csv(folder / "sensors.csv", index=False)
    targets = {name: level for name in ("holdout", "self", "state")}
    phases.assign(holdout=level, state=level).join(pd.DataFrame({"self": targets["self"]})).to_csv(
        folder / "lab.csv", index=False
    )
    pd.DataFrame({"batch": names, "fold": names}).to_csv(folder / "groups.csv", index=False)


def test_a_rig_whose_columns_have_the_names_of_internal_ones_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False), encoding="utf-8")
    data, month = home / "data", home / "month"
    _write(data, range(EXPERIMENTS), start=1.7e9)
    _write(month, range(EXPERIMENTS, EXPERIMENTS + MONTH), start=1.71e9)
    other = pd.read_csv(month / "sensors.csv").head(3).assign(group="")
    commands = [
        ["train", "--dataset", str(data), "--trials", "1"],
        ["promote"],
        ["init"],
        ["load", str(month / "sensors.csv")],
        ["predict"],
        ["load", "--laboratory", str(month / "lab.csv")],
        ["monitor"],
        ["status"],
        ["why", f"batch {EXPERIMENTS}"],
        ["next-sample", "--dataset", str(data)],
        ["rejected"],
        ["rejected", "replay"],
        ["predict", "--rescore"],
        ["check", "--dataset", str(data)],
    ]
    with folder_for_postgres() as folder:
        monkeypatch.setenv("IMPRESS_HOME", str(folder))
        with connect(Settings(), create=True) as engine:
            for command in commands:
                if command == ["predict"]:
                    other.to_sql("online_data", engine, if_exists="append", index=False)
                result = CliRunner().invoke(main, command)
                assert result.exit_code in ([0, 3] if "predict" in command else [0]), (
                    command,
                    result.output,
                )
            with engine.connect() as connection:
                ledger = pd.read_sql(text("SELECT * FROM archived_data"), connection)
            _collect(data, month)
    truth = pd.read_csv(month / "lab.csv")
    both = ledger.merge(truth, on=["batch", "group"], suffixes=("", "_true"))
    assert len(both) == 2 * MONTH
    for name in ("holdout", "self", "state"):
        assert (both[name] - both[f"{name}_true"]).abs().mean() < 10


def _collect(data: Path, month: Path) -> None:
    """Phases whose raw rows are gone become part of the data set."""
    laboratory = pd.concat([pd.read_csv(data / "lab.csv"), pd.read_csv(month / "lab.csv")])
    laboratory.to_csv(data / "lab.csv", index=False)
    result = CliRunner().invoke(main, ["collect", "--dataset", str(data)])
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(data / "archived.csv")) == 2 * MONTH
