"""Validation that cannot leak, and training that can be repeated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.components import trainer
from src.soft_sensor import SoftSensor

FOREST = {"n_estimators": 30}


@pytest.fixture(name="table", scope="module")
def fixture_table(sensor: SoftSensor) -> pd.DataFrame:
    """Experiments with a fingerprint in their features and targets that nothing else explains."""
    random = np.random.default_rng(1)
    numbers = np.repeat(np.arange(30), 4)
    table = pd.DataFrame({"experimentnummer": numbers, "waschen": np.tile([0, 1], 60)})
    fingerprint = random.normal(size=(30, len(sensor.features)))
    table[sensor.features] = fingerprint[numbers]
    unrelated = random.uniform(30, 70, 30)
    for target in sensor.target_names:
        table[target] = unrelated[numbers]
    return table.assign(group=numbers, holdout=False)


def test_groups_stay_whole_and_phases_in_proportion(
    table: pd.DataFrame, sensor: SoftSensor
) -> None:
    for train, validation in trainer.make_folds(table, sensor):
        groups = table["group"]
        assert not set(groups.iloc[train]) & set(groups.iloc[validation])
        assert table["waschen"].iloc[validation].mean() == pytest.approx(0.5, abs=0.1)


def test_rows_of_one_experiment_do_not_help_each_other(
    table: pd.DataFrame, sensor: SoftSensor
) -> None:
    """With a leak the fingerprint would give the target away and the error be near 0."""
    folds = trainer.make_folds(table, sensor)
    honest = trainer.out_of_fold("random_forest", FOREST, table, folds, sensor)
    assert trainer.relative_error(honest, table, sensor) > 0.8
    leaking = trainer.make_folds(table.assign(group=np.arange(len(table))), sensor)
    flattered = trainer.out_of_fold("random_forest", FOREST, table, leaking, sensor)
    assert trainer.relative_error(flattered, table, sensor) < 0.5


def test_a_phase_counts_for_the_targets_that_were_measured(
    table: pd.DataFrame, sensor: SoftSensor
) -> None:
    sparse = table.copy()
    sparse.loc[::2, "anionischetenside"] = np.nan
    bundle = trainer.assemble(sparse, {"random_forest": FOREST}, sensor)
    assert bundle.reference["anionischetenside"].notna().all()
    assert bundle.reference["anionischetenside_measured"].isna().sum() == 60
    tension = "oberflaechenspannung"
    full = trainer.fit_member("random_forest", FOREST, table, sensor)[tension]
    features = table[sensor.features].to_numpy()
    by_bundle = bundle.members["random_forest"][tension].predict(features)
    np.testing.assert_array_equal(by_bundle, full.predict(features))


def test_the_better_member_weighs_more(table: pd.DataFrame, sensor: SoftSensor) -> None:
    measured = table[sensor.target_names]
    weights = trainer.member_weights({"near": measured + 1, "far": measured + 3}, table, sensor)
    assert weights.to_dict("index")["near"] == pytest.approx(dict.fromkeys(measured, 0.75))
    assert weights.sum().tolist() == pytest.approx([1.0] * 3)


def test_training_twice_gives_the_same_model(table: pd.DataFrame, sensor: SoftSensor) -> None:
    few = table[table["experimentnummer"] < 12].reset_index(drop=True)
    bundles = [trainer.train(few, 2, sensor) for _ in range(2)]
    assert bundles[0][1] == bundles[1][1]
    pd.testing.assert_frame_equal(bundles[0][0].reference, bundles[1][0].reference)
