"""One verdict from all tests of a month, and confirmation by earlier months."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter import performance, verdict
from src.components.drift_reporter.evidence import NO_TESTS, Earlier, LaboratoryEvidence, Past
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict, judge
from src.components.predictor.judgement import Judgement
from src.soft_sensor import Confirmation, SoftSensor
from tests.builders.months import (
    YEAR,
    compared,
    moved,
    of_the_ledger,
    phases,
    plant,
    unit,
)
from tests.builders.plant import MONTH
from tests.builders.training import made_from, phase_table


@pytest.fixture(name="reference", scope="module")
def fixture_reference(spec: SoftSensor) -> pd.DataFrame:
    """600 phases."""
    return phases(spec, 300, 1)


@pytest.fixture(name="month", scope="module")
def fixture_month(spec: SoftSensor) -> pd.DataFrame:
    """A healthy month of 100 phases."""
    return of_the_ledger(phases(spec, 50, 2, start=YEAR))


def _judge(
    month: pd.DataFrame,
    reference: pd.DataFrame,
    spec: SoftSensor,
    earlier: pd.DataFrame = NO_TESTS,
    past: Past = Past(),
) -> Verdict:
    evidence = compared(month, reference, spec)
    return judge(replace(evidence, past=past, earlier=Earlier([], earlier)), spec)


def test_a_healthy_month_is_no_drift(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    found = _judge(month, reference, spec)
    assert found.status == Status.NO_DRIFT
    assert (found.sensors, found.onsets, found.short, found.unconfirmed) == ([], {}, {}, [])
    assert 0.3 < found.smallest_shift < 1
    assert set(found.tests["kind"]) == {Kind.DRIFT, Kind.CHECK}
    assert set(found.tests["status"]) == {Status.NO_DRIFT}


def test_a_shifted_sensor_is_an_alarm_with_its_name_and_day(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    begin = month["last_timestamp"].iloc[50]
    late = month["last_timestamp"] >= begin
    found = _judge(moved(month, "ph", 3.0, spec).where(late, month), reference, spec)
    assert (found.status, found.sensors) == (Status.ALARM, ["ph"])
    onset = found.onsets["ph"]
    assert onset is not None
    assert abs(onset.timestamp() - begin) <= 3 * 3600


def test_a_sensor_without_values_is_an_alarm_that_names_it(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    lost = month.assign(**dict.fromkeys(spec.features_of(spec.sensors[0]), np.nan))
    found = _judge(moved(lost, "ph", 2.0, spec), reference, spec)
    # Sensors that have drifted first, then those that fail.
    assert (found.status, found.sensors) == (Status.ALARM, ["ph", "truebung"])
    assert list(found.onsets) == ["ph"]
    alarms = found.tests[found.tests["status"] == Status.ALARM]
    assert alarms.loc[alarms["part"] == "truebung", "indicator"].tolist() == ["missing"]


def test_a_sensor_that_drifts_and_fails_is_named_once(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    found = _judge(moved(month, "ph", 2.0, spec).assign(ph_std=0.0), reference, spec)
    assert found.sensors == ["ph"]
    kinds = found.tests.loc[found.tests["status"] == Status.ALARM, "kind"]
    assert set(kinds) == {Kind.DRIFT, Kind.CHECK}


def test_another_mix_of_phases_is_a_watch_that_names_no_sensor(spec: SoftSensor) -> None:
    works = plant(spec, 1)
    reference, month = works.phases(1000, months=12), of_the_ledger(works.phases(400, start=YEAR))
    washing = month["waschen"] == 1
    month = pd.concat([month[washing].head(80), month[~washing].head(20)], ignore_index=True)
    found = _judge(month, reference, spec)
    assert (found.status, found.sensors) == (Status.WATCH, [])
    reported = found.tests[found.tests["status"] != Status.NO_DRIFT]
    assert reported["indicator"].tolist() == ["mix"]


def test_fewer_experiments_than_before_are_a_watch(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    past = Past(experiments=8640, days=360.0, last_timestamp=YEAR)
    found = _judge(month, reference, spec, past=past)
    assert found.status == Status.NO_DRIFT  # 24 a day, then and now
    assert "experiments" in set(found.tests["indicator"])
    found = _judge(month, reference, spec, past=replace(past, experiments=30_000))
    assert (found.status, found.sensors) == (Status.WATCH, [])


def test_more_uncertain_verdicts_than_before_are_a_watch(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    unclear = month.assign(verdict=Judgement.UNCERTAIN)
    assert _judge(unclear, reference, spec).status == Status.NO_DRIFT  # without a past
    found = _judge(unclear, reference, spec, past=Past(judged=100, uncertain=5))
    assert (found.status, found.sensors) == (Status.WATCH, [])


def test_a_month_without_enough_rows_is_never_called_healthy(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    found = _judge(month.head(10), reference, spec)
    assert (found.status, found.sensors) == (Status.TOO_FEW, [])
    assert found.short == {"washing": (5, 300), "rinsing": (5, 300)}
    assert np.isnan(found.smallest_shift)


def test_one_phase_without_enough_rows_is_enough_to_say_so(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    rows = pd.concat([month[month["waschen"] == 1].head(12), month[month["waschen"] == 0].head(7)])
    found = _judge(rows, reference, spec)
    assert found.status == Status.TOO_FEW
    assert found.short == {"rinsing": (7, 300)}
    assert found.smallest_shift > 1
    # A fault of the other phase is not kept quiet.
    found = _judge(moved(rows, "ph", 4.0, spec), reference, spec)
    assert (found.status, found.sensors) == (Status.ALARM, ["ph"])


def test_a_month_of_one_phase_only_is_never_called_healthy(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    washing = month[month["waschen"] == 1]
    found = _judge(washing, reference, spec)
    assert found.status == Status.WATCH  # the mix
    assert found.short == {"rinsing": (0, 300)}
    found = _judge(washing, reference[reference["waschen"] == 1], spec)
    assert found.status == Status.TOO_FEW


def test_a_soft_sensor_of_one_phase_needs_no_other(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    one = spec.model_copy(update={"phases": spec.phases[:1]})
    washing, before = month[month["waschen"] == 1], reference[reference["waschen"] == 1]
    found = _judge(washing, before, one)
    assert (found.status, found.short) == (Status.NO_DRIFT, {})


@pytest.mark.parametrize("rows", [10, 19])
def test_a_reference_that_is_too_small_for_drift_tests_leaves_the_checks(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor, rows: int
) -> None:
    found = _judge(moved(month, "ph", 9.0, spec), reference.head(rows), spec)
    assert (found.status, found.sensors) == (Status.TOO_FEW, [])
    assert Kind.DRIFT not in set(found.tests["kind"])
    found = _judge(month.assign(ph_std=0.0), reference.head(rows), spec)
    assert (found.status, found.sensors) == (Status.ALARM, ["ph"])
    assert _judge(month, reference.head(20), spec).status == Status.NO_DRIFT


def test_a_sensor_that_was_constant_in_the_reference_is_not_accused_and_is_named(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    found = _judge(month, reference.assign(ph_median=7.0), spec)
    assert not found.sensors
    assert list(found.untestable) == ["ph"]
    # The others are tested.
    found = _judge(moved(month, "druck1", 2.0, spec), reference.assign(ph_median=7.0), spec)
    assert found.sensors == ["druck1"]


def test_a_loss_against_the_laboratory_is_an_alarm_that_accuses_no_sensor(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    bundle = made_from(phase_table(40, spec, noise=0.05), spec)
    fresh = phase_table(20, spec, seed=5, noise=0.05, first=100)
    expected = performance.expected_errors(bundle, spec)

    def status(table: pd.DataFrame) -> Verdict:
        recent = performance.errors(bundle.estimate(table, spec), table, spec)
        laboratory = LaboratoryEvidence(recent=recent, expected=expected)
        return judge(replace(compared(month, reference, spec), laboratory=laboratory), spec)

    assert status(fresh).status == Status.NO_DRIFT
    changed = status(fresh.assign(oberflaechenspannung=fresh["oberflaechenspannung"] - 8))
    assert (changed.status, changed.sensors) == (Status.ALARM, [])
    alarms = changed.tests[changed.tests["status"] == Status.ALARM]
    assert set(alarms["kind"]) == {Kind.LABORATORY}
    assert set(alarms["part"]) == {"oberflaechenspannung"}
    assert status(fresh.head(0)).status == Status.NO_DRIFT  # no values have come


@pytest.fixture(name="patient", scope="module")
def fixture_patient(spec: SoftSensor) -> SoftSensor:
    """A sensor is in alarm when it was found in two of the last three reports."""
    rules = spec.monitoring.model_copy(update={"confirm": Confirmation(need=2, of=3)})
    return spec.model_copy(update={"monitoring": rules})


def _reported(*verdicts: Verdict) -> pd.DataFrame:
    """Reports of a month each, the last one of the month before YEAR."""
    ends = [
        pd.Timestamp(YEAR - age * MONTH, unit="s", tz="UTC") for age in range(len(verdicts))[::-1]
    ]
    reports = [found.tests.assign(until=end) for found, end in zip(verdicts, ends)]
    return pd.concat(reports, ignore_index=True)


@pytest.mark.parametrize("fault", ["drift", "stuck"])
def test_a_first_alarm_waits_and_the_second_is_one(
    month: pd.DataFrame, reference: pd.DataFrame, patient: SoftSensor, fault: str
) -> None:
    faulty = {
        "drift": moved(month, "ph", 2.0, patient),
        "stuck": month.assign(ph_std=month["ph_std"].where(month.index >= 8, 0.0)),
    }[fault]
    healthy = _judge(month, reference, patient)
    first = _judge(faulty, reference, patient)
    assert (first.status, first.sensors, first.unconfirmed) == (Status.WATCH, [], ["ph"])
    assert Status.ALARM not in set(first.tests["status"])
    second = _judge(faulty, reference, patient, _reported(first))
    assert (second.status, second.sensors, second.unconfirmed) == (Status.ALARM, ["ph"], [])
    # Two of three: one healthy month between them, but not two.
    assert _judge(faulty, reference, patient, _reported(first, healthy)).status == Status.ALARM
    assert (
        _judge(faulty, reference, patient, _reported(first, healthy, healthy)).status
        == Status.WATCH
    )
    # A confirmed alarm confirms the next one.
    assert _judge(faulty, reference, patient, _reported(second)).status == Status.ALARM
    # What has passed is not brought up again.
    assert _judge(month, reference, patient, _reported(first, second)).status == Status.NO_DRIFT


def test_a_watch_behind_which_no_alarm_waits_confirms_nothing(
    month: pd.DataFrame, reference: pd.DataFrame, patient: SoftSensor
) -> None:
    beyond = _reported(_judge(month, reference, patient))
    own = (beyond["part"] == "ph") & (beyond["indicator"] == "outside training")
    assert own.sum() == 1
    beyond.loc[own, "status"] = Status.WATCH
    beyond.loc[own, ["p_holm", "shift"]] = [1e-6, 0.5]
    found = _judge(moved(month, "ph", 2.0, patient), reference, patient, beyond)
    assert (found.status, found.unconfirmed) == (Status.WATCH, ["ph"])


def test_the_alarm_of_another_sensor_confirms_nothing(
    month: pd.DataFrame, reference: pd.DataFrame, patient: SoftSensor
) -> None:
    other = _judge(moved(month, "druck1", 2.0, patient), reference, patient)
    found = _judge(moved(month, "ph", 2.0, patient), reference, patient, _reported(other))
    assert (found.status, found.unconfirmed) == (Status.WATCH, ["ph"])
    both = moved(moved(month, "ph", 2.0, patient), "druck1", 2.0, patient)
    found = _judge(both, reference, patient, _reported(other))
    assert (found.status, found.sensors, found.unconfirmed) == (Status.ALARM, ["druck1"], ["ph"])
    own = found.tests[(found.tests["part"] == "ph") & (found.tests["kind"] == Kind.DRIFT)]
    assert Status.ALARM not in set(own["status"]) and Status.WATCH in set(own["status"])


def test_without_a_rule_the_first_alarm_counts_and_history_does_not(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    faulty, healthy = moved(month, "ph", 2.0, spec), _judge(month, reference, spec)
    found = _judge(faulty, reference, spec, _reported(healthy, healthy))
    assert (found.status, found.sensors, found.unconfirmed) == (Status.ALARM, ["ph"], [])


@pytest.mark.slow
def test_the_backtest_of_a_healthy_year_has_hardly_an_alarm(spec: SoftSensor) -> None:
    """At a true 1 % of 12 months, more than one has a chance of 1 in 160."""
    tried = verdict.backtest(plant(spec, 1).phases(600, months=12), spec)
    assert list(tried) == ["month", "rows", "status", "sensors"]
    assert tried["month"].head(3).tolist() == ["1970-01", "1970-02", "1970-03"]
    assert len(tried) == 12
    assert tried["rows"].between(20, 90).all()
    assert (tried["status"] == Status.ALARM).sum() <= 1
    assert ((tried["sensors"] != "") == (tried["status"] == Status.ALARM)).all()


def test_the_backtest_names_the_month_and_the_sensor_that_were_faulty(spec: SoftSensor) -> None:
    reference = plant(spec, 3).phases(600, months=12)
    may = pd.to_datetime(reference["last_timestamp"], unit="s").dt.month == 5
    size = 1.5 * unit("ph", reference, spec)
    tried = verdict.backtest(moved(reference, "ph", size, spec).where(may, reference), spec)
    reported = tried.set_index("month").loc["1970-05"]
    assert (reported["status"], reported["sensors"]) == (Status.ALARM, "ph")
    assert (tried["status"] == Status.ALARM).sum() <= 2


def test_a_reference_of_one_month_has_no_backtest(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    assert (reference["last_timestamp"] < MONTH).all()
    tried = verdict.backtest(reference, spec)
    assert tried.empty
    assert list(tried) == ["month", "rows", "status", "sensors"]


def test_months_of_few_rows_are_left_out_of_the_backtest(spec: SoftSensor) -> None:
    works = plant(spec, 4)
    reference = pd.concat(
        [works.phases(rows, start=40 * 86_400 * age) for age, rows in enumerate((100, 10, 100))],
        ignore_index=True,
    )
    tried = verdict.backtest(reference, spec)
    assert 10 not in set(tried["rows"])
    assert len(tried) >= 2
