"""Simulated worlds: a data set to train on, and fresh experiments with their truth."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from src import simulator
from src.components.ingestion import data_set
from src.components.transformation.training_table import laboratory_targets, training_table
from src.soft_sensor import SoftSensor, load_soft_sensor

EXPERIMENTS, FRESH, SECONDS = 50, 200, 1500


def soft_sensor(params: Path = Path("params.yaml")) -> SoftSensor:
    """The soft sensor of this checkout, or of another params file."""
    return load_soft_sensor(params)


def training_data(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """The training table of a data set folder."""
    laboratory = data_set.read_laboratory(folder / spec.files.laboratory, spec)
    return training_table(
        data_set.read_features(folder, spec),
        laboratory_targets(laboratory, spec),
        data_set.read_groups(folder, spec),
        spec,
    )


def world(seed: int, spec: SoftSensor) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What one seed of the simulator gives.

    Returns:
        The training table of the first experiments; and of fresh ones the features, laboratory
        values and, as `<target>_true`, what was simulated.
    """
    keys = spec.columns.keys
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch) / "old", Path(scratch) / "new"
        simulator.simulate(old, EXPERIMENTS, SECONDS, seed)
        simulator.simulate(new, FRESH, SECONDS, seed, first=EXPERIMENTS + 1)
        laboratory = data_set.read_laboratory(new / spec.files.laboratory, spec)
        truth = pd.read_csv(new / "truth.csv", sep=spec.files.separator)
        truth = truth[[*keys, *spec.target_names]]
        fresh = (
            data_set.read_features(new, spec)
            .merge(laboratory_targets(laboratory, spec), on=keys, how="left")
            .merge(truth, on=keys, suffixes=("", "_true"))
        )
        return training_data(old, spec), fresh
