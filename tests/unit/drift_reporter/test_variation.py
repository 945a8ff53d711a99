"""How much healthy months differ: by months, by slow movements, and not by a fault of this one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import norm

from src.components.drift_reporter import rank_tests, variation
from src.components.drift_reporter.sample import Array, Columns, Sample, normal_scores
from src.components.drift_reporter.variation import MONTHS, Excess
from tests.builders.months import months_of, sample_of

PH = ("ph", "level")


def _scores(values: Array, sample: Sample) -> Array:
    return normal_scores(values, sample.phase)


def _excess(values: Array, sample: Sample) -> Excess:
    """Of one column by itself."""
    return variation.excess({PH: _scores(values, sample)}, sample)[PH]


def _test(values: Array, sample: Sample) -> pd.Series:
    return rank_tests.shift_tests({PH: values}, sample, 8).iloc[0]


def test_the_wander_of_months_is_recovered() -> None:
    """Each of 12 sensors tells the variance to 40 %, together to 12 %: the wander to 6 %."""
    found = []
    for wander in (0.0, 0.3):
        columns: Columns = {}
        for part in range(12):
            values, sample = months_of(24, 40, wander, part)
            columns[f"sensor {part}", "level"] = _scores(values, sample)
        of_all = variation.excess(columns, sample).values()
        found.append(np.sqrt(np.mean([each.variance for each in of_all])))
    # Scores have unit variance, the wander included.
    assert found[1] == pytest.approx(0.3 / np.sqrt(1 + 0.3**2) * np.sqrt(1 + 1 / 24), rel=0.25)
    assert found[0] < 0.12


def test_phases_of_one_experiment_that_are_alike_are_no_wander() -> None:
    """By rows, 12 experiments a month of equal phases would look like a wander of 0.2."""
    columns: Columns = {}
    for part in range(30):
        values, sample = months_of(36, 12, 0, part)
        columns[f"sensor {part}", "level"] = _scores(np.repeat(values[::2], 2), sample)
    variances = [each.variance for each in variation.excess(columns, sample).values()]
    assert np.sqrt(np.mean(variances)) < 0.12


def test_a_sensor_that_wanders_more_than_the_others_is_allowed_more() -> None:
    columns: Columns = {}
    for part, wander in enumerate((0.6, 0, 0, 0, 0)):
        values, sample = months_of(12, 40, wander, part)
        columns[f"sensor {part}", "level"] = _scores(values, sample)
    first, *others = variation.excess(columns, sample).values()
    assert first.variance > 2 * max(each.variance for each in others)


def test_a_reference_of_six_months_widens_the_error_by_its_wander() -> None:
    values, sample = months_of(MONTHS, 100, 0.5, 6)
    chance, beyond = rank_tests.shift_of(values, sample)[1], _excess(values, sample)
    assert _test(values, sample)["error"] == pytest.approx(np.hypot(chance, beyond.variance**0.5))
    assert beyond.variance > 0.01


def test_with_a_wander_known_from_six_months_p_is_twice_the_normal_one() -> None:
    values, sample = months_of(MONTHS, 100, 0.5, 6)
    values += sample.month
    test = _test(values, sample)
    assert test["statistic"] > 1.5
    assert test["p"] > 2 * (2 * norm.sf(test["statistic"]))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 3, MONTHS - 1]), st.integers(0, 1000))
def test_a_year_by_another_calendar_changes_nothing(months: int, seed: int) -> None:
    values, sample = months_of(12, 20, 0.3, seed)
    renamed = replace(sample, period=(sample.period + months) % 13)
    tests = rank_tests.shift_tests({PH: values}, sample, 8)
    pd.testing.assert_frame_equal(rank_tests.shift_tests({PH: values}, renamed, 8), tests)


def _alarms(dated: bool) -> int:
    """Of 120 healthy months of a plant that wanders by 0.2 SD, those with p below 1 %."""
    count = 0
    for seed in range(120):
        values, sample = months_of(12, 60, 0.2, seed)
        # Undated, and in no order of time.
        mixed = np.random.default_rng(seed).permutation(len(values)).astype(float)
        known = sample if dated else replace(sample, period=sample.period // 12, stamp=mixed)
        count += int(_test(values, known)["p"] < 0.01)
    return count


@pytest.mark.slow
def test_a_harmless_wander_is_allowed_for_where_the_reference_tells_it() -> None:
    """One sensor of 12 months tells the wander roughly: some 3 % instead of 1 %.

    More than 11 of 120 then have a chance of 1 in 2,100.
    """
    assert _alarms(dated=True) <= 11
    assert _alarms(dated=False) >= 18


def _slow_months(memory: float, size: float, seed: int) -> tuple[Columns, Sample]:
    """Five sensors in 40 experiments of a reference and 50 of a month, each with a slow process.

    Its experiments are correlated by `memory`, its standard deviation is `size`.
    """
    random = np.random.default_rng(seed)
    experiment = np.repeat(np.arange(90), 2)
    columns: Columns = {}
    sample = sample_of(np.arange(180) % 2, experiment, (experiment >= 40).astype(float))
    for part in range(5):
        shocks = random.normal(size=(2, 1000))
        slow = lfilter([np.sqrt(1 - memory**2)], [1.0, -memory], shocks)[:, -50:]
        together = size * np.concatenate([slow[0, :40], slow[1]])
        columns[f"sensor {part}", "level"] = together[experiment] + random.normal(size=180)
    return columns, sample


def _found(memory: float, size: float) -> int:
    """Of 60 healthy months, those with a p below 1 % after Bonferroni's correction."""
    found = 0
    for seed in range(60):
        columns, sample = _slow_months(memory, size, seed)
        found += int(5 * rank_tests.shift_tests(columns, sample, 8)["p"].min() < 0.01)
    return found


@pytest.mark.slow
def test_a_slow_process_is_allowed_for_in_a_reference_of_six_days() -> None:
    """At a true 10 % of 60, more than 13 have a chance of 1 in 200; without, two of three alarm."""
    assert _found(0.9, 0.5) <= 13
    assert _found(0.0, 0.0) <= 4


def test_a_fault_that_begins_in_the_month_is_not_taken_for_a_slow_process() -> None:
    columns, sample = _slow_months(0.0, 0.0, 3)
    late = sample.experiment >= 65
    faulty = {name: values + 3 * late * (name[0] == "sensor 0") for name, values in columns.items()}
    before = rank_tests.shift_tests(columns, sample, 8).set_index("part")["error"]
    after = rank_tests.shift_tests(faulty, sample, 8).set_index("part")["error"]
    assert after["sensor 0"] < 1.25 * before["sensor 0"]


def test_a_series_too_short_to_show_a_slow_process_has_no_excess() -> None:
    experiment = np.repeat(np.arange(14), 2)
    sample = sample_of(np.arange(28) % 2, experiment, (experiment >= 7).astype(float))
    values = np.random.default_rng(1).normal(size=28)
    assert not variation.excess({PH: _scores(values, sample)}, sample)
    test = rank_tests.shift_tests({PH: values}, sample, 4).iloc[0]
    assert test["error"] == rank_tests.shift_of(values, sample)[1]
