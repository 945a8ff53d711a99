"""The files of tests/test_data are what the program makes today."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from src import simulator
from src.components.database.tables import tables
from src.soft_sensor import SoftSensor
from tests.conftest import TEST_DATA
from tests.test_data.make import EXPERIMENTS, SECONDS, SEED


def test_the_simulator_still_writes_the_committed_bytes(tmp_path: Path) -> None:
    simulator.simulate(tmp_path, EXPERIMENTS, SECONDS, SEED)
    for made, kept in (("sensors", "online"), ("lab", "offline")):
        expected = (TEST_DATA / f"synthetic_{kept}.csv").read_bytes()
        assert (tmp_path / f"{made}.csv").read_bytes() == expected


def test_the_example_of_the_ledger_has_the_ledger_s_columns(spec: SoftSensor) -> None:
    example = pd.read_csv(TEST_DATA / "synthetic_archived_data.csv", sep=spec.files.separator)
    assert list(example) == [column.name for column in tables(spec).archived.columns]
    assert example[spec.target_names].notna().all(axis=None)
