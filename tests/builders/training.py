"""Training tables with a known answer, and bundles made from them in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from src.components.predictor.bundle import Bundle
from src.components.trainer import fitting
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

# Small members, which are fitted in a moment.
FOREST: dict[str, dict[str, Any]] = {"extra_trees": {"n_estimators": 5, "max_features": 1.0}}
MEMBERS: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 4, "max_depth": 4},
    **FOREST,
    "xgboost": {"n_estimators": 8, "max_depth": 2},
}


def phase_table(
    experiments: int, spec: SoftSensor, seed: int = 0, noise: float = 0.0, first: int = 0
) -> pd.DataFrame:
    """A training table of phases whose targets follow the mean conductivity and nothing else.

    Args:
        noise: standard deviation of the targets' own part, as share of their span.
        first: number of the first experiment.
    """
    random = np.random.default_rng(seed)
    rows = 2 * experiments
    table = pd.DataFrame(
        {"experimentnummer": first + np.arange(rows) // 2, "waschen": np.arange(rows) % 2}
    )
    table[spec.features] = random.normal(100, 10, (rows, len(spec.features)))
    strength = (table["leitfaehigkeit_mean"] - 70) / 60
    for target, (at_0, at_1) in {
        "oberflaechenspannung": (72, 37),
        "anionischetenside": (0, 300),
        "nichtionischentenside": (0, 100),
    }.items():
        own = noise * random.normal(size=rows)
        table[target] = at_0 + (at_1 - at_0) * (strength + own).clip(0, 1)
    table[[f"{sensor.name}_out_of_bounds" for sensor in spec.sensors]] = 0
    table = table.assign(n_samples=1000, first_timestamp=0.0, last_timestamp=1500.0)
    return table.assign(**{GROUP: table["experimentnummer"]})


def shuffled(table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """The same table with the labels dealt out anew among the phases of a kind."""
    random = np.random.default_rng(1)
    dealt = table.copy()
    for value in table["waschen"].unique():
        rows = np.flatnonzero(table["waschen"] == value)
        dealt.loc[rows, spec.target_names] = table.loc[
            random.permutation(rows), spec.target_names
        ].to_numpy()
    return dealt


def made_from(
    table: pd.DataFrame, spec: SoftSensor, params: dict[str, dict[str, Any]] | None = None
) -> Bundle:
    """A bundle as a training run makes it, but without a search and of small members."""
    bundle = fitting.assemble(table, params or FOREST, spec)
    return bundle.with_origin(
        experiments=sorted(table["experimentnummer"].unique().tolist()),
        trained_at="2026-02-03T04:05:06+00:00",
        data_version="d" * 32,
        code_version="c" * 40,
        libraries={"scikit-learn": "1"},
    )
