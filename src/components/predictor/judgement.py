"""What follows from a prediction and its interval: a verdict, or the reason to reject it."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import pandas as pd

from src.components.predictor import risk
from src.components.predictor.reasons import Reason
from src.soft_sensor import Limit, SoftSensor, Target

OVERSHOOT = 0.02  # of a target's range: 1 mN/m, 20 mg/L


class Judgement(StrEnum):
    """What the column `verdict` says of a phase that is judged; it is empty for all others."""

    CLEAN = "clean"
    NOT_CLEAN = "not clean"
    UNCERTAIN = "uncertain: take a laboratory sample"

    @property
    def short(self) -> str:
        """The verdict without what to do about it."""
        return self.value.partition(":")[0]


def verdicts(
    predicted: pd.DataFrame, phase: pd.Series, reference: pd.DataFrame, spec: SoftSensor
) -> pd.Series:
    """Judge phases by the risk of a wrong verdict, see `risk`.

    Where the training rows are too few for a promise, by the intervals: clean only when every limit
    is kept by the whole interval.

    Args:
        predicted: targets, intervals and `Target.spread`.
        reference: see `Bundle.reference`.

    Returns:
        One verdict a row; empty for phases that params.yaml does not judge.
    """
    judged = risk.judged(phase, spec)
    verdict = pd.Series("", index=predicted.index, dtype=object)
    if not judged.any():
        return verdict
    rows = predicted.assign(**{spec.columns.phase: phase})[judged]
    law = risk.error_law(reference, spec)
    score = risk.scores(risk.log_chances(rows, law, spec))
    thresholds = risk.thresholds(risk.known_rows(reference, law, spec), spec)
    verdict[judged] = decide(score, *thresholds, *by_intervals(rows, spec))
    return verdict


def decide(
    score: pd.Series,
    clean_above: float | pd.Series,
    not_clean_below: float | pd.Series,
    kept: pd.Series,
    broken: pd.Series,
) -> pd.Series:
    """Verdicts from scores, or from intervals where a threshold is NaN.

    Args:
        clean_above, not_clean_below: see `risk.Thresholds`; one for all rows, or one a row.
        kept, broken: whether all intervals keep their limits, and whether one breaks it.
    """
    clean = (score > clean_above) | (kept & np.isnan(clean_above))
    not_clean = (score < not_clean_below) | (broken & np.isnan(not_clean_below))
    verdict = np.select(
        [clean & ~not_clean, not_clean & ~clean],
        [Judgement.CLEAN, Judgement.NOT_CLEAN],
        Judgement.UNCERTAIN,
    )
    return pd.Series(verdict, index=score.index, dtype=object)


def by_intervals(predicted: pd.DataFrame, spec: SoftSensor) -> tuple[pd.Series, pd.Series]:
    """Whether all intervals keep their limits, and whether one of them breaks its limit."""
    ends = [keep_and_break(predicted, target, limit) for target, limit in risk.limited(spec)]
    kept = pd.concat([keeps for keeps, _ in ends], axis=1).all(axis=1)
    return kept, pd.concat([breaks for _, breaks in ends], axis=1).any(axis=1)


def keep_and_break(
    predicted: pd.DataFrame, target: Target, limit: Limit
) -> tuple[pd.Series, pd.Series]:
    """Whether the whole interval of a target keeps its limit, and whether it breaks it."""
    lower, upper = predicted[target.lower], predicted[target.upper]
    if limit.side > 0:
        return upper <= limit.bound, lower > limit.bound
    return lower >= limit.bound, upper < limit.bound


def moved_to_bounds(values: pd.Series, target: Target) -> pd.Series:
    """Move what is slightly beyond the physically possible to the bound.

    What is further off stays, for `reject_reasons` to find: it is a defect, not a prediction.
    """
    within = values.clip(target.low, target.high)
    near = (values - within).abs() <= OVERSHOOT * (target.high - target.low)
    return within.where(near, values)


def reject_reasons(predicted: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Why a prediction must not be archived, empty where nothing speaks against it.

    Returns:
        A `Reason` or an empty string, one a row.
    """
    reason = pd.Series("", index=predicted.index, dtype=object)
    for target in spec.targets:
        interval = predicted[[target.lower, target.name, target.upper]]
        ordered = (interval.diff(axis=1).iloc[:, 1:] >= 0).all(axis=1)
        possible = ((interval >= target.low) & (interval <= target.high)).all(axis=1)
        finite = interval.astype(float).abs().lt(math.inf).all(axis=1)
        impossible = ~(ordered & possible) & (reason == "")
        reason = reason.mask(impossible, Reason.IMPOSSIBLE_PREDICTION)
        reason = reason.mask(~finite, Reason.NO_FINITE_PREDICTION)
    return reason
