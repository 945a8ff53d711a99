"""Regressors of the libraries as arrays: they predict the same, whatever is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from xgboost import XGBRegressor

from src.components.predictor.trees import Trees
from src.components.trainer import export
from src.errors import ExportFailed

SEEDS = st.integers(0, 2**32 - 1)


def table(seed: int, rows: int, missing: float) -> NDArray[np.float32]:
    """Inputs of which some are missing, some equal, and some far away."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, 4)).round(1) * 10.0 ** random.integers(-3, 4, 4)
    inputs[random.random(inputs.shape) < missing] = np.nan
    return inputs.astype(np.float32)


def fitted(regressor: Any, inputs: NDArray[np.float32], seed: int) -> Any:
    """A regressor of a target that depends on some of the inputs."""
    noise = np.random.default_rng(seed).normal(size=len(inputs))
    return regressor.fit(inputs, np.nan_to_num(inputs[:, 0] - inputs[:, 2]) + noise)


@settings(max_examples=25)
@given(seed=SEEDS, missing=st.sampled_from([0.0, 0.1, 0.6]), depth=st.sampled_from([1, 3, None]))
@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesRegressor])
def test_a_forest_predicts_the_same_as_arrays(
    kind: Any, seed: int, missing: float, depth: int | None
) -> None:
    inputs = table(seed, 40, missing)
    forest = fitted(kind(n_estimators=5, max_depth=depth, random_state=seed), inputs, seed)
    trees = export.forest(forest, inputs)
    asked = np.vstack([inputs, table(seed + 1, 40, 0.3)])
    prediction, spread = trees.predict(asked)
    by_tree = [tree.predict(asked, check_input=False) for tree in forest.estimators_]
    assert prediction.tolist() == np.mean(by_tree, axis=0).tolist()
    assert spread.tolist() == np.std(by_tree, axis=0).tolist()


@settings(max_examples=25)
@given(seed=SEEDS, missing=st.sampled_from([0.0, 0.1, 0.6]), depth=st.sampled_from([1, 3, 12]))
def test_boosted_trees_predict_the_same_as_arrays(seed: int, missing: float, depth: int) -> None:
    inputs = table(seed, 40, missing)
    regressor = XGBRegressor(n_estimators=30, max_depth=depth, n_jobs=1, random_state=seed % 1000)
    regressor = fitted(regressor, inputs, seed)
    trees = export.boosting(regressor, inputs)
    asked = np.vstack([inputs, table(seed + 1, 40, 0.3)])
    prediction, spread = trees.predict(asked)
    assert prediction.tolist() == regressor.predict(asked).astype(float).tolist()
    assert np.isnan(spread).all()


def test_the_number_of_rows_asked_for_at_once_changes_nothing() -> None:
    inputs = table(1, 5000, 0.1)
    trees = export.forest(
        fitted(RandomForestRegressor(20, random_state=1), inputs[:100], 1), inputs
    )
    together, _ = trees.predict(inputs)
    one_by_one = [trees.predict(inputs[row : row + 1])[0][0] for row in range(0, 5000, 500)]
    assert together[::500].tolist() == one_by_one
    assert len(trees.predict(inputs[:0])[0]) == 0


def test_arrays_that_predict_something_else_are_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if a new version of a library had changed what its thresholds mean."""
    inputs = table(3, 60, 0)
    forest = fitted(RandomForestRegressor(5, random_state=3), inputs, 3)
    monkeypatch.setattr(Trees, "predict", lambda trees, rows: (np.zeros(len(rows)), None))
    with pytest.raises(ExportFailed, match="other values than the library"):
        export.forest(forest, inputs)
