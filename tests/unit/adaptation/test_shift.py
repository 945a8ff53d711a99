"""How far a bias moves: not by chance, not by one bad day, but within a month of a change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.adaptation.shift import Days, Shift, changed, followed

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


@pytest.mark.parametrize(
    ("size", "days"), [(-4.0, 10), (-3.0, 10), (-2.0, 15), (2.0, 15), (3.0, 10), (4.0, 10)]
)
def test_ten_values_correct_a_change_and_more_a_smaller_one(size: float, days: int) -> None:
    random = np.random.default_rng(1)
    means = [_after((size + random.normal(size=days)).tolist()).mean for _ in range(50)]
    assert np.mean(means) == pytest.approx(size, abs=0.25)


@given(error=st.floats(-1e6, 1e6), values=st.integers(1, 10), before=st.integers(0, 30))
def test_one_day_moves_it_by_a_fifth_at_most_whatever_its_values(
    error: float, values: int, before: int
) -> None:
    quiet = _after([0.0] * before)
    assert abs(quiet.after(error, values).mean - quiet.mean) <= 0.2


@pytest.mark.parametrize("off", [-5.0, 5.0])
def test_one_bad_day_hardly_moves_it_after_a_usual_month(off: float) -> None:
    random = np.random.default_rng(1)
    moves = []
    for _ in range(200):
        errors = random.normal(size=DAYS)
        usual = _after(errors.tolist())
        moves.append(abs(usual.after(off + random.normal(), 1).mean - usual.mean))
    assert max(moves) < 0.2 and np.median(moves) < 0.02


def test_a_change_has_to_be_confirmed_by_a_second_day() -> None:
    once = _after([0.0] * 10 + [4.0])
    assert once.unchanged > 0.9
    again = once.after(4.0, 1).after(4.0, 1)
    assert again.mean > 5 * once.mean


def _days(errors: list[float], every: int = 1, first: int = 0) -> Days:
    dates = first + every * np.arange(len(errors), dtype=float)
    return Days(dates, np.array(errors), np.ones(len(errors), dtype=int), np.zeros(len(errors)))


SUDDEN = [0.0] * 10 + [4.0] * 10


def test_a_change_of_one_target_makes_one_of_another_likelier() -> None:
    other = _days([0.0] * 12 + [2.0] * 8)
    alone = followed({"nonionic": other})["nonionic"]
    beside_quiet = followed({"nonionic": other, "anionic": _days([0.0] * 20)})["nonionic"]
    beside_change = followed({"nonionic": other, "anionic": _days(SUDDEN)})["nonionic"]
    assert [each.mean for each in beside_quiet] == [each.mean for each in alone]
    assert beside_change[15].mean > alone[15].mean + 0.3


def test_a_target_that_has_not_changed_stays_as_it_was_beside_one_that_has() -> None:
    quiet = followed({"nonionic": _days([0.0] * 20), "anionic": _days(SUDDEN)})["nonionic"]
    assert max(abs(each.mean) for each in quiet) < 0.05
    assert quiet[-1].unchanged > 0.5


def test_what_others_show_counts_from_the_next_day_on() -> None:
    series = {"nonionic": _days([0.0] * 10 + [2.0]), "anionic": _days(SUDDEN, first=10)}
    after = followed(series)["nonionic"]
    assert after[-1].mean == followed({"nonionic": series["nonionic"]})["nonionic"][-1].mean


def test_changes_are_known_at_the_end_of_their_day() -> None:
    series = {"nonionic": _days([0.0] * 20), "anionic": _days(SUDDEN, every=2)}
    after = followed(series)
    chances = changed(after, series, np.array([-1.0, 0.0, 19.0, 38.0, 100.0]))
    assert chances[0] == 0 and chances[1] < 0.01 and chances[2] < 0.1
    assert chances[3] == chances[4] > 0.99


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
    assert surprised.variance > 0.25 > 20 * quiet.variance
    settled = surprised
    for _ in range(10):
        settled = settled.after(4.0, 1)
    assert settled.variance < 0.15


def test_a_change_that_is_undone_is_forgotten() -> None:
    assert abs(_after([3.0] * 10 + [0.0] * 10).mean) < 0.2
