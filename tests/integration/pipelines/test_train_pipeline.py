"""The model is worth having: on experiments it has never seen, against the simulator's truth."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from src import simulator
from src.components.ingestion import data_set
from src.components.trainer import fitting
from src.components.transformation.training_table import laboratory_targets, training_table
from src.soft_sensor import SoftSensor

# What a short search finds; so the test is about the ensemble and not about luck in a search.
PARAMS = {
    "random_forest": {"n_estimators": 100, "max_features": 0.5, "min_samples_leaf": 1},
    "xgboost": {"n_estimators": 200, "max_depth": 3, "learning_rate": 0.05, "subsample": 0.8},
}
TRAINED, NEW = 50, 150


def test_new_experiments_are_predicted_twice_as_well_as_by_the_median(
    tmp_path: Path, spec: SoftSensor
) -> None:
    simulator.simulate(tmp_path / "old", TRAINED, seconds=150, seed=1)
    simulator.simulate(tmp_path / "new", NEW, seconds=150, seed=1, first=TRAINED + 1)
    laboratory = data_set.read_laboratory(tmp_path / "old" / "lab.csv", spec)
    table = training_table(
        data_set.read_features(tmp_path / "old", spec),
        laboratory_targets(laboratory, spec),
        None,
        spec,
    )
    bundle = fitting.assemble(table, PARAMS, spec)

    features = data_set.read_features(tmp_path / "new", spec)
    predicted = features[spec.columns.keys].join(bundle.predict(features, spec))
    truth = pd.read_csv(tmp_path / "new" / "truth.csv", sep=spec.files.separator)
    both = predicted.merge(truth, on=spec.columns.keys, suffixes=("", "_true"))
    assert len(both) > 1.9 * NEW
    for target in ("oberflaechenspannung", "anionischetenside"):
        error = (both[target] - both[f"{target}_true"]).abs().mean()
        median = (both[f"{target}_true"] - table[target].median()).abs().mean()
        assert error < median / 2, target
    bias = (both["oberflaechenspannung"] - both["oberflaechenspannung_true"]).mean()
    assert abs(bias) < 1
