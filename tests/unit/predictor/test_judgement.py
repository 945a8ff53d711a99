"""What follows from a prediction and its interval."""

from __future__ import annotations

import math

import pandas as pd

from src.components.predictor.judgement import (
    Judgement,
    by_intervals,
    decide,
    moved_to_bounds,
    reject_reasons,
)
from src.soft_sensor import SoftSensor


def test_a_little_beyond_the_bound_is_the_bound_and_far_beyond_is_refused(
    spec: SoftSensor,
) -> None:
    values = pd.DataFrame({name: [40.0, 40.0, 40.0] for name in spec.target_names})
    tension = spec.targets[0]
    raw = pd.Series([73.5, 75.0, 19.0])
    values[tension.name] = moved_to_bounds(raw, tension)
    assert values[tension.name].tolist() == [72.8, 75.0, 20.0]
    around = {f"{name}_{end}": values[name] for name in values for end in ("lower", "upper")}
    reasons = reject_reasons(values.assign(**around), spec)
    assert reasons.tolist() == ["", "impossible_prediction", ""]


def _row(tension_at: float, anionic_at: float, width: float, spec: SoftSensor) -> dict[str, float]:
    values = dict(zip(spec.target_names, (tension_at, anionic_at, 2.0)))
    return {
        f"{name}_{end}": value + sign * width
        for name, value in values.items()
        for end, sign in (("lower", -1), ("upper", 1))
    }


def test_without_thresholds_a_verdict_needs_the_whole_interval(spec: SoftSensor) -> None:
    levels = ((70, 2), (70, 9.5), (70, 30), (40, 2))
    predicted = pd.DataFrame([_row(tension, anionic, 1, spec) for tension, anionic in levels])
    surest = pd.Series(0.0, predicted.index)  # which does not matter
    found = decide(surest, math.nan, math.nan, *by_intervals(predicted, spec))
    assert found.tolist() == [
        Judgement.CLEAN,
        Judgement.UNCERTAIN,
        Judgement.NOT_CLEAN,
        Judgement.NOT_CLEAN,
    ]


def test_with_thresholds_the_score_decides_and_not_the_interval() -> None:
    score = pd.Series([-0.1, -0.2, -1.0, -1.1, math.nan])
    kept, broken = pd.Series([False] * 5), pd.Series([True] * 5)
    assert decide(score, -0.2, -1.0, kept, broken).tolist() == [
        Judgement.CLEAN,
        Judgement.UNCERTAIN,
        Judgement.UNCERTAIN,
        Judgement.NOT_CLEAN,
        Judgement.UNCERTAIN,
    ]


def test_where_score_and_interval_contradict_each_other_nothing_is_decided() -> None:
    """One promise can be kept and the other cannot: one side by the score, one by the interval."""
    score, yes = pd.Series([-0.1]), pd.Series([True])
    assert decide(score, -0.2, math.nan, ~yes, yes).tolist() == [Judgement.UNCERTAIN]
    assert decide(score, -0.2, math.nan, ~yes, ~yes).tolist() == [Judgement.CLEAN]
