"""Verdicts with a promise: which share of the judged phases may at most be judged wrongly.

A judged phase has one score, the logarithm of the chance that it keeps every limit, if the errors
of each target are logistic, with the mean and the deviation of the out-of-fold errors. A phase is
clean above one threshold of it and not clean below another one. The thresholds are chosen so that,
for experiments like those of the training, the expected share of phases that are called clean and
are not stays within `verdict.wrong_clean` of params.yaml, and likewise `verdict.wrong_not_clean`:
conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, arXiv 2208.02814). Only the
order of the scores counts for that, so the promise does not depend on whether the chances are
right.

All judged phases have the same thresholds: a promise needs about 1 / share groups with laboratory
values, and few rigs have as many for each phase alone.
"""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src.components.predictor.ensemble import Array, to_scale
from src.components.predictor.intervals import group_weights
from src.components.transformation.censoring import ABOVE, BELOW
from src.components.transformation.training_table import GROUP
from src.soft_sensor import Limit, SoftSensor, Target

# A phase that is rather not clean than clean is never called clean, nor the other way round.
EVEN = math.log(0.5)
# Standard deviation of the logistic distribution of scale 1.
LOGISTIC = math.pi / math.sqrt(3)
ROUNDING = 1e-9


# Columns of `known_rows`.
SCORE, CLEAN, NOT_CLEAN, WEIGHT = "score", "clean", "not_clean", "weight"


class ErrorLaw(NamedTuple):
    """Mean and standard deviation of `errors`: phases by limited targets each."""

    mean: pd.DataFrame
    deviation: pd.DataFrame


class Thresholds(NamedTuple):
    """Scores above which phases are clean, and below which they are not.

    Each is NaN where the groups are too few for its promise; then the intervals decide.
    """

    clean: float
    not_clean: float


def limited(spec: SoftSensor) -> list[tuple[Target, Limit]]:
    """The targets that have a limit, with it."""
    return [(target, target.limit) for target in spec.targets if target.limit]


def judged(phase: pd.Series, spec: SoftSensor) -> pd.Series:
    """Whether phases get a verdict, bool."""
    values = [each.value for each in spec.phases if each.judged]
    return phase.isin(values) & bool(limited(spec))


def known_rows(reference: pd.DataFrame, law: ErrorLaw, spec: SoftSensor) -> pd.DataFrame:
    """The judged training rows of which the laboratory has shown whether they are clean.

    Args:
        reference: see `Bundle.reference`.

    Returns:
        SCORE, CLEAN and NOT_CLEAN (bool), GROUP, and WEIGHT, which sums to 1 in each group.
    """
    rows = reference[judged(reference[spec.columns.phase], spec)]
    table = pd.DataFrame(
        {
            SCORE: scores(log_chances(rows, law, spec)),
            CLEAN: kept(rows, spec),
            NOT_CLEAN: broken(rows, spec),
            GROUP: rows[GROUP],
        }
    )
    known = table[(table[CLEAN] | table[NOT_CLEAN]) & table[SCORE].notna()]
    return known.assign(**{WEIGHT: group_weights(known[GROUP])})


def thresholds(known: pd.DataFrame, spec: SoftSensor) -> Thresholds:
    """The thresholds that keep both promises of `spec.verdict`.

    Args:
        known: see `known_rows`.
    """
    score, weight = known[SCORE].to_numpy(), known[WEIGHT].to_numpy()
    clean, not_clean = known[CLEAN].to_numpy(), known[NOT_CLEAN].to_numpy()
    upper = threshold(score, not_clean, weight, spec.verdict.wrong_clean)
    lower = -threshold(-score, clean, weight, spec.verdict.wrong_not_clean)
    return Thresholds(float(np.maximum(upper, EVEN)), float(np.minimum(lower, EVEN)))


