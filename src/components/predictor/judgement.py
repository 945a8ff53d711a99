"""What follows from a prediction and its interval: a verdict, or the reason to reject it."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import pandas as pd

from src.components.predictor.reasons import Reason
from src.soft_sensor import SoftSensor, Target

OVERSHOOT = 0.02  # of a target's range: 1 mN/m, 20 mg/L


class Judgement(StrEnum):
    """What the column `verdict` says of a phase that is judged; it is empty for all others."""

    CLEAN = "clean"
    NOT_CLEAN = "not clean"
    UNCERTAIN = "uncertain: take a laboratory sample"


def verdicts(predicted: pd.DataFrame, phase: pd.Series, spec: SoftSensor) -> pd.Series:
    """Judge phases by their intervals: clean only when every limit is kept by the whole interval.

    Returns:
        One verdict a row; empty for phases that params.yaml does not judge.
    """
    limited = [target for target in spec.targets if target.limit]
    if not limited:
        return pd.Series("", index=predicted.index)
    kept = pd.concat([_keeps_limit(predicted, target) for target in limited], axis=1)
    broken = pd.concat([_breaks_limit(predicted, target) for target in limited], axis=1)
    verdict = np.select(
        [broken.any(axis=1), kept.all(axis=1)],
        [Judgement.NOT_CLEAN, Judgement.CLEAN],
        Judgement.UNCERTAIN,
    )
    judged = phase.isin([each.value for each in spec.phases if each.judged])
    return pd.Series(verdict, index=predicted.index, dtype=object).where(judged, "")


def _keeps_limit(predicted: pd.DataFrame, target: Target) -> pd.Series:
    assert target.limit is not None
    if target.limit.max is not None:
        return predicted[target.upper] <= target.limit.max
    return predicted[target.lower] >= target.limit.min


def _breaks_limit(predicted: pd.DataFrame, target: Target) -> pd.Series:
    assert target.limit is not None
    if target.limit.max is not None:
        return predicted[target.lower] > target.limit.max
    return predicted[target.upper] < target.limit.min


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
