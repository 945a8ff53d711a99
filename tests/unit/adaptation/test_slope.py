"""The slope of a bias: only after a change, and only as steep as the errors show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.adaptation.shift import Days
from src.components.adaptation.slope import FAR, STEEP, fitted
from src.components.predictor.ensemble import Array


def _days(errors: Array, predicted: Array) -> Days:
    count = len(errors)
    return Days(np.arange(count, dtype=float), errors, np.ones(count, dtype=int), predicted)


def _proportional(slope: float, count: int = 40) -> Days:
    """Errors that grow with the prediction, around a shift of 2."""
    random = np.random.default_rng(0)
    predicted = random.normal(5, 2, count)
    return _days(2 + slope * (predicted - 5) + random.normal(size=count), predicted)


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.5])
def test_errors_in_proportion_have_their_slope(slope: float) -> None:
    found = fitted(_proportional(slope), 2.0, np.ones(40))
    assert found.slope == pytest.approx(slope, abs=0.15)
    assert found.pivot == pytest.approx(5, abs=1)


def test_without_a_change_there_is_no_slope() -> None:
    assert fitted(_proportional(0.5), 2.0, np.zeros(40)).slope == 0
    unlikely = fitted(_proportional(0.5), 2.0, np.full(40, 0.01)).slope
    assert 0 < unlikely < 0.1


def test_days_before_the_change_do_not_count() -> None:
    after = _proportional(0.5)
    before = _proportional(-0.5)
    both = _days(
        np.concatenate([before.errors, after.errors]),
        np.concatenate([before.predicted, after.predicted]),
    )
    weights = np.repeat([0.0, 1.0], 40)
    assert fitted(both, 2.0, weights) == pytest.approx(fitted(after, 2.0, np.ones(40)))


@given(error=st.floats(-1e6, 1e6), place=st.integers(0, 39))
def test_one_day_hardly_turns_it(error: float, place: int) -> None:
    days = _proportional(0.5)
    usual = fitted(days, 2.0, np.ones(40)).slope
    errors = days.errors.copy()
    errors[place] = error
    off = fitted(_days(errors, days.predicted), 2.0, np.ones(40)).slope
    leverage = np.abs(days.predicted - days.predicted.mean()).max()
    spread = ((days.predicted - days.predicted.mean()) ** 2).sum() + 1 / STEEP**2
    assert abs(off - usual) <= 2 * FAR * leverage / spread + 1e-9


def test_few_days_are_not_enough() -> None:
    three = _days(np.array([0.0, 2.0, 4.0]), np.array([4.0, 5.0, 6.0]))
    assert abs(fitted(three, 2.0, np.ones(3)).slope) < 0.4
    assert fitted(_days(np.empty(0), np.empty(0)), 0.0, np.empty(0)).slope == 0
