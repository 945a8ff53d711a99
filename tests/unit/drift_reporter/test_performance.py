"""Production compared with the laboratory: a loss is found, and chance is not taken for one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from src.components.drift_reporter import performance
from src.components.drift_reporter.status import Status
from src.components.predictor.bundle import Bundle
from src.soft_sensor import SoftSensor
from tests.builders.months import YEAR, plant, within
from tests.builders.plant import Plant
from tests.builders.training import made_from, phase_table


@pytest.fixture(name="linear", scope="module")
def fixture_linear(spec: SoftSensor) -> SoftSensor:
    """The plant's targets are below 0, too: learned as they are."""
    targets = [target.model_copy(update={"scale": "linear"}) for target in spec.targets]
    return spec.model_copy(update={"targets": tuple(targets)})


@pytest.fixture(name="reference", scope="module")
def fixture_reference(linear: SoftSensor) -> pd.DataFrame:
    """1000 phases of a year with predictions and laboratory values."""
    return plant(linear, 1).phases(1000, months=12)


def _errors(table: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Errors of the predictions of the plant, whose intervals hold 90 % of the usual errors."""
    names = {f"{name}_measured": name for name in spec.target_names}
    measured = table.drop(columns=spec.target_names).rename(columns=names)
    predicted = table[spec.target_names].copy()
    for name in spec.target_names:
        width = float((reference[f"{name}_measured"] - reference[name]).abs().quantile(0.9))
        predicted[f"{name}_lower"] = table[name] - width
        predicted[f"{name}_upper"] = table[name] + width
    return performance.errors(predicted, measured, spec)


def _analysed(
    works: Plant, reference: pd.DataFrame, spec: SoftSensor, months: int, shift: float = 0.0
) -> list[pd.DataFrame]:
    """Errors on 30 phases of each month, whose laboratory values are off by `shift` SD."""
    table = works.phases(30 * months, start=YEAR)
    for name in spec.target_names:
        measured = f"{name}_measured"
        table[measured] += shift * within(reference[measured], reference, spec)
    found = _errors(table, reference, spec)
    return [found.iloc[30 * month : 30 * (month + 1)] for month in range(months)]


def _status(tests: pd.DataFrame, part: str, indicator: str) -> str:
    chosen = tests[(tests["part"] == part) & (tests["indicator"] == indicator)]
    return str(chosen["status"].item())


@pytest.mark.slow
def test_healthy_laboratory_values_hardly_ever_alarm(
    reference: pd.DataFrame, linear: SoftSensor
) -> None:
    """At a true 1 % of 60, more than 4 have a chance of 1 in 2,900."""
    works, known = plant(linear, 2), _errors(reference, reference, linear)
    recent = _analysed(works, reference, linear, months=60)
    found = [performance.tests(errors, known, linear) for errors in recent]
    assert sum((tests["status"] == Status.ALARM).any() for tests in found) <= 4


@pytest.mark.slow
def test_values_off_by_half_a_standard_deviation_are_found_in_30_rows(
    reference: pd.DataFrame, linear: SoftSensor
) -> None:
    """At a true 98 % of 20, fewer than 17 have a chance of 1 in 1,700."""
    works, known, found = plant(linear, 3), _errors(reference, reference, linear), 0
    for errors in _analysed(works, reference, linear, months=20, shift=0.5):
        tests = performance.tests(errors, known, linear)
        alarms = tests[tests["status"] == Status.ALARM]
        found += "bias" in set(alarms["indicator"])
        assert (alarms.loc[alarms["indicator"] == "bias", "shift"] > 0).all()
    assert found >= 17


def test_80_known_errors_are_enough_for_one_standard_deviation(
    reference: pd.DataFrame, linear: SoftSensor
) -> None:
    works, known, found = plant(linear, 4), _errors(reference.head(80), reference, linear), 0
    for errors in _analysed(works, reference, linear, months=20, shift=-1.0):
        tests = performance.tests(errors, known, linear)
        found += _status(tests, linear.target_names[0], "bias") == Status.ALARM
    assert found >= 16


def _known(rows: int, seed: int, spec: SoftSensor) -> pd.DataFrame:
    """Standard normal errors of every target, of which 90 % are inside their intervals."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "experimentnummer": seed * 100_000 + np.arange(rows) // 2,
            "waschen": np.arange(rows) % 2,
            "last_timestamp": 3600.0 * np.arange(rows),
        }
    )
    for name in spec.target_names:
        error = random.normal(size=rows)
        table[name] = table[f"{name}_off"] = error
        table[f"{name}_inside"] = (np.abs(error) <= norm.ppf(0.95)).astype(float)
    return table


def test_larger_errors_are_an_alarm_and_smaller_ones_are_not(spec: SoftSensor) -> None:
    known, recent = _known(200, 1, spec), _known(60, 2, spec)
    name = spec.target_names[0]
    worse = performance.tests(recent.assign(**{name: 2.5 * recent[name]}), known, spec)
    assert _status(worse, name, "error") == Status.ALARM
    assert _status(worse, name, "bias") == Status.NO_DRIFT
    better = performance.tests(recent.assign(**{name: 0.2 * recent[name]}), known, spec)
    assert set(better["status"]) == {Status.NO_DRIFT}
    found = better[(better["part"] == name) & (better["indicator"] == "error")].iloc[0]
    assert found["shift"] < -0.5 and found["p"] > 0.99


