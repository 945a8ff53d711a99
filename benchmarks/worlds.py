"""Simulated worlds: a data set to train on, and fresh experiments with their truth.

Two laundries, so that nothing is chosen to suit one of them: that of the simulator and
params.yaml; and another one with other recipes, less reliable dosing, dirtier textiles, noisier
sensors, and other limits of what counts as clean.
"""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

from src import simulator
from src.components.ingestion import data_set
from src.components.transformation.training_table import laboratory_targets, training_table
from src.simulator import Recipe, column
from src.soft_sensor import Limit, SoftSensor, load_soft_sensor

EXPERIMENTS, FRESH, SECONDS = 50, 200, 1500

LAUNDRY, OTHER_LAUNDRY = "laundry", "other laundry"
LAUNDRIES = (LAUNDRY, OTHER_LAUNDRY)

# Constants of the simulator that differ in the other laundry, see there for their units.
OTHER_CONSTANTS: dict[str, Any] = {
    "RECIPES": (
        Recipe("a", column(90, 60, 9, 20, 90), 0.0, 3.6, (190, 60), (2.2, 0.50)),
        Recipe("b", column(210, 150, 18, 30, 140), 3.5, 4.0, (160, 70), (1.5, 0.60)),
        Recipe("c", column(30, 70, 4, 8, 40), 1.5, 3.2, (230, 50), (2.8, 0.70)),
        Recipe("d", column(400, 30, 30, 55, 75), 0.0, 4.4, (140, 45), (1.2, 0.35)),
    ),
    "NOISE": column(0.07, 0.010, 0.012, 0.008, 0.015),
    "RELEASE": column(3.4, 1.6, 2.8, 2.6, 2.2),
    "SORPTION": column(0.06, 0.16, 0.06, 0.04, 0.12),
    "DOSING": column(0.15, 0.40, 0.20, 0.15, 0),
    "MIXING": column(0.25, 0.12, 0.12, 0.15, 0.45),
}
OTHER_LIMITS = (Limit(min=52), Limit(max=8), Limit(max=5))  # of the targets, in order


def soft_sensor(laundry: str = LAUNDRY, params: Path = Path("params.yaml")) -> SoftSensor:
    """The soft sensor of a laundry, or of another params file."""
    spec = load_soft_sensor(params)
    if laundry == LAUNDRY:
        return spec
    targets = zip(spec.targets, OTHER_LIMITS)
    others = tuple(target.model_copy(update={"limit": limit}) for target, limit in targets)
    return spec.model_copy(update={"targets": others})


def training_data(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """The training table of a data set folder."""
    laboratory = data_set.read_laboratory(folder / spec.files.laboratory, spec)
    return training_table(
        data_set.read_features(folder, spec),
        laboratory_targets(laboratory, spec),
        data_set.read_groups(folder, spec),
        spec,
    )


def world(
    seed: int,
    spec: SoftSensor,
    laundry: str = LAUNDRY,
    experiments: int = EXPERIMENTS,
    fresh: int = FRESH,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What one seed of the simulator gives.

    Returns:
        The training table of the first experiments; and of fresh ones the features, laboratory
        values and, as `<target>_true`, what was simulated.
    """
    keys = spec.columns.keys
    constants = OTHER_CONSTANTS if laundry == OTHER_LAUNDRY else {}
    changed = patch.multiple(simulator, **constants) if constants else nullcontext()
    with changed, tempfile.TemporaryDirectory() as scratch:
        old, new = Path(scratch) / "old", Path(scratch) / "new"
        simulator.simulate(old, experiments, SECONDS, seed)
        simulator.simulate(new, fresh, SECONDS, seed, first=experiments + 1)
        laboratory = data_set.read_laboratory(new / spec.files.laboratory, spec)
        truth = pd.read_csv(new / "truth.csv", sep=spec.files.separator)
        truth = truth[[*keys, *spec.target_names]]
        later = (
            data_set.read_features(new, spec)
            .merge(laboratory_targets(laboratory, spec), on=keys, how="left")
            .merge(truth, on=keys, suffixes=("", "_true"))
        )
        return training_data(old, spec), later
