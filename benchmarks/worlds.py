"""Simulated worlds: a data set to train on, and fresh experiments with their truth."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from src import simulator
from src.components import ingestion, transformation
from src.soft_sensor import SoftSensor, load_soft_sensor

EXPERIMENTS, FRESH, SECONDS = 50, 200, 1500


def soft_sensor(params: Path = Path("params.yaml")) -> SoftSensor:
    """The soft sensor of this checkout, or of another params file."""
    return load_soft_sensor(params)


def data_set(folder: Path, sensor: SoftSensor) -> pd.DataFrame:
    """The training table of a data set folder."""
    laboratory = ingestion.read_laboratory(folder / sensor.files.laboratory, sensor)
    return transformation.training_table(
        ingestion.read_features(folder, sensor),
        transformation.laboratory_targets(laboratory, sensor),
        ingestion.read_groups(folder, sensor),
        sensor,
    )


def world(seed: int, sensor: SoftSensor) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What one seed of the simulator gives.

    Returns:
        The training table of the first experiments; and of fresh ones the features, laboratory
        values and, as `<target>_true`, what was simulated.
    """
    keys = sensor.columns.keys
    with tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch) / "old", Path(scratch) / "new"
        simulator.simulate(old, EXPERIMENTS, SECONDS, seed)
        simulator.simulate(new, FRESH, SECONDS, seed, first=EXPERIMENTS + 1)
        laboratory = ingestion.read_laboratory(new / sensor.files.laboratory, sensor)
        truth = pd.read_csv(new / "truth.csv", sep=sensor.files.separator)
        truth = truth[[*keys, *sensor.target_names]]
        fresh = (
            ingestion.read_features(new, sensor)
            .merge(transformation.laboratory_targets(laboratory, sensor), on=keys, how="left")
            .merge(truth, on=keys, suffixes=("", "_true"))
        )
        return data_set(old, sensor), fresh