def test_a_loss_of_one_target_is_no_loss_of_the_others(spec: SoftSensor) -> None:
    known, recent = _known(200, 1, spec), _known(60, 2, spec)
    name, *others = spec.target_names
    tests = performance.tests(recent.assign(**{name: recent[name] - 1.5}), known, spec)
    assert _status(tests, name, "bias") == Status.ALARM
    assert tests.iloc[0]["part"] == name and tests.iloc[0]["shift"] < -1
    assert set(tests.loc[tests["part"].isin(others), "status"]) == {Status.NO_DRIFT}


def test_intervals_that_hold_too_few_values_are_an_alarm(spec: SoftSensor) -> None:
    known, recent = _known(200, 1, spec), _known(60, 2, spec)
    name = spec.target_names[0]
    inside = np.where(np.arange(60) < 42, 1.0, 0.0)
    tests = performance.tests(recent.assign(**{f"{name}_inside": inside}), known, spec)
    assert _status(tests, name, "coverage") == Status.ALARM
    row = tests[(tests["part"] == name) & (tests["indicator"] == "coverage")].iloc[0]
    assert row["shift"] == pytest.approx(0.7 - 0.9)
    assert row["rows"] == 60
    for enough in (54, 60):
        inside = np.where(np.arange(60) < enough, 1.0, 0.0)
        tests = performance.tests(recent.assign(**{f"{name}_inside": inside}), known, spec)
        assert _status(tests, name, "coverage") == Status.NO_DRIFT


def test_a_bias_that_is_sure_but_small_is_a_watch(spec: SoftSensor) -> None:
    known, recent = _known(4000, 1, spec), _known(2000, 2, spec)
    name = spec.target_names[0]
    tests = performance.tests(recent.assign(**{name: recent[name] + 0.2}), known, spec)
    assert _status(tests, name, "bias") == Status.WATCH
    assert Status.ALARM not in set(tests["status"])


def test_what_was_not_measured_is_not_counted(spec: SoftSensor) -> None:
    known, recent = _known(200, 1, spec), _known(60, 2, spec)
    name, seldom, never = spec.target_names
    recent.loc[20:, [name, f"{name}_inside"]] = np.nan
    recent.loc[15:, [seldom, f"{seldom}_inside"]] = np.nan
    recent.loc[:, [never, f"{never}_inside"]] = np.nan
    tests = performance.tests(recent, known, spec)
    assert set(tests.loc[tests["part"] == name, "rows"]) == {20}
    # Eight rows and seven: those of both phases together are enough.
    assert set(tests.loc[tests["part"] == seldom, "rows"]) == {15}
    assert never not in set(tests["part"])


def test_five_values_of_any_phases_are_tested_and_four_are_not(spec: SoftSensor) -> None:
    known, recent = _known(200, 1, spec), _known(60, 2, spec)
    few = recent.head(5)
    assert few[spec.columns.phase].nunique() == 2
    tests = performance.tests(few, known, spec)
    assert set(tests["rows"]) == {5}
    assert set(tests["indicator"]) == {"bias", "error", "coverage"}
    assert 1 < performance.smallest_bias(tests, spec) < 4
    none = performance.tests(recent.head(4), known, spec)
    assert none.empty
    assert np.isnan(performance.smallest_bias(none, spec))


def test_more_values_reveal_a_smaller_bias(spec: SoftSensor) -> None:
    known, recent = _known(200, 1, spec), _known(60, 2, spec)
    sizes = [
        performance.smallest_bias(performance.tests(recent.head(rows), known, spec), spec)
        for rows in (5, 15, 60)
    ]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("phase", [0, 1])
def test_errors_of_a_phase_count_by_their_own_scale(spec: SoftSensor, phase: int) -> None:
    """Ten times larger errors in one phase, where they always were, are not a loss."""
    known, recent = _known(200, 1, spec), _known(60, 2, spec)

    def larger(table: pd.DataFrame) -> pd.DataFrame:
        names = spec.target_names
        own = table[spec.columns.phase] == phase
        return table.assign(**table[names].where(~own, 10 * table[names]))

    alike = performance.tests(larger(recent), larger(known), spec)
    expected = performance.tests(recent, known, spec)
    # Equal values of two phases are no longer exactly equal.
    pd.testing.assert_frame_equal(alike, expected, rtol=0.02, atol=0.01)


def test_without_values_there_is_nothing_to_test(spec: SoftSensor) -> None:
    tests = performance.tests(_known(0, 2, spec), _known(200, 1, spec), spec)
    assert tests.empty
    assert {"part", "indicator", "p", "p_holm", "status"} <= set(tests)


