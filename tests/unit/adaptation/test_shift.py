"""How far a bias moves: not by chance, not by one bad day, but within a month of a change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.adaptation.shift import Shift

DAYS = 30


def _after(errors: list[float], values: int = 1) -> Shift:
    shift = Shift()
    for error in errors:
        shift = shift.after(error, values)
    return shift


def test_at_first_nothing_has_shifted() -> None:
    assert (Shift().mean, Shift().variance, Shift().unchanged) == (0, 0, 1)


def test_usual_errors_hardly_move_it() -> None:
    random = np.random.default_rng(1)
    means = [_after(random.normal(size=DAYS).tolist()).mean for _ in range(100)]
    # An error of variance 1 becomes one of 1 + mean square: not 1 % larger.
    assert np.mean(np.square(means)) < 0.02


@pytest.mark.parametrize("size", [-4.0, -2.0, 2.0, 4.0])
def test_ten_values_correct_a_change(size: float) -> None:
    random = np.random.default_rng(1)
    means = [_after((size + random.normal(size=10)).tolist()).mean for _ in range(50)]
    assert np.mean(means) == pytest.approx(size, abs=0.25)


@given(error=st.floats(-1e6, 1e6), values=st.integers(1, 10), before=st.integers(0, 30))
def test_one_day_moves_it_by_a_fifth_at_most_whatever_its_values(
    error: float, values: int, before: int
) -> None:
    quiet = _after([0.0] * before)
    assert abs(quiet.after(error, values).mean - quiet.mean) <= 0.2


@given(errors=st.lists(st.floats(-1e6, 1e6), max_size=20))
def test_chances_are_chances(errors: list[float]) -> None:
    shift = _after(errors)
    assert shift.chances.sum() == pytest.approx(1)
    assert (shift.chances >= 0).all()
    assert abs(shift.mean) <= 8 and 0 <= shift.variance < 70


@given(errors=st.lists(st.floats(-10, 10), max_size=20))
def test_errors_of_the_other_sign_shift_the_other_way(errors: list[float]) -> None:
    assert _after([-error for error in errors]).mean == pytest.approx(-_after(errors).mean)


def test_disagreement_makes_it_uncertain_at_once_and_agreement_certain_again() -> None:
    quiet = _after([0.0] * 10)
    surprised = quiet.after(4.0, 1).after(4.0, 1)
    assert surprised.variance > 0.5 > 100 * quiet.variance
    settled = surprised
    for _ in range(10):
        settled = settled.after(4.0, 1)
    assert settled.variance < 0.15


def test_a_change_that_is_undone_is_forgotten() -> None:
    assert abs(_after([3.0] * 10 + [0.0] * 10).mean) < 0.2
