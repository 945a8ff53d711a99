"""Sensor drift: few false alarms, faults found, and the right sensor identified."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter import checks, drift_tests, onset
from src.components.drift_reporter.status import Status
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.builders.months import YEAR, compared, moved, phases, plant, unit
from tests.conftest import ROOT

Pair = tuple[pd.DataFrame, pd.DataFrame]  # a month and its reference
HYDRAULICS = load_soft_sensor(ROOT / "examples/hydraulics/params.yaml")


@pytest.fixture(name="pairs", scope="module")
def fixture_pairs(spec: SoftSensor) -> list[Pair]:
    """30 healthy months of 100 phases, ten after each of three references of 1000 in a year."""
    works = plant(spec, 1)
    references = [works.phases(1000, months=12) for _ in range(3)]
    return [
        (works.phases(100, start=YEAR), reference) for reference in references for _ in range(10)
    ]


@pytest.fixture(name="large", scope="module")
def fixture_large(spec: SoftSensor) -> Pair:
    """A healthy month of 300 phases, in which a fault of one standard deviation is certain."""
    works = plant(spec, 2)
    return works.phases(300, start=YEAR), works.phases(1000, months=12)


def _at_fault(tests: pd.DataFrame) -> list[str]:
    """The sensors at fault, as "a or b" where two cannot be told apart."""
    return [" or ".join(fault) for fault in drift_tests.sensors_at_fault(tests)]


def _alarming(tests: pd.DataFrame) -> bool:
    return bool((tests["status"] == Status.ALARM).any())


def _row(tests: pd.DataFrame, part: str, indicator: str) -> pd.Series:
    return tests[(tests["part"] == part) & (tests["indicator"] == indicator)].iloc[0]


def _one_sensor(spec: SoftSensor) -> SoftSensor:
    return spec.model_copy(update={"sensors": spec.sensors[:1]})


@pytest.mark.slow
def test_healthy_months_hardly_ever_alarm(pairs: list[Pair], spec: SoftSensor) -> None:
    """At a true 1 % of 30, more than 3 alarms have a chance of 1 in 4,500.

    At a true 5 %, more than 6 with any word at all have a chance of 1 in 1,700.
    """
    found = [drift_tests.drift(month, reference, spec) for month, reference in pairs]
    assert sum(_alarming(tests) for tests in found) <= 3
    assert sum((tests["status"] != Status.NO_DRIFT).any() for tests in found) <= 6


@pytest.mark.slow
def test_nor_do_they_after_a_reference_of_100_phases(spec: SoftSensor) -> None:
    """At a true 1 % of 12, more than 2 have a chance of 1 in 4,900."""
    works = plant(spec, 3)
    found = [
        drift_tests.drift(works.phases(100, start=YEAR), works.phases(100, months=12), spec)
        for _ in range(12)
    ]
    assert sum(_alarming(tests) for tests in found) <= 2


@pytest.mark.slow
def test_another_mix_of_phases_is_no_drift_and_is_called_mix(spec: SoftSensor) -> None:
    """80 washing phases of 100; at a true 1 % of 10, more than 2 alarms: 1 in 8,800."""
    works, alarms = plant(spec, 4), 0
    reference = works.phases(1000, months=12)
    for _ in range(10):
        month = works.phases(200, start=YEAR)
        washing = month["waschen"] == 1
        month = pd.concat([month[washing].head(80), month[~washing].head(20)], ignore_index=True)
        alarms += _alarming(drift_tests.drift(month, reference, spec))
        assert checks.mix(compared(month, reference, spec), spec)[0].significant
    assert alarms <= 2


def test_half_a_standard_deviation_is_found_and_the_right_sensor_at_fault(
    pairs: list[Pair], spec: SoftSensor
) -> None:
    """At a true 85 % of 24, fewer than 14 have a chance of 1 in 3,100.

    A wrong one named in a true 1 %, first or at all, is seen more than twice in 1 of 580 tries.
    """
    alarms, wrong, innocent = 0, 0, 0
    for (month, reference), sensor in zip(pairs[:24], cycle(spec.sensors)):
        faulty = moved(month, sensor.name, 0.5 * unit(sensor.name, reference, spec), spec)
        at_fault = _at_fault(drift_tests.drift(faulty, reference, spec))
        alarms += bool(at_fault)
        wrong += bool(at_fault) and at_fault[0] != sensor.name
        innocent += bool(set(at_fault) - {sensor.name})
    assert alarms >= 14
    assert wrong <= 2
    assert innocent <= 2


def test_a_noisy_sensor_is_found(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    tests = drift_tests.drift(month.assign(fluss1_std=1.5 * month["fluss1_std"]), reference, spec)
    assert _at_fault(tests) == ["fluss1"]
    assert tests.loc[tests["status"] == Status.ALARM, "indicator"].tolist() == ["noise"]
    assert _row(tests, "fluss1", "noise")["shift"] > 0.5


def test_a_sensor_that_scatters_is_found(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    level = month["druck1_median"]
    centre = level.groupby(month["waschen"]).transform("median")
    tests = drift_tests.drift(
        moved(month, "druck1", 0, spec).assign(druck1_median=centre + 2.5 * (level - centre)),
        reference,
        spec,
    )
    assert _at_fault(tests) == ["druck1"]
    assert "scatter" in tests.loc[tests["status"] == Status.ALARM, "indicator"].tolist()
    assert _row(tests, "druck1", "level")["status"] == Status.NO_DRIFT


def test_a_stuck_sensor_is_found_by_its_noise(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    late = month["last_timestamp"] > month["last_timestamp"].quantile(0.7)
    month = month.assign(ph_std=month["ph_std"].mask(late, 0.0))
    tests = drift_tests.drift(month, reference, spec)
    assert _at_fault(tests) == ["ph"]
    assert _row(tests, "ph", "noise")["shift"] < -0.3


def test_one_missing_value_switches_no_test_off(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    month = moved(month, "ph", unit("ph", reference, spec), spec)
    for sensor in spec.sensors:
        month.loc[3, spec.features_of(sensor)] = np.nan
    tests = drift_tests.drift(month, reference, spec)
    assert len(tests) == 4 * len(spec.sensors) + len(spec.targets) + 1
    assert np.isfinite(tests[["shift", "p", "p_holm"]]).all(axis=None)
    own = tests[tests["part"].isin([sensor.name for sensor in spec.sensors])]
    assert set(own["rows"]) == {len(month) - 1}
    assert _at_fault(tests) == ["ph"]


def test_a_sensor_without_values_leaves_the_tests_of_the_others(
    large: Pair, spec: SoftSensor
) -> None:
    month, reference = large
    month = moved(month, "ph", unit("ph", reference, spec), spec)
    turbidity = spec.features_of(spec.sensors[0])
    month[turbidity] = np.nan
    tests = drift_tests.drift(month, reference, spec)
    assert _at_fault(tests) == ["ph"]
    left = {sensor.name for sensor in spec.sensors[1:]}
    assert set(tests["part"]) == left | set(spec.target_names) | {""}
    never = drift_tests.drift(month, reference.assign(**dict.fromkeys(turbidity, np.nan)), spec)
    assert _at_fault(never) == ["ph"]


def test_a_shift_of_the_predictions_alone_raises_no_alarm(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    tests = drift_tests.drift(
        month.assign(**(month[spec.target_names] + reference[spec.target_names].std())),
        reference,
        spec,
    )
    predicted = tests[tests["indicator"] == "prediction"]
    assert set(predicted["status"]) == {Status.WATCH}
    assert not _alarming(tests)
    assert not _at_fault(tests)


def test_a_shift_that_is_sure_but_small_is_a_watch(spec: SoftSensor) -> None:
    """With a standard error of 0.025, 0.2 is eight of them, and four below the least of 0.3."""
    reference, month = phases(spec, 2000, 5), phases(spec, 2000, 6, start=YEAR)
    tests = drift_tests.drift(moved(month, "ph", 0.2, spec), reference, spec)
    assert _row(tests, "ph", "level")["status"] == Status.WATCH
    assert not _alarming(tests)
    # Nor is it one of a sensor that is at fault for another reason.
    faulty = moved(month, "ph", 1.0, spec).assign(ph_std=1.07 * month["ph_std"])
    tests = drift_tests.drift(faulty, reference, spec)
    assert _row(tests, "ph", "level")["status"] == Status.ALARM
    assert _row(tests, "ph", "noise")["status"] == Status.WATCH


@pytest.fixture(name="related", scope="module")
def fixture_related(spec: SoftSensor) -> Pair:
    """A month and a reference of sensors that have nine tenths of their variance in common."""
    month = phases(spec, 100, 8, start=YEAR, common=0.9)
    return month, phases(spec, 500, 7, common=0.9)


def test_peers_do_not_see_what_moves_all_sensors(related: Pair, spec: SoftSensor) -> None:
    month, reference = related
    for sensor in spec.sensors:
        month = moved(month, sensor.name, 1.0, spec)
    tests = drift_tests.drift(month, reference, spec)
    for sensor in spec.sensors:
        level = _row(tests, sensor.name, "level")["shift"]
        assert level > 0.7
        assert abs(_row(tests, sensor.name, "peer")["shift"]) < level / 2


def test_peers_see_one_sensor_better_than_its_level_and_are_not_at_fault_themselves(
    related: Pair, spec: SoftSensor
) -> None:
    month, reference = related
    tests = drift_tests.drift(moved(month, "ph", 1.0, spec), reference, spec)
    assert _row(tests, "ph", "peer")["statistic"] > 2 * _row(tests, "ph", "level")["statistic"]
    assert _at_fault(tests) == ["ph"]
    innocent = tests[(tests["indicator"] == "peer") & (tests["part"] != "ph")]
    assert len(innocent) == len(spec.sensors) - 1
    assert (innocent["shift"].abs() < 0.4).all()


def test_a_missing_sensor_does_not_make_its_peers_look_odd(related: Pair, spec: SoftSensor) -> None:
    month, reference = related
    ph = spec.features_of(spec.sensors[3])
    washing = month["waschen"] == 1
    for lost in (washing, washing | True):
        faulty = month.assign(**month[ph].mask(lost))
        tests = drift_tests.drift(faulty, reference, spec)
        peers = tests[(tests["indicator"] == "peer") & (tests["part"] != "ph")]
        assert len(peers) == len(spec.sensors) - 1
        assert (peers["shift"].abs() < 0.3).all()
        assert not _at_fault(tests)


def test_two_sensors_at_fault_are_both_named_the_surer_first(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    month = moved(month, "ph", 0.7 * unit("ph", reference, spec), spec)
    month = moved(month, "druck1", -1.5 * unit("druck1", reference, spec), spec)
    tests = drift_tests.drift(month, reference, spec)
    assert _at_fault(tests) == ["druck1", "ph"]
    assert _row(tests, "druck1", "level")["shift"] < 0 < _row(tests, "ph", "level")["shift"]
    assert tests["rank"].iloc[0] == 1


def test_wild_values_of_the_reference_do_not_hide_a_fault(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    reference = reference.copy()
    reference.loc[5, "leitfaehigkeit_median"] = reference["leitfaehigkeit_median"].max() * 1e3
    tests = drift_tests.drift(
        moved(month, "ph", unit("ph", reference, spec), spec), reference, spec
    )
    assert _at_fault(tests) == ["ph"]


def test_wild_values_of_the_reference_do_not_blind_the_peers(
    related: Pair, spec: SoftSensor
) -> None:
    month, reference = related
    month = moved(month, "ph", 1.0, spec)
    clean = _row(drift_tests.drift(month, reference, spec), "ph", "peer")
    reference = reference.copy()
    for row, sensor in enumerate(spec.sensors):
        reference.loc[row, f"{sensor.name}_median"] = 1e6
    wild = _row(drift_tests.drift(month, reference, spec), "ph", "peer")
    assert wild["statistic"] > 0.75 * clean["statistic"] > 10


def test_neither_the_order_of_rows_nor_the_unit_of_a_sensor_counts(
    large: Pair, spec: SoftSensor
) -> None:
    month, reference = (table.copy() for table in large)
    month = moved(month, "ph", 0.3, spec)
    tests = drift_tests.drift(month, reference, spec)
    ph = spec.features_of(spec.sensors[3])
    for table in (month, reference):
        table[ph] *= 1000
    month, reference = (table.sample(frac=1, random_state=0) for table in (month, reference))
    pd.testing.assert_frame_equal(drift_tests.drift(month, reference, spec), tests, rtol=1e-6)


def test_a_month_is_not_changed_by_looking_at_it(large: Pair, spec: SoftSensor) -> None:
    copies = [table.copy() for table in large]
    drift_tests.drift(*large, spec)
    for table, copy in zip(large, copies):
        pd.testing.assert_frame_equal(table, copy)


def test_too_few_rows_give_no_test(large: Pair, spec: SoftSensor) -> None:
    month, reference = large
    tests = drift_tests.drift(month.head(6), reference, spec)
    assert tests.empty
    assert np.isnan(drift_tests.smallest_shift(tests, spec))


@pytest.mark.slow
def test_the_smallest_shift_is_found_in_80_percent_of_months(spec: SoftSensor) -> None:
    """Of a sensor without peers, which see more.

    At a true 80 % of 50, fewer than 30 or more than 47 have a chance of 1 in 620.
    """
    alone = _one_sensor(spec)
    reference, name = phases(alone, 300, 1000), alone.sensors[0].name
    months = [phases(alone, 50, seed, start=YEAR) for seed in range(50)]
    size = drift_tests.smallest_shift(drift_tests.drift(months[0], reference, alone), alone)
    assert size > spec.monitoring.min_shift
    found = [
        drift_tests.drift(moved(month, name, size, alone), reference, alone) for month in months
    ]
    assert 30 <= sum(_at_fault(tests) == [name] for tests in found) <= 47


def test_the_smallest_shift_is_never_below_what_counts(spec: SoftSensor) -> None:
    reference, month = phases(spec, 2000, 5), phases(spec, 2000, 6, start=YEAR)
    tests = drift_tests.drift(month, reference, spec)
    assert drift_tests.smallest_shift(tests, spec) == spec.monitoring.min_shift


@pytest.mark.parametrize("indicator", ["level", "peer", "noise"])
def test_the_onset_is_the_day_on_which_a_fault_begins(
    related: Pair, spec: SoftSensor, indicator: str
) -> None:
    month, reference = related
    begin = month["last_timestamp"].iloc[120]
    late = month["last_timestamp"] >= begin
    faulty = moved(month, "ph", 2.0, spec).where(late, month)
    faulty["ph_std"] = month["ph_std"].where(~late, 2 * month["ph_std"])
    found = onset.onset("ph", indicator, faulty.sample(frac=1, random_state=0), reference, spec)
    assert found is not None and str(found.tz) == "UTC"
    # Six rows, two an hour.
    assert abs(found.timestamp() - begin) <= 3 * 3600


@pytest.mark.slow
def test_a_fault_from_the_beginning_has_no_onset(spec: SoftSensor) -> None:
    """A few lucky rows are taken for health in some 5 % of months: of 40, more than 7 have a chance
    of 1 in 1,400."""
    reference, without = phases(spec, 500, 9), 0
    for seed in range(40):
        month = moved(phases(spec, 50, seed, start=YEAR), "ph", 1.5, spec)
        without += onset.onset("ph", "level", month, reference, spec) is None
    assert without >= 33


def test_an_onset_is_found_although_values_are_missing(related: Pair, spec: SoftSensor) -> None:
    month, reference = related
    late = month["last_timestamp"] >= month["last_timestamp"].iloc[120]
    faulty = moved(month, "ph", 3.0, spec).where(late, month)
    faulty.loc[::7, spec.features_of(spec.sensors[3])] = np.nan
    found = onset.onset("ph", "level", faulty, reference, spec)
    assert found is not None
    assert abs(found.timestamp() - month["last_timestamp"].iloc[120]) <= 3 * 3600


def _text_phases(spec: SoftSensor) -> SoftSensor:
    named = [phase.model_copy(update={"value": phase.name}) for phase in spec.phases]
    return spec.model_copy(update={"phases": tuple(named)})


def _text_experiments(spec: SoftSensor) -> SoftSensor:
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    return spec.model_copy(update={"columns": columns})


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_one_sensor, id="one sensor"),
        pytest.param(_text_phases, id="text phases"),
        pytest.param(_text_experiments, id="text experiments"),
        pytest.param(lambda _: HYDRAULICS, id="17 sensors and one phase"),
    ],
)
def test_other_soft_sensors_find_their_fault(make: Any, spec: SoftSensor) -> None:
    other = make(spec)
    name = other.sensors[0].name
    reference, month = phases(other, 200, 10), phases(other, 60, 11, start=YEAR)
    assert not _alarming(drift_tests.drift(month, reference, other))
    tests = drift_tests.drift(moved(month, name, 2.0, other), reference, other)
    assert _at_fault(tests) == [name]
    peers = tests[tests["indicator"] == "peer"]
    assert len(peers) == (len(other.sensors) if len(other.sensors) > 1 else 0)
