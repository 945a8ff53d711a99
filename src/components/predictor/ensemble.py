"""The ensemble: members, each fitted once without every fold, and their combined prediction.

Targets are learned on a working scale on which errors are of one size: as they are, or as
log(1 + value) for concentrations that span orders of magnitude (`scale` in params.yaml).
"""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.components.transformation.features import model_inputs
from src.soft_sensor import SoftSensor, Target

Array = NDArray[np.float64]


class Regressor(Protocol):
    """A fitted regressor of one member, for one target and without one fold: arrays, no library."""

    def predict(self, inputs: NDArray[np.float32]) -> tuple[Array, Array]:
        """Predictions of (rows, inputs), and how uncertain they are: (rows,) each.

        The latter is a standard deviation on the working scale, NaN where a member has none.
        """


Regressors = dict[str, Regressor]  # target -> regressor of one member
Models = dict[str, Regressors]  # member -> its regressors, all fitted without the same fold


def to_scale(values: pd.Series, target: Target) -> pd.Series:
    """From the target's unit to its working scale."""
    return np.log1p(values) if target.scale == "log" else values


def from_scale(values: Array, target: Target) -> Array:
    """From the working scale to the target's unit."""
    with np.errstate(over="ignore"):  # the end of an interval may be infinite; bounds cut it
        return np.expm1(values) if target.scale == "log" else values


def in_units(values: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Rows by targets from the working scale to the targets' units."""
    columns = values.copy()
    for target in spec.targets:
        columns[target.name] = from_scale(values[target.name].to_numpy(), target)
    return columns


def number_of_inputs(spec: SoftSensor) -> int:
    """How many inputs a regressor may look at."""
    nothing = pd.DataFrame(columns=spec.features, dtype=float)
    return int(model_inputs(nothing, spec).shape[1])


def votes_and_spread(
    models: Models, features: pd.DataFrame, spec: SoftSensor
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Predictions of the members of one fold.

    Returns:
        The votes, member to rows by targets on the working scale; and the spread, rows by targets:
        how uncertain the members that know it are, on average: the standard deviation between the
        trees of each forest, and that of the Gaussian process.
    """
    inputs = model_inputs(features, spec)
    votes, spreads = {}, []
    for member, regressors in models.items():
        centres, deviations = {}, {}
        for target in spec.target_names:
            centres[target], deviations[target] = regressors[target].predict(inputs)
        votes[member] = pd.DataFrame(centres, features.index)
        spreads.append(pd.DataFrame(deviations, features.index).to_numpy())
    return votes, _mean_of_known(spreads, features.index, spec)


def _mean_of_known(spreads: list[Array], rows: pd.Index, spec: SoftSensor) -> pd.DataFrame:
    """Mean over the members that have a spread, rows by targets."""
    values = np.stack(spreads)
    known = ~np.isnan(values)
    totals = np.where(known, values, 0).sum(axis=0)
    return pd.DataFrame(totals / np.maximum(known.sum(axis=0), 1), rows, spec.target_names)


def combine(votes: dict[str, pd.DataFrame], weights: pd.DataFrame) -> pd.DataFrame:
    """Weighted mean of the members on the working scale, rows by targets.

    Args:
        weights: members by targets; each column sums to 1.
    """
    return total([vote * weights.loc[member] for member, vote in votes.items()])


def total(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Sum of tables of the same shape."""
    return functools.reduce(pd.DataFrame.add, tables)


def out_of_fold(
    folds: list[Models], features: pd.DataFrame, fold: pd.Series, spec: SoftSensor
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Votes and spread of training rows, each by the models that were fitted without its fold.

    Args:
        fold: position of each row's fold in `folds`.

    Returns:
        As `votes_and_spread`.
    """
    parts = [votes_and_spread(folds[k], rows, spec) for k, rows in features.groupby(fold)]
    votes = {}
    for member in folds[0]:
        votes[member] = pd.concat([vote[member] for vote, _ in parts]).loc[features.index]
    spread = pd.concat([spread for _, spread in parts]).loc[features.index]
    return votes, spread