def test_errors_are_on_the_scale_on_which_targets_are_learned(spec: SoftSensor) -> None:
    tension, anionic, nonionic = spec.target_names
    keys = {"experimentnummer": [1, 1, 2], "waschen": [1, 0, 1], "last_timestamp": [1.0, 2.0, 3.0]}
    measured = pd.DataFrame(
        keys | {tension: [60, np.nan, 40], anionic: [99, 9, np.nan], nonionic: [0, 1, 2]}
    )
    predicted = pd.DataFrame({tension: [58, 50, 43], anionic: [9, 9, 9], nonionic: [0, 0, 0]})
    predicted = predicted.astype(float).assign(
        **{f"{tension}_lower": [50, 50, 41], f"{tension}_upper": [60, 60, 60]}
    )
    table = performance.errors(predicted, measured, spec)
    assert table[[*keys]].to_dict("list") == keys
    np.testing.assert_allclose(table[tension], [2, np.nan, -3])
    np.testing.assert_allclose(table[f"{tension}_off"], [2, np.nan, -3])
    np.testing.assert_allclose(table[f"{tension}_inside"], [1, np.nan, 0])
    np.testing.assert_allclose(table[anionic], [np.log(10), 0, np.nan])
    np.testing.assert_allclose(table[f"{anionic}_off"], [90, 0, np.nan])
    assert table[f"{anionic}_inside"].isna().all()


def test_the_figures_are_in_the_units_of_the_targets(spec: SoftSensor) -> None:
    tension, anionic, never = spec.target_names
    recent, known = _known(4, 2, spec), _known(4, 1, spec)
    recent[f"{tension}_off"], recent[f"{tension}_inside"] = [1.0, -3, 2, np.nan], [1, 0, 1, np.nan]
    known[f"{tension}_off"] = [1.0, -1, 1, -1]
    recent[[f"{never}_off", f"{never}_inside"]] = np.nan
    figures = performance.figures(recent, known, spec).set_index("target")
    row = figures.loc["surface tension"]
    assert (row["unit"], row["count"]) == ("mN/m", 3)
    assert row["error"] == pytest.approx(2)
    assert row["expected"] == pytest.approx(1)
    assert row["bias"] == pytest.approx(0)
    assert row["coverage"] == pytest.approx(2 / 3)
    assert figures["count"].tolist() == [3, recent[anionic].count(), 0]


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """Trained on 40 experiments."""
    return made_from(phase_table(40, spec, noise=0.05), spec)


def _loaded(experiments: int, first: int, spec: SoftSensor) -> pd.DataFrame:
    """Analysed phases, whose values came an hour after each other."""
    table = phase_table(experiments, spec, seed=9, first=first)
    hours = pd.to_timedelta(np.arange(len(table)), unit="h")
    return table.assign(loaded_at=pd.Timestamp("2026-03-01", tz="UTC") + hours)


def test_phases_that_a_training_has_used_tell_nothing_new(bundle: Bundle, spec: SoftSensor) -> None:
    analysed = _loaded(50, 30, spec)
    fresh = performance.fresh_values(analysed, bundle, None, spec)
    assert set(fresh["experimentnummer"]) == set(range(40, 80))
    assert list(fresh) == list(analysed)


def test_older_values_make_thirty_and_newer_ones_all_count(
    bundle: Bundle, spec: SoftSensor
) -> None:
    analysed = _loaded(40, 100, spec)

    def since(rows: int) -> pd.DataFrame:
        moment = analysed["loaded_at"].iloc[len(analysed) - rows - 1]
        return performance.fresh_values(analysed, bundle, moment, spec)

    for came, seen in ((0, 30), (10, 30), (30, 30), (31, 31), (70, 70)):
        assert since(came)["loaded_at"].tolist() == analysed["loaded_at"].tail(seen).tolist()
    assert len(performance.fresh_values(analysed, bundle, None, spec)) == 80
    assert len(performance.fresh_values(analysed.head(7), bundle, None, spec)) == 7


def test_known_errors_are_those_of_phases_that_no_model_had_seen(
    bundle: Bundle, spec: SoftSensor
) -> None:
    known = performance.expected_errors(bundle, spec)
    tension = spec.target_names[0]
    reference = bundle.reference
    assert len(known) == len(reference) == 80
    out_of_fold = reference[f"{tension}_measured"] - reference[tension]
    np.testing.assert_allclose(known[tension], out_of_fold)
    assert 0.8 < known[f"{tension}_inside"].mean() < 1
    assert known[spec.columns.keys].drop_duplicates().shape[0] == 80


def test_a_process_that_has_changed_is_found_by_real_models(
    bundle: Bundle, spec: SoftSensor
) -> None:
    known = performance.expected_errors(bundle, spec)
    fresh = phase_table(20, spec, seed=5, noise=0.05, first=100)
    tension = spec.target_names[0]

    def tested(table: pd.DataFrame) -> pd.DataFrame:
        found = performance.errors(bundle.estimate(table, spec), table, spec)
        return performance.tests(found, known, spec)

    assert Status.ALARM not in set(tested(fresh)["status"])
    changed = tested(fresh.assign(**{tension: fresh[tension] - 8}))
    assert _status(changed, tension, "bias") == Status.ALARM
