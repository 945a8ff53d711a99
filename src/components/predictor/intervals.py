"""Prediction intervals by CV+, scaled with difficulty.

Each training row was predicted by models that had not seen its group. Its score is that error in
units of the disagreement between the trees. A new row gets a candidate from every training row of
its phase: the prediction of the models that were fitted without that row, plus and minus its score
times their disagreement about the new row. The interval reaches from one quantile of these
candidates to the other (CV+: Barber, Candes, Ramdas and Tibshirani, Annals of Statistics 49, 2021,
which guarantees a coverage of 1 - 2 alpha and usually reaches 1 - alpha). The rows of a group count
as one, by weights (Lee, Barber and Willett, arXiv 2306.06342).

Of some training rows only a limit is known, such as "below 5". Their score is that of the limit, so
an interval made from it covers every value between the prediction and the limit. What lies beyond
is not known: an interval that reaches the limit has no end on that side but that of the target's
range (see `beyond_limits`). Then its coverage holds for the true values, whatever they are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.components.predictor.ensemble import Array


@dataclass(frozen=True)
class Calibration:
    """The training rows of one phase from which the intervals of a target are made.

    Attributes:
        scores: out-of-fold errors in units of the spread, (rows,).
        fold: position of the fold that each row was left out of, (rows,).
        weights: (rows,); those of one group sum to 1.
        coverage: share of the new rows that an interval should hold.
        detection, range_end: median of the limits on the working scale below and above which the
            laboratory did not tell values apart; NaN where it did.
    """

    scores: Array
    fold: np.ndarray
    weights: Array
    coverage: float
    detection: float = np.nan
    range_end: float = np.nan


def spread_floors(spread: pd.DataFrame, phase: pd.Series) -> pd.DataFrame:
    """Least spread that counts, phases by targets: the median of the training rows.

    Without a floor, a row on which all trees happen to agree would claim to be certain.
    """
    return spread.groupby(phase).median().clip(lower=sys.float_info.epsilon)


def floored(spread: pd.DataFrame, floors: pd.DataFrame, phase: pd.Series) -> pd.DataFrame:
    """Root sum of squares of spread and floor, rows by targets; NaN for a phase without floor."""
    least = floors.reindex(phase).set_axis(spread.index)[spread.columns]
    return (spread**2 + least**2) ** 0.5


def upper_bound(centres: Array, spreads: Array, calibration: Calibration) -> Array:
    """Upper end of the intervals of new rows on the working scale.

    Args:
        centres, spreads: predictions of the models of each fold, (folds, new rows).

    Returns:
        (new rows,), infinite where the groups are too few for the coverage: fewer than 9 at 90 %.
    """
    fold, weights = calibration.fold, calibration.weights
    needed = calibration.coverage * (weights.sum() + 1) - 1e-9
    if weights.sum() < needed:
        return np.full(centres.shape[1], np.inf)
    candidates = centres[fold] + calibration.scores[:, None] * spreads[fold]
    order = np.argsort(candidates, axis=0, kind="stable")
    enough = np.cumsum(weights[order], axis=0) >= needed
    columns = np.arange(order.shape[1])
    chosen = order[enough.argmax(axis=0), columns]
    return np.asarray(candidates[chosen, columns])


def lower_bound(centres: Array, spreads: Array, calibration: Calibration) -> Array:
    """Lower end; see `upper_bound`."""
    return -upper_bound(-centres, spreads, calibration)


def score_quantile(calibration: Calibration) -> float:
    """The score that an error exceeds with a probability of 1 - coverage, at most.

    Infinite where the groups are too few for the coverage.
    """
    alone = replace(calibration, fold=np.zeros_like(calibration.fold, dtype=int))
    return float(upper_bound(np.zeros((1, 1)), np.ones((1, 1)), alone)[0])


def beyond_limits(lower: Array, upper: Array, calibration: Calibration) -> tuple[Array, Array]:
    """Ends of intervals, infinite where they reach a limit beyond which nothing was told apart."""
    return (
        np.where(lower <= calibration.detection, -np.inf, lower),
        np.where(upper >= calibration.range_end, np.inf, upper),
    )


def group_weights(groups: pd.Series) -> Array:
    """1 / (number of rows of the row's group): each group counts once."""
    return np.asarray(1 / groups.map(groups.value_counts()), dtype=float)
