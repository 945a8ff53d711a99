"""Intervals that mean what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.predictor import intervals
from src.soft_sensor import SoftSensor
from tests.builders.training import made_from, phase_table

SCORES = st.lists(st.floats(0, 1e6), min_size=1, max_size=200)


def _upper(scores: Sequence[float], weights: Sequence[float], coverage: float) -> float:
    """Upper end for one new row, of which one fold says 0 with spread 1."""
    one = np.zeros((1, 1))
    fold = np.zeros(len(scores), dtype=int)
    calibration = intervals.Calibration(np.array(scores), fold, np.array(weights), coverage)
    bound = intervals.upper_bound(one, one + 1, calibration)
    return float(bound[0])


@given(SCORES, st.floats(0.55, 0.99))
def test_the_end_is_the_rank_that_the_coverage_needs(scores: list[float], coverage: float) -> None:
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    expected = sorted(scores)[rank - 1] if rank <= len(scores) else math.inf
    assert _upper(scores, [1.0] * len(scores), coverage) == expected


def test_too_few_groups_promise_nothing() -> None:
    assert _upper([1.0] * 8, [1.0] * 8, 0.9) == math.inf
    assert _upper([1.0] * 9, [1.0] * 9, 0.9) == 1.0
    # 90 rows, but of 9 blocks of which each counts once
    assert _upper([1.0] * 90, [0.1] * 90, 0.9) == 1.0
    assert _upper([1.0] * 80, [0.1] * 80, 0.9) == math.inf


@given(SCORES, st.integers(1, 5))
def test_copies_of_a_row_are_no_more_evidence_than_one(scores: list[float], copies: int) -> None:
    many = [score for score in scores for _ in range(copies)]
    groups = pd.Series(np.repeat(np.arange(len(scores)), copies))
    weights = intervals.group_weights(groups)
    assert weights.sum() == pytest.approx(len(scores))
    assert _upper(many, weights.tolist(), 0.9) == _upper(scores, [1.0] * len(scores), 0.9)


@given(SCORES)
def test_the_lower_end_mirrors_the_upper_one(scores: list[float]) -> None:
    random = np.random.default_rng(len(scores))
    centres, spreads = random.normal(size=(3, 4)), random.uniform(0.1, 1, (3, 4))
    errors, fold = np.array(scores), random.integers(0, 3, len(scores))
    weights = np.ones(len(scores))
    calibration = intervals.Calibration(errors, fold, weights, 0.9)
    upper = intervals.upper_bound(-centres, spreads, calibration)
    lower = intervals.lower_bound(centres, spreads, calibration)
    np.testing.assert_array_equal(lower, -upper)


def test_a_row_on_which_all_trees_agree_is_not_certain() -> None:
    spread = pd.DataFrame({"y": [0.0, 1.0, 2.0, 3.0]})
    phase = pd.Series([0, 0, 0, 1])
    floors = intervals.spread_floors(spread, phase)
    assert floors["y"].tolist() == [1.0, 3.0]
    assert intervals.floored(spread, floors, phase)["y"].iloc[0] == 1.0


def _coverage(table: pd.DataFrame, fresh: pd.DataFrame, spec: SoftSensor) -> float:
    predicted = made_from(table, spec).estimate(fresh, spec)
    inside = [
        (predicted[f"{name}_lower"] <= fresh[name]) & (fresh[name] <= predicted[f"{name}_upper"])
        for name in spec.target_names
    ]
    return float(np.mean(inside))


def test_fresh_experiments_are_covered(spec: SoftSensor) -> None:
    known = phase_table(120, spec, seed=1, noise=0.1)
    fresh = phase_table(300, spec, seed=2, noise=0.1, first=1000)
    assert 0.86 < _coverage(known, fresh, spec) < 0.96


def test_a_new_block_is_covered_though_large_blocks_are_easy() -> None:
    """By rows, the few large ones would be the whole evidence."""
    random = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        sizes = np.where(np.arange(21) % 3 == 0, 50, 1)  # the last one is new
        random.shuffle(sizes)
        difficulty = np.where(sizes > 1, 0.1, 10.0) * random.uniform(0.5, 1, 21)
        groups = pd.Series(np.repeat(np.arange(20), sizes[:20]))
        scores = list(difficulty[groups] * random.uniform(0.9, 1, len(groups)))
        weights = intervals.group_weights(groups)
        new = difficulty[20] * random.uniform(0.9, 1)
        bounds = (_upper(scores, list(w), 0.9) for w in (weights, np.ones(len(groups))))
        covered.append([new <= bound for bound in bounds])
    grouped, alone = np.mean(covered, axis=0)
    assert grouped > 0.87
    assert alone < 0.6
