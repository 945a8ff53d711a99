"""How many open verdicts a laboratory analysis of a phase could decide."""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd

from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import Correction
from src.components.predictor.ensemble import Array
from src.components.predictor.flags import has_flag, unreliable_codes
from src.components.predictor.judgement import Judgement, verdicts
from src.soft_sensor import SoftSensor

NEWEST = 5000  # uncertain phases that are compared; samples of older ones hardly exist
BLOCK = 500  # of them at a time
FARTHEST = 1e100  # standard deviations: no feature is so far off that its square is infinite

# Columns for each phase.
GAIN = "gain"  # open verdicts that an analysis concerns, each counted by how close it is
SIMILAR = "similar"  # other uncertain phases that are much like it
CHANCE = "chance"  # that it keeps all limits
NEAREST = "nearest"  # the threshold of that chance which is nearest, and its verdict
VERDICT = "verdict"


def verdict_gain(
    rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor, correction: Correction | None = None
) -> pd.DataFrame:
    """What an analysis of each phase could move.

    A verdict that is uncertain counts 1 if it is about to be decided and 0 if it is half-way
    between `clean` and `not clean`. The gain of a phase is the sum over itself and the phases that
    are as close to it as neighbours in the training are to each other.

    Args:
        rows: newest predictions: phase, features, flags and last_timestamp.
        correction: with which verdicts are made now.

    Returns:
        GAIN, SIMILAR, CHANCE, NEAREST and VERDICT, for the phases whose verdict is open; the flags
        of others leave no verdict, whatever the laboratory finds.
    """
    phase = rows[spec.columns.phase]
    judged = rows[risk.judged(phase, spec) & ~_unreliable(rows["flags"], spec)]
    if judged.empty:
        return pd.DataFrame(columns=[GAIN, SIMILAR, CHANCE, NEAREST, VERDICT], dtype=float)
    estimated = bundle.estimate(judged, spec, correction).assign(
        **{spec.columns.phase: phase[judged.index]}
    )
    verdict = verdicts(estimated, phase[judged.index], bundle.reference, spec)
    uncertain = judged[verdict == Judgement.UNCERTAIN].sort_values("last_timestamp").tail(NEWEST)
    near = _nearness(estimated.loc[uncertain.index], bundle.reference, spec)
    parts = [
        _with_neighbours(own, near.loc[own.index], value, bundle.reference, spec)
        for value, own in uncertain.groupby(spec.columns.phase)
    ]
    return pd.concat(parts) if parts else near.iloc[:0]


def _unreliable(flags: pd.Series, spec: SoftSensor) -> pd.Series:
    """Rows whose flags leave no verdict, bool."""
    return pd.concat([has_flag(flags, code) for code in unreliable_codes(spec)], axis=1).any(axis=1)


def _nearness(estimated: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """CHANCE, NEAREST and VERDICT of uncertain phases, and as GAIN how close they are to it."""
    law = risk.error_law(reference, spec)
    chance = np.exp(risk.scores(risk.log_chances(estimated, law, spec)))
    clean, not_clean = np.exp(risk.thresholds(risk.known_rows(reference, law, spec), spec))
    clean = 1.0 if math.isnan(clean) else clean
    not_clean = 0.0 if math.isnan(not_clean) else not_clean
    to_clean, to_not_clean = clean - chance, chance - not_clean
    cleaner = to_clean <= to_not_clean
    half_way = max((clean - not_clean) / 2, sys.float_info.epsilon)
    return pd.DataFrame(
        {
            GAIN: (1 - np.minimum(to_clean, to_not_clean) / half_way).clip(0, 1),
            CHANCE: chance,
            NEAREST: np.where(cleaner, clean, not_clean),
            VERDICT: np.where(cleaner, Judgement.CLEAN, Judgement.NOT_CLEAN),
        }
    )


def _with_neighbours(
    rows: pd.DataFrame, near: pd.DataFrame, phase: object, reference: pd.DataFrame, spec: SoftSensor
) -> pd.DataFrame:
    """Sum up GAIN over each phase and those much like it, and count the latter as SIMILAR."""
    trained = reference.loc[reference[spec.columns.phase] == phase, spec.features]
    deviation = trained.std()
    varying = deviation.index[deviation > 0]
    unit = deviation[varying]
    radius = _typical_distance((trained[varying] / unit).dropna().to_numpy())
    points = (rows[varying] / unit).clip(-FARTHEST, FARTHEST).to_numpy()
    gain = near[GAIN].to_numpy()
    total, similar = np.zeros((2, len(rows)))
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        alike = _distances(points[block], points) <= radius
        total[block] = alike @ gain
        similar[block] = alike.sum(axis=1) - 1
    return near.assign(**{GAIN: total, SIMILAR: similar})


def _distances(points: Array, others: Array) -> Array:
    """Euclidean distances, (points, others). The extra `predict` has no scipy."""
    squares = (points**2).sum(axis=1)[:, np.newaxis] + (others**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares - 2 * points @ others.T, 0)))


def _typical_distance(points: Array) -> float:
    """Median distance of training rows to their nearest neighbour; 0 with fewer than two."""
    if len(points) < 2:
        return 0.0
    points = points[-NEWEST:]
    nearest = []
    for start in range(0, len(points), BLOCK):
        distance = _distances(points[start : start + BLOCK], points)
        nearest.append(np.sort(distance, axis=1)[:, 1])
    return float(np.median(np.concatenate(nearest)))
