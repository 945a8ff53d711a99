"""A rank test with the right shift, error and p, whatever was measured and however grouped."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from src.components.drift_reporter import rank_tests
from src.components.drift_reporter.rank_tests import MONTHS, Array, Sample
from src.soft_sensor import SoftSensor
from tests.builders.months import YEAR, phases
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
    sample = Sample(phase, experiment, np.zeros(len(rows), dtype=int), month.astype(float))
    return value.astype(float), sample


def _months(count: int, per_month: int, wander: float, seed: int) -> tuple[Array, Sample]:
    """A reference of `count` months and one more, each off by a harmless offset of its own.

    Two phases of an experiment, of which half of the variance is the experiment's.
    """
    random = np.random.default_rng(seed)
    experiment = np.repeat(np.arange((count + 1) * per_month), 2)
    period = experiment // per_month
    own = random.normal(size=(2, len(experiment)))
    values = (own[0][experiment] + own[1]) / 2**0.5
    values += random.normal(0, wander, count + 1)[period]
    phase = np.arange(len(experiment)) % 2
    return values, Sample(phase, experiment, period, (period == count).astype(float))


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
    scores = rank_tests.normal_scores(values, phase)
    for code in (0, 1):
        assert scores[phase == code].mean() == pytest.approx(0, abs=1e-9)
        assert scores[phase == code].std() == pytest.approx(1, abs=0.01)
        assert (np.argsort(scores[phase == code]) == np.argsort(values[phase == code])).all()


def test_a_constant_column_has_not_shifted() -> None:
    _, sample = _months(1, 20, 0, 0)
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
    shift, error = rank_tests.shift_of(values, Sample(phase, rows, 0 * rows, month))
    assert shift == pytest.approx(0.5, abs=0.07)
    assert error == pytest.approx(np.sqrt(1 / 40_000 + 1 / 4_000), rel=0.05)


def test_the_shift_is_the_same_in_a_month_of_another_mix() -> None:
    """95 % washing instead of half; the standard error is 0.01."""
    random = np.random.default_rng(1)
    month = np.repeat([0.0, 1.0], [20_000, 20_000])
    phase = (random.random(len(month)) < np.where(month == 1, 0.95, 0.5)).astype(int)
    values = 1000 * phase + random.normal(size=len(month)) + 0.5 * month
    rows = np.arange(len(month))
    shift, _ = rank_tests.shift_of(values, Sample(phase, rows, 0 * rows, month))
    assert shift == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("alike", [-0.7, 0.0, 0.9])
def test_the_error_is_that_of_permuting_whole_experiments(alike: float) -> None:
    """The spread over 400 permutations is known to 3.5 %; independent rows would miss by 30 %."""
    random, count = np.random.default_rng(2), 120
    own = random.multivariate_normal([0, 0], [[1, alike], [alike, 1]], count).ravel()
    experiment = np.repeat(np.arange(count), 2)
    sample = Sample(np.tile([0, 1], count), experiment, 0 * experiment, np.zeros(2 * count))
    dealt = []
    for _ in range(400):
        month = np.isin(experiment, random.permutation(count)[:30]).astype(float)
        dealt.append(rank_tests.shift_of(own, replace(sample, month=month)))
    shifts, errors = np.array(dealt).T
    assert np.mean(errors) == pytest.approx(np.std(shifts), rel=0.1)
    assert np.mean(shifts) == pytest.approx(0, abs=0.03)


@pytest.mark.slow
def test_p_is_below_5_percent_in_5_percent_of_healthy_months() -> None:
    """Months of eight rows a phase, with wild tails.

    At a true 5 % of 400 months, fewer than 7 or more than 35 have a chance of 1 in 1,100.
    """
    found = 0
    for seed in range(400):
        values, sample = _months(5, 8, 0, seed)
        columns = {("ph", "level"): np.sinh(3 * values)}
        found += int(rank_tests.shift_tests(columns, sample, 8)["p"].item() < 0.05)
    assert 7 <= found <= 35


def test_a_phase_without_rows_enough_on_both_sides_is_left_out() -> None:
    phase = np.repeat([0, 1, 0, 1], [30, 30, 8, 9])
    rows = np.arange(len(phase))
    sample = Sample(phase, rows, 0 * rows, np.repeat([0.0, 1.0], [60, 17]))
    values = np.random.default_rng(3).normal(size=len(phase))
    assert rank_tests.enough(values, sample, 8).all()
    values[60] = np.nan  # washing keeps seven rows of the month
    assert (rank_tests.enough(values, sample, 8) == (phase == 1)).all()
    values[40] = np.nan
    test = rank_tests.shift_tests({("ph", "level"): values}, sample, 8).iloc[0]
    assert (test["reference_rows"], test["rows"]) == (29, 9)
    both = np.isfinite(values) & (phase == 1)
    alone = rank_tests.shift_of(values[both], sample.only(both))
    assert (test["shift"], test["error"]) == alone


def test_a_column_without_rows_enough_has_no_test_and_the_others_have() -> None:
    values, sample = _months(2, 10, 0, 4)
    columns = {("ph", "level"): values * np.nan, ("ph", "noise"): values}
    tests = rank_tests.shift_tests(columns, sample, 8)
    assert list(tests) == [*rank_tests.LABELS, *rank_tests.NUMBERS]
    assert tests["indicator"].tolist() == ["noise"]
    assert rank_tests.shift_tests({("ph", "level"): values * np.nan}, sample, 8).empty


def test_the_normal_variation_is_recovered() -> None:
    """Each of 12 sensors tells the variance to 40 %, together to 12 %: the wander to 6 %."""
    found = []
    for wander in (0.0, 0.3):
        columns, samples = {}, []
        for part in range(12):
            values, sample = _months(24, 40, wander, part)
            columns[f"sensor {part}", "level"] = values[sample.month == 0]
            samples.append(sample.only(sample.month == 0))
        found.append(rank_tests.normal_variation(columns, samples[0])["level"])
    # Scores have unit variance, the wander included.
    assert found[1] == pytest.approx(0.3 / np.sqrt(1 + 0.3**2) * np.sqrt(1 + 1 / 24), rel=0.25)
    assert found[0] < 0.1


def test_phases_of_one_experiment_that_are_alike_are_no_wander() -> None:
    """By rows, 12 experiments a month of equal phases would look like a wander of 0.2."""
    columns, samples = {}, []
    for part in range(30):
        values, sample = _months(36, 12, 0, part)
        columns[f"sensor {part}", "level"] = np.repeat(values[::2], 2)
        samples.append(sample)
    assert rank_tests.normal_variation(columns, samples[0])["level"] < 0.12


def test_a_column_that_is_known_in_few_months_does_not_tell_the_wander() -> None:
    values, sample = _months(12, 10, 0.5, 5)
    values[sample.period >= MONTHS - 1] = np.nan
    assert not rank_tests.normal_variation({("ph", "level"): values}, sample)


def _errors(count: int, per_month: int, wander: float) -> tuple[float, float]:
    """Error of a test, and what chance alone would give."""
    values, sample = _months(count, per_month, wander, 6)
    test = rank_tests.shift_tests({("ph", "level"): values}, sample, 8).iloc[0]
    return test["error"], rank_tests.shift_of(values, sample)[1]


def test_a_reference_of_six_months_widens_the_error_by_its_wander() -> None:
    error, chance = _errors(MONTHS, 100, 0.5)
    values, sample = _months(MONTHS, 100, 0.5, 6)
    reference = sample.month == 0
    wander = rank_tests.normal_variation(
        {("ph", "level"): values[reference]}, sample.only(reference)
    )
    assert error == pytest.approx(np.hypot(chance, wander["level"]))
    assert wander["level"] > 0.1


def test_a_reference_of_five_months_does_not() -> None:
    error, chance = _errors(MONTHS - 1, 120, 0.5)
    assert error == chance


def test_with_a_wander_known_from_six_months_p_is_twice_the_normal_one() -> None:
    values, sample = _months(MONTHS, 100, 0.5, 6)
    values += sample.month
    test = rank_tests.shift_tests({("ph", "level"): values}, sample, 8).iloc[0]
    assert test["statistic"] > 1.5
    assert test["p"] > 2 * (2 * norm.sf(test["statistic"]))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 3, MONTHS - 1]), st.integers(0, 1000))
def test_a_year_by_another_calendar_changes_nothing(months: int, seed: int) -> None:
    values, sample = _months(12, 20, 0.3, seed)
    renamed = replace(sample, period=(sample.period + months) % 13)
    columns = {("ph", "level"): values}
    tests = rank_tests.shift_tests(columns, sample, 8)
    pd.testing.assert_frame_equal(rank_tests.shift_tests(columns, renamed, 8), tests)


def _alarms(dated: bool) -> int:
    """Of 120 healthy months of a plant that wanders by 0.2 SD, those with p below 1 %."""
    count = 0
    for seed in range(120):
        values, sample = _months(12, 60, 0.2, seed)
        known = sample if dated else replace(sample, period=sample.period // 12)
        count += int(rank_tests.shift_tests({("ph", "level"): values}, known, 8)["p"].item() < 0.01)
    return count


@pytest.mark.slow
def test_a_harmless_wander_is_allowed_for_where_the_reference_tells_it() -> None:
    """One sensor of 12 months tells the wander roughly: some 3 % instead of 1 %.

    More than 11 of 120 then have a chance of 1 in 2,100.
    """
    assert _alarms(dated=True) <= 11
    assert _alarms(dated=False) >= 18


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
