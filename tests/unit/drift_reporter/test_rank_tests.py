"""A rank test with the right shift, error and p, whatever was measured and however grouped."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from src.components.drift_reporter import rank_tests
from src.components.drift_reporter.sample import Array, Sample, enough, normal_scores
from src.soft_sensor import SoftSensor
from tests.builders.months import YEAR, months_of, phases, sample_of
from tests.builders.plant import MONTH

Rows = list[tuple[int, int, int, bool]]

# Value, phase, experiment, and whether a row is of the month; the first two rows are of one phase.
ROWS = st.lists(
    st.tuples(st.integers(-20, 20), st.integers(0, 2), st.integers(0, 15), st.booleans()),
    min_size=2,
    max_size=60,
).map(lambda rows: [(0, 0, 90, False), (1, 0, 91, True), *rows])


def _table(rows: Rows) -> tuple[Array, Sample]:
    value, phase, experiment, month = (np.array(column) for column in zip(*rows))
    return value.astype(float), sample_of(phase, experiment, month.astype(float))


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_only_the_order_of_the_values_counts(rows: Rows) -> None:
    values, sample = _table(rows)
    assert rank_tests.shift_of(values**3 + values, sample) == rank_tests.shift_of(values, sample)


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_the_shift_of_negated_values_is_negated(rows: Rows) -> None:
    values, sample = _table(rows)
    shift, error = rank_tests.shift_of(values, sample)
    assert rank_tests.shift_of(-values, sample) == pytest.approx((-shift, error), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.randoms())
def test_neither_the_order_of_rows_nor_the_names_of_experiments_count(
    rows: Rows, random: Random
) -> None:
    values, sample = _table(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    mixed = sample.only(np.array(order))
    renamed = replace(mixed, experiment=1000 - mixed.experiment)
    shift, error = rank_tests.shift_of(values, sample)
    found = rank_tests.shift_of(values[order], renamed)
    assert found == pytest.approx((shift, error), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(ROWS, st.lists(st.integers(-100, 100), min_size=3, max_size=3))
def test_how_far_phases_lie_apart_does_not_count(rows: Rows, apart: list[int]) -> None:
    values, sample = _table(rows)
    moved = values + np.array(apart)[sample.phase]
    assert rank_tests.shift_of(moved, sample) == rank_tests.shift_of(values, sample)


def test_normal_scores_are_standard_normal_in_each_phase() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.standard_cauchy(999), random.exponential(1e6, 501)])
    phase = np.repeat([0, 1], [999, 501])
    scores = normal_scores(values, phase)
    for code in (0, 1):
        assert scores[phase == code].mean() == pytest.approx(0, abs=1e-9)
        assert scores[phase == code].std() == pytest.approx(1, abs=0.01)
        assert (np.argsort(scores[phase == code]) == np.argsort(values[phase == code])).all()


def test_a_constant_column_has_not_shifted() -> None:
    _, sample = months_of(1, 20, 0, 0)
    values = np.full(len(sample.month), 7.0)
    test = rank_tests.shift_tests({("ph", "level"): values}, sample, 8).iloc[0]
    assert (test["shift"], test["p"], test["error"]) == (0, 1, np.inf)


def test_the_shift_is_in_standard_deviations_within_a_phase() -> None:
    """The standard error is 0.02."""
    random = np.random.default_rng(1)
    month = np.repeat([0.0, 1.0], [40_000, 4_000])
    phase = random.integers(0, 2, len(month))
    values = 1000 * phase + 3 * (random.normal(size=len(month)) + 0.5 * month)
    rows = np.arange(len(month))
    shift, error = rank_tests.shift_of(values, sample_of(phase, rows, month))
    assert shift == pytest.approx(0.5, abs=0.07)
    assert error == pytest.approx(np.sqrt(1 / 40_000 + 1 / 4_000), rel=0.05)


def test_the_shift_is_the_same_in_a_month_of_another_mix() -> None:
    """95 % washing instead of half; the standard error is 0.01."""
    random = np.random.default_rng(1)
    month = np.repeat([0.0, 1.0], [20_000, 20_000])
    phase = (random.random(len(month)) < np.where(month == 1, 0.95, 0.5)).astype(int)
    values = 1000 * phase + random.normal(size=len(month)) + 0.5 * month
    rows = np.arange(len(month))
    shift, _ = rank_tests.shift_of(values, sample_of(phase, rows, month))
    assert shift == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("alike", [-0.7, 0.0, 0.9])
def test_the_error_is_that_of_permuting_whole_experiments(alike: float) -> None:
    """The spread over 400 permutations is known to 3.5 %; independent rows would miss by 30 %."""
    random, count = np.random.default_rng(2), 120
    own = random.multivariate_normal([0, 0], [[1, alike], [alike, 1]], count).ravel()
    experiment = np.repeat(np.arange(count), 2)
    sample = sample_of(np.tile([0, 1], count), experiment, np.zeros(2 * count))
    dealt = []
    for _ in range(400):
        month = np.isin(experiment, random.permutation(count)[:30]).astype(float)
        dealt.append(rank_tests.shift_of(own, replace(sample, month=month)))
    shifts, errors = np.array(dealt).T
    assert np.mean(errors) == pytest.approx(np.std(shifts), rel=0.1)
    assert np.mean(shifts) == pytest.approx(0, abs=0.03)


@pytest.mark.slow
def test_p_is_below_5_percent_in_5_percent_of_healthymonths_of() -> None:
    """Months of eight rows a phase, with wild tails.

    At a true 5 % of 400 months, fewer than 7 or more than 35 have a chance of 1 in 1,100.
    """
    found = 0
    for seed in range(400):
        values, sample = months_of(5, 8, 0, seed)
        columns = {("ph", "level"): np.sinh(3 * values)}
        found += int(rank_tests.shift_tests(columns, sample, 8)["p"].item() < 0.05)
    assert 7 <= found <= 35


def test_a_phase_without_rows_enough_on_both_sides_is_left_out() -> None:
    phase = np.repeat([0, 1, 0, 1], [30, 30, 8, 9])
    rows = np.arange(len(phase))
    sample = sample_of(phase, rows, np.repeat([0.0, 1.0], [60, 17]))
    values = np.random.default_rng(3).normal(size=len(phase))
    assert enough(values, sample, 8).all()
    values[60] = np.nan  # washing keeps seven rows of the month
    assert (enough(values, sample, 8) == (phase == 1)).all()
    values[40] = np.nan
    test = rank_tests.shift_tests({("ph", "level"): values}, sample, 8).iloc[0]
    assert (test["reference_rows"], test["rows"]) == (29, 9)
    both = np.isfinite(values) & (phase == 1)
    alone = rank_tests.shift_of(values[both], sample.only(both))
    assert (test["shift"], test["error"]) == alone


def test_a_column_without_rows_enough_has_no_test_and_the_others_have() -> None:
    values, sample = months_of(2, 10, 0, 4)
    columns = {("ph", "level"): values * np.nan, ("ph", "noise"): values}
    tests = rank_tests.shift_tests(columns, sample, 8)
    assert list(tests) == [*rank_tests.LABELS, *rank_tests.NUMBERS]
    assert tests["indicator"].tolist() == ["noise"]
    assert rank_tests.shift_tests({("ph", "level"): values * np.nan}, sample, 8).empty


def test_a_sample_tells_months_of_the_calendar_experiments_and_phases(spec: SoftSensor) -> None:
    reference = phases(spec, 300, 1)
    reference["last_timestamp"] = np.linspace(0, YEAR - 1, len(reference))
    month = phases(spec, 10, 2, start=YEAR + MONTH)
    sample = Sample.of(reference, month, spec)
    assert sample.month.tolist() == [0] * 600 + [1] * 20
    assert len(np.unique(sample.period[:600])) == 12
    assert len(np.unique(sample.experiment)) == 310
    assert (sample.phase == (sample.phase[0] + np.arange(620)) % 2).all()
    assert len(sample.only(sample.month == 1).period) == 20


def test_the_correction_is_that_of_statsmodels() -> None:
    random = np.random.default_rng(0)
    p = np.concatenate([random.uniform(size=20) ** 4, [0.0, 1.0, 0.01, 0.01, 0.01]])
    np.testing.assert_allclose(rank_tests.holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
    assert not rank_tests.holm([]).size


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_correction_keeps_the_order_and_only_raises(p: list[float]) -> None:
    corrected = rank_tests.holm(p)
    assert (corrected >= p).all() and corrected.max() <= 1
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
    assert corrected[order[0]] == pytest.approx(min(1, len(p) * min(p)))
