"""The ensemble: members, each fitted once without every fold, and what they say together.

Targets are learned on a working scale, where errors are of one size: as they are, or as
log(1 + value) for concentrations that span orders of magnitude (`scale` in params.yaml).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.components.transformation.features import model_inputs
from src.soft_sensor import SoftSensor, Target

Array = NDArray[np.float64]
Member = dict[str, Any]  # target -> fitted regressor
Models = dict[str, Member]  # member -> its regressors, all fitted without the same fold


def to_scale(values: pd.Series, target: Target) -> pd.Series:
    """From the target's unit to its working scale."""
    return np.log1p(values) if target.scale == "log" else values


def from_scale(values: Array, target: Target) -> Array:
    """From the working scale to the target's unit."""
    with np.errstate(over="ignore"):  # an interval may be endless; bounds cut it
        return np.expm1(values) if target.scale == "log" else values


def in_units(values: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Rows by targets from the working scale to the targets' units."""
    return values.assign(**{t.name: from_scale(values[t.name].to_numpy(), t) for t in spec.targets})


def ask(
    models: Models, features: pd.DataFrame, spec: SoftSensor
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """What the models of one fold say.

    Returns:
        The votes, member to rows by targets on the working scale; and the spread, rows by targets:
        the standard deviation between the trees of a forest, averaged over the forests.
    """
    matrix = model_inputs(features, spec)
    votes, spreads = {}, []
    for name, regressors in models.items():
        said, spread = {}, {}
        for target in spec.target_names:
            said[target], spread[target] = _answer(regressors[target], matrix)
        votes[name] = pd.DataFrame(said, features.index)
        spreads.append(pd.DataFrame(spread, features.index).to_numpy())
    forests = np.stack(spreads)
    known = ~np.isnan(forests)
    mean = np.where(known, forests, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return votes, pd.DataFrame(mean, features.index, spec.target_names)


def _answer(regressor: Any, matrix: NDArray[np.float32]) -> tuple[Array, Array]:
    """Prediction, and the standard deviation between trees: NaN where they build on each other."""
    if not hasattr(regressor, "estimators_"):
        said = regressor.predict(matrix).astype(float)
        return said, np.full_like(said, np.nan)
    trees = [tree.predict(matrix, check_input=False) for tree in regressor.estimators_]
    return np.mean(trees, axis=0), np.std(trees, axis=0)


def combine(votes: dict[str, pd.DataFrame], weights: pd.DataFrame) -> pd.DataFrame:
    """Weighted mean of the members on the working scale, rows by targets.

    Args:
        weights: members by targets; each column sums to 1.
    """
    return total([vote * weights.loc[name] for name, vote in votes.items()])


def total(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Sum of tables of the same shape."""
    return functools.reduce(pd.DataFrame.add, tables)


def unseen(
    folds: list[Models], features: pd.DataFrame, fold: pd.Series, spec: SoftSensor
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Votes and spread as of `ask`, each row by the models that were fitted without its fold.

    Args:
        fold: position of each row's fold in `folds`.
    """
    parts = [ask(folds[k], rows, spec) for k, rows in features.groupby(fold)]
    votes = {
        name: pd.concat([vote[name] for vote, _ in parts]).loc[features.index] for name in folds[0]
    }
    return votes, pd.concat([spread for _, spread in parts]).loc[features.index]