def threshold(score: Array, wrong: NDArray[np.bool_], weight: Array, budget: float) -> float:
    """The least number above which so few scores are wrong that a new one hardly is.

    Conformal risk control with the loss of a group: the share of its rows that are wrong and above.
    For exchangeable groups the expected loss of a new one is at most the budget.

    Args:
        score: (rows,).
        wrong: whether a row would be judged wrongly if it were above, (rows,).
        weight: (rows,); those of one group sum to 1.

    Returns:
        -inf where all of them may be above; NaN with fewer groups than `groups_needed`.
    """
    allowed = budget * (weight.sum() + 1) - 1 + ROUNDING
    if allowed < 0:
        return math.nan
    order = np.argsort(-score[wrong], kind="stable")
    loss = np.cumsum(weight[wrong][order])
    too_many = np.flatnonzero(loss > allowed)
    return float(score[wrong][order][too_many[0]]) if len(too_many) else -math.inf


def groups_needed(budget: float) -> int:
    """How many groups with laboratory values a promise needs, see `threshold`."""
    return math.ceil(1 / budget - 1 - ROUNDING)


def scores(chances: pd.DataFrame) -> pd.Series:
    """Score of each row; NaN where a limited target has no known error in its phase.

    Args:
        chances: what `log_chances` gives.
    """
    return chances.sum(axis=1, skipna=False)


def log_chances(rows: pd.DataFrame, law: ErrorLaw, spec: SoftSensor) -> pd.DataFrame:
    """Logarithm of the chance that each limit is kept, rows by limited targets.

    Args:
        rows: phase, targets in their units and `Target.spread`.
    """
    phase = rows[spec.columns.phase]
    mean = law.mean.reindex(phase).to_numpy()
    deviation = law.deviation.reindex(phase).to_numpy()
    margin = margins(rows, spec)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        chances = -np.logaddexp(0, -LOGISTIC * (margin.to_numpy() - mean) / deviation)
    return pd.DataFrame(chances, margin.index, margin.columns)


def error_law(reference: pd.DataFrame, spec: SoftSensor) -> ErrorLaw:
    """How large the out-of-fold errors of the judged phases are; NaN where none is known.

    Args:
        reference: see `Bundle.reference`.
    """
    rows = reference[judged(reference[spec.columns.phase], spec)]
    by_phase = errors(rows, spec).groupby(rows[spec.columns.phase])
    return ErrorLaw(by_phase.mean(), by_phase.std().clip(lower=sys.float_info.epsilon))


def margins(rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """How far predictions are from their limits, in units of their spread: rows by limited targets.

    Positive where the limit is kept.

    Args:
        rows: targets in their units and `Target.spread`.
    """
    columns = {}
    for target, limit in limited(spec):
        bound = to_scale(pd.Series(limit.bound, index=rows.index), target)
        room = limit.side * (bound - to_scale(rows[target.name], target))
        columns[target.name] = room / rows[target.spread]
    return pd.DataFrame(columns, index=rows.index)


def errors(reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Out-of-fold errors towards the limit in units of the spread, rows by limited targets.

    A phase keeps its limit where the error is at most its margin. A laboratory value that is a
    limit of the assay counts as that limit.
    """
    columns = {}
    for target, limit in limited(spec):
        measured = to_scale(reference[target.measured], target)
        off = limit.side * (measured - to_scale(reference[target.name], target))
        columns[target.name] = off / reference[target.spread]
    return pd.DataFrame(columns, index=reference.index)


def kept(reference: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Whether the laboratory has shown that a row keeps every limit, bool."""
    shown = pd.Series(True, index=reference.index)
    for target, limit in limited(spec):
        within = limit.side * (limit.bound - reference[target.measured]) >= 0
        open_ended = reference[target.censored] == _farther(limit)  # `>5` may be 5000
        shown &= within & ~open_ended
    return shown


def broken(reference: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Whether the laboratory has shown that a row breaks a limit, bool."""
    shown = pd.Series(False, index=reference.index)
    for target, limit in limited(spec):
        beyond = limit.side * (reference[target.measured] - limit.bound)
        mark = reference[target.censored]
        # `<20` may be 1; `>10` is more than 10.
        shown |= (beyond > 0) & ((mark == "") | (mark == _farther(limit)))
        shown |= (beyond == 0) & (mark == _farther(limit))
    return shown


def _farther(limit: Limit) -> str:
    """The mark of a laboratory value that may be any distance beyond what is written."""
    return ABOVE if limit.side > 0 else BELOW
