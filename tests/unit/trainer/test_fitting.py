"""Validation that cannot leak, and training that can be repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import FOLD, Bundle
from src.components.predictor.ensemble import to_scale
from src.components.trainer import fitting
from src.components.trainer.evaluation import metrics, relative_error, typical_errors
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, MEMBERS, phase_table, shuffled


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """Experiments with a fingerprint in their features and targets that nothing else explains."""
    random = np.random.default_rng(1)
    numbers = np.repeat(np.arange(30), 4)
    table = pd.DataFrame({"experimentnummer": numbers, "waschen": np.tile([0, 1], 60)})
    fingerprint = random.normal(size=(30, len(spec.features)))
    table[spec.features] = fingerprint[numbers]
    unrelated = random.uniform(30, 70, 30)
    for target in spec.target_names:
        table[target] = unrelated[numbers]
    table[[sensor.out_of_bounds for sensor in spec.sensors]] = 0
    columns: dict[str, Any] = {GROUP: numbers, "last_timestamp": 0.0}
    return table.assign(**columns)


def _error(bundle: Bundle, spec: SoftSensor) -> float:
    """Relative error of the out-of-fold predictions."""
    labels = bundle.labels(spec)
    predicted = bundle.reference[spec.target_names]
    return relative_error(predicted, labels, typical_errors(labels, spec), spec)


def test_groups_stay_whole_and_phases_in_proportion(table: pd.DataFrame, spec: SoftSensor) -> None:
    for train, validation in fitting.make_folds(table, spec):
        groups = table[GROUP]
        assert not set(groups.iloc[train]) & set(groups.iloc[validation])
        assert table["waschen"].iloc[validation].mean() == pytest.approx(0.5, abs=0.1)


def test_rows_of_one_experiment_do_not_help_each_other(
    table: pd.DataFrame, spec: SoftSensor
) -> None:
    """With a leak the fingerprint would give the target away and the error be near 0."""
    assert _error(fitting.assemble(table, FOREST, spec), spec) > 0.8
    leaking = table.assign(**{GROUP: np.arange(len(table))})
    assert _error(fitting.assemble(leaking, FOREST, spec), spec) < 0.3


def test_shuffled_labels_leave_nothing_to_learn(spec: SoftSensor) -> None:
    honest = phase_table(40, spec)
    assert _error(fitting.assemble(honest, FOREST, spec), spec) < 0.7
    nonsense = shuffled(honest, spec)
    assert _error(fitting.assemble(nonsense, FOREST, spec), spec) > 0.9


def test_the_labels_of_a_group_have_no_part_in_its_own_predictions(spec: SoftSensor) -> None:
    table = phase_table(30, spec)
    changed = table.copy()
    own = table[GROUP] == 7
    changed.loc[own, spec.target_names] = 25.0
    before, after = (fitting.assemble(part, FOREST, spec).reference for part in (table, changed))
    same = before.loc[own, spec.target_names]
    pd.testing.assert_frame_equal(after.loc[own, spec.target_names], same)
    others = ~own & (before[FOLD] != before.loc[own, FOLD].iloc[0])
    moved = before.loc[others, spec.target_names] - after.loc[others, spec.target_names]
    assert (moved.abs().max() > 0).all()


def test_a_phase_counts_for_the_targets_that_were_measured(
    table: pd.DataFrame, spec: SoftSensor
) -> None:
    sparse = table.copy()
    sparse.loc[::2, "anionischetenside"] = np.nan
    bundle = fitting.assemble(sparse, FOREST, spec)
    assert bundle.reference["anionischetenside"].notna().all()
    assert bundle.reference["anionischetenside_measured"].isna().sum() == 60
    whole = fitting.assemble(table, FOREST, spec)
    tension = "oberflaechenspannung"
    pd.testing.assert_series_equal(bundle.reference[tension], whole.reference[tension])


def test_the_better_member_weighs_more(spec: SoftSensor) -> None:
    table = phase_table(40, spec)
    on_scale = pd.DataFrame({t.name: to_scale(table[t.name], t) for t in spec.targets})
    votes = {"near": on_scale + 0.1, "far": on_scale + 3}
    weights = fitting.member_weights(votes, table, spec)
    assert weights.T["near"].tolist() == [1.0, 1.0, 1.0]
    both = fitting.member_weights({"low": on_scale - 0.3, "high": on_scale + 0.1}, table, spec)
    assert both.sum().tolist() == pytest.approx([1.0] * 3)
    assert both.loc["high", "oberflaechenspannung"] in (0.7, 0.8)


@pytest.mark.slow
def test_training_twice_gives_the_same_model_and_figures(spec: SoftSensor) -> None:
    table = phase_table(20, spec, noise=0.1)
    bundles = [fitting.train(table, 2, fitting.DEFAULTS, spec) for _ in range(2)]
    assert bundles[0].origin == bundles[1].origin
    pd.testing.assert_frame_equal(bundles[0].reference, bundles[1].reference, check_exact=True)
    first, second = (bundle.estimate(table, spec) for bundle in bundles)
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    before, after = (metrics(predicted, table, spec) for predicted in (first, second))
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_training_without_a_search_keeps_the_hyperparameters(spec: SoftSensor) -> None:
    table = phase_table(20, spec, noise=0.1)
    assert fitting.train(table, 0, MEMBERS, spec).origin.params == MEMBERS
