"""Prediction intervals by CV+, scaled with difficulty.

Each training row was predicted by models that had not seen its group. Its score is that error in
units of how much the trees disagree about it. A new row gets, for every training row of its phase,
what those models say of it plus and minus that score times its own disagreement; the interval goes
from one quantile of these to the other (CV+: Barber, Candes, Ramdas and Tibshirani, Annals of
Statistics 49, 2021, which promises a coverage of 1 - 2 alpha and usually gives 1 - alpha). The rows
of a group count as one, by weights (Lee, Barber and Willett, arXiv 2306.06342).
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from src.components.predictor.ensemble import Array


def spread_floors(spread: pd.DataFrame, phase: pd.Series) -> pd.DataFrame:
    """Least spread that counts, phases by targets: the median of the training rows.

    Without a floor, a row on which all trees happen to agree would claim to be certain.
    """
    return spread.groupby(phase).median().clip(lower=sys.float_info.epsilon)


def floored(spread: pd.DataFrame, floors: pd.DataFrame, phase: pd.Series) -> pd.DataFrame:
    """Root of the squares of spread and floor, rows by targets; NaN for a phase without floor."""
    least = floors.reindex(phase).set_axis(spread.index)[spread.columns]
    return (spread**2 + least**2) ** 0.5


def upper_bound(
    centres: Array, spreads: Array, scores: Array, fold: np.ndarray, weights: Array, coverage: float
) -> Array:
    """Upper end of the intervals of new rows on the working scale.

    Args:
        centres, spreads: (folds, new rows), what the models of each fold say.
        scores, fold, weights: (training rows,); the weights of one group sum to 1.

    Returns:
        (new rows,), infinite where the groups are too few for the coverage: fewer than 9 at 90 %.
    """
    needed = coverage * (weights.sum() + 1) - 1e-9
    if weights.sum() < needed:
        return np.full(centres.shape[1], np.inf)
    candidates = centres[fold] + scores[:, None] * spreads[fold]
    order = np.argsort(candidates, axis=0, kind="stable")
    enough = np.cumsum(weights[order], axis=0) >= needed
    chosen = order[enough.argmax(axis=0), np.arange(order.shape[1])]
    return np.asarray(candidates[chosen, np.arange(order.shape[1])])


def lower_bound(
    centres: Array, spreads: Array, scores: Array, fold: np.ndarray, weights: Array, coverage: float
) -> Array:
    """Lower end; see `upper_bound`."""
    return -upper_bound(-centres, spreads, scores, fold, weights, coverage)


def group_weights(groups: pd.Series) -> Array:
    """1 / (number of rows of the row's group): each group counts once."""
    return np.asarray(1 / groups.map(groups.value_counts()), dtype=float)
