"""The state of adaptation: from the errors known at a moment, and from nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components.adaptation.replay import (
    LEVELS,
    SHIFT,
    UNCHANGED,
    WIDENING,
    State,
    UsualErrors,
    errors,
    replay,
    usual_errors,
)
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import FROM, TO, VALUES
from src.components.predictor.ensemble import from_scale
from src.soft_sensor import SoftSensor
from tests.builders.laboratory import START, known_errors, moment
from tests.builders.training import made_from, phase_table


def _same(state: State, other: State) -> None:
    pd.testing.assert_frame_equal(state.levels, other.levels, check_exact=True)
    pd.testing.assert_frame_equal(state.steps, other.steps, check_exact=True)
    pd.testing.assert_frame_equal(state.evidence, other.evidence, check_exact=True)


def test_without_values_nothing_is_corrected(usual: UsualErrors, spec: SoftSensor) -> None:
    nothing = known_errors(1, usual, spec).head(0)
    state = replay(nothing, usual, spec, moment(0))
    correction = state.correction(spec)
    assert (correction.bias == 0).all(axis=None) and (correction.widening == 1).all(axis=None)
    assert correction.evidence[VALUES].tolist() == [0, 0]
    assert state.steps.empty


def test_a_change_is_corrected_on_the_working_scale(usual: UsualErrors, spec: SoftSensor) -> None:
    state = replay(known_errors(20, usual, spec, shift=3.0), usual, spec, moment(20))
    bias = state.correction(spec).bias
    for (phase, target), expected in usual.items():
        assert bias.loc[phase, target] == pytest.approx(3 * expected.deviation, rel=0.25)
    assert (state.levels[UNCHANGED] < 0.01).all()
    evidence = state.correction(spec).evidence
    assert evidence[VALUES].tolist() == [20, 20]
    assert (evidence[FROM] == moment(0)).all() and (evidence[TO] == moment(19)).all()


@settings(deadline=None, max_examples=25)
@given(order=st.permutations(range(24)), shift=st.sampled_from([0.0, 3.0]))
def test_the_order_of_arrival_does_not_matter(
    order: list[int], shift: float, usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(12, usual, spec, shift)
    shuffled = known.iloc[order].reset_index(drop=True)
    _same(replay(known, usual, spec, moment(12)), replay(shuffled, usual, spec, moment(12)))


def test_values_of_the_future_do_not_count(usual: UsualErrors, spec: SoftSensor) -> None:
    known = known_errors(20, usual, spec, shift=3.0)
    early = known[known["last_timestamp"] <= START + 9 * 86_400]
    _same(replay(known, usual, spec, moment(9.5)), replay(early, usual, spec, moment(9.5)))


def test_after_a_year_without_values_the_model_is_alone(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(20, usual, spec, shift=3.0)
    assert (replay(known, usual, spec, moment(364)).levels[SHIFT].abs() > 1).all()
    later = replay(known, usual, spec, moment(400))
    assert (later.levels[SHIFT] == 0).all() and (later.levels[WIDENING] == 1).all()


def test_a_phase_that_ended_at_no_known_time_does_not_count(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(10, usual, spec)
    stray = known_errors(10, usual, spec, shift=5.0).assign(last_timestamp=np.nan)
    both = pd.concat([known, stray], ignore_index=True)
    _same(replay(both, usual, spec, moment(10)), replay(known, usual, spec, moment(10)))


def test_a_phase_of_no_name_does_not_count(usual: UsualErrors, spec: SoftSensor) -> None:
    known = known_errors(10, usual, spec)
    stray = known_errors(10, usual, spec, shift=5.0).assign(**{spec.columns.phase: 7})
    both = pd.concat([known, stray], ignore_index=True)
    _same(replay(both, usual, spec, moment(10)), replay(known, usual, spec, moment(10)))


def test_one_bad_day_moves_nothing_and_one_bad_value_neither(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(20, usual, spec)
    before = replay(known, usual, spec, moment(20)).levels
    for day in (10, 19):  # in the middle, and the last one
        off = known.copy()
        own = off[spec.columns.experiment] == 1000 + day
        for (phase, target), expected in usual.items():
            rows = own & (off[spec.columns.phase] == phase)
            off.loc[rows, target] += 5 * expected.deviation
        after = replay(off, usual, spec, moment(20)).levels
        assert ((after[SHIFT] - before[SHIFT]).abs() <= 0.2).all()


def test_intervals_widen_at_once_and_narrow_when_the_laboratory_agrees(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(10, usual, spec)
    quiet = replay(known, usual, spec, moment(9)).levels[WIDENING]
    change = known_errors(40, usual, spec, shift=3.0, seed=1)
    change["last_timestamp"] += 10 * 86_400
    change[spec.columns.experiment] += 10
    both = pd.concat([known, change], ignore_index=True)
    surprised = replay(both, usual, spec, moment(12.5)).levels[WIDENING]
    assert (surprised > 1.2 * quiet).all()
    settled = replay(both, usual, spec, moment(49)).levels[WIDENING]
    assert (settled < surprised).all()


def test_a_bias_grows_with_the_prediction_where_the_errors_do(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(40, usual, spec, shift=3.0)
    target, phase = spec.targets[1], spec.phases[0]
    expected = usual[phase.value, target.name]
    middle = (expected.low + expected.high) / 2
    own = known[spec.columns.phase] == phase.value
    known.loc[own, target.name] += 0.5 * (known.loc[own, target.alone] - middle)
    correction = replay(known, usual, spec, moment(40)).correction(spec)
    ends = from_scale(np.array([expected.low, middle, expected.high]), target)
    alone = pd.DataFrame({name: ends for name in spec.target_names})
    bias = correction.bias_of(alone, pd.Series([phase.value] * 3), spec)[target.name]
    assert bias[0] < bias[1] < bias[2]
    assert bias[1] == pytest.approx(3 * expected.deviation, rel=0.35)
    beyond = alone.assign(**{target.name: from_scale(ends * 2, target)})
    far = correction.bias_of(beyond, pd.Series([phase.value] * 3), spec)[target.name]
    assert far[2] == pytest.approx(bias[2])


def test_errors_that_are_only_more_scattered_widen_intervals(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    known = known_errors(40, usual, spec)
    scattered = known.copy()
    scattered[spec.target_names] *= 2
    wide = replay(scattered, usual, spec, moment(40)).levels[WIDENING]
    assert (wide > replay(known, usual, spec, moment(40)).levels[WIDENING]).all()


def test_a_target_with_too_few_errors_to_judge_by_stays_as_it_is(
    bundle: Bundle, usual: UsualErrors, spec: SoftSensor
) -> None:
    target = spec.target_names[0]
    reference = bundle.reference.copy()
    reference.loc[4:, spec.targets[0].measured] = np.nan
    few = usual_errors(Bundle(**{**vars(bundle), "reference": reference}), spec)
    levels = replay(known_errors(20, usual, spec, shift=3.0), few, spec, moment(20)).levels
    own = levels["target"] == target
    assert (levels.loc[own, [SHIFT, VALUES]] == 0).all(axis=None)
    assert (levels.loc[~own, SHIFT] > 1).all()
    assert set(levels) == set(LEVELS)


def test_a_value_that_is_a_limit_says_nothing_to_a_prediction_beyond_it(spec: SoftSensor) -> None:
    target = spec.targets[1]
    predicted = pd.DataFrame({name: [1.0, 9.0] for name in spec.target_names})
    measured = pd.DataFrame()
    for each in spec.targets:
        measured[each.measured], measured[each.censored] = [5.0, 5.0], "<"
    off = errors(predicted, measured, spec)[target.name]
    assert off.tolist() == [0.0, pytest.approx(np.log1p(5) - np.log1p(9))]


def test_corrected_predictions_stay_within_the_range_of_their_target(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    bundle = made_from(phase_table(60, spec, noise=0.1), spec)
    table = phase_table(20, spec, seed=1)
    for shift in (-8.0, 8.0):
        known = known_errors(30, usual, spec, shift=shift)
        correction = replay(known, usual, spec, moment(30)).correction(spec)
        predicted = bundle.predict(table, spec, correction)
        for target in spec.targets:
            ends = predicted[[target.lower, target.name, target.upper]]
            assert ((ends >= target.low) & (ends <= target.high)).all(axis=None)
            assert (ends.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
