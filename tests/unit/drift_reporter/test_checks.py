"""Changes of a month other than drift: each check reports its own kind of change and no other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components.drift_reporter import checks, gather
from src.components.drift_reporter.checks import CHECKS, Result
from src.components.drift_reporter.evidence import Past
from src.components.drift_reporter.status import Status
from src.components.predictor.flags import joined, quality_flags
from src.components.predictor.judgement import Judgement
from src.soft_sensor import Phase, SoftSensor
from tests.builders.months import YEAR, compared, of_the_ledger, phases, plant
from tests.builders.plant import MONTH

Pair = tuple[pd.DataFrame, pd.DataFrame]  # a month and its reference


@pytest.fixture(name="pair", scope="module")
def fixture_pair(spec: SoftSensor) -> Pair:
    """A healthy month of 100 phases and a reference of 400."""
    return of_the_ledger(phases(spec, 50, 2, start=YEAR)), phases(spec, 200, 1)


def _checked(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor, past: Past = Past()
) -> pd.DataFrame:
    return checks.checks(replace(compared(month, reference, spec), past=past), spec)


def _reported(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> list[tuple[str, str]]:
    """The checks that have a finding, as part and indicator."""
    results = _checked(month, reference, spec)
    results = results[results["status"] != Status.NO_DRIFT]
    return list(results[["part", "indicator"]].itertuples(index=False, name=None))


def _status(results: pd.DataFrame, part: str, indicator: str) -> str:
    chosen = results[(results["part"] == part) & (results["indicator"] == indicator)]
    return str(chosen["status"].item())


def test_healthy_months_hardly_ever_have_a_finding(spec: SoftSensor) -> None:
    """A kind of check has a false finding in less than 1 % of months, four kinds in less than 4 %.

    At a true 4 % of 12, more than 3 have a chance of 1 in 1,000.
    """
    works, false_findings = plant(spec, 1), 0
    reference = works.phases(1000, months=12)
    for sensor in spec.sensors:
        extreme = gather.extremes(reference, spec.features_of(sensor), spec)
        reference[f"{sensor.name}_outside_training"] = extreme
    counts = {f"{sensor.name}_out_of_bounds": 0 for sensor in spec.sensors}
    for _ in range(12):
        month = works.phases(100, start=YEAR).assign(**counts)
        month["first_timestamp"] = month["last_timestamp"] - 1500
        flags = joined(quality_flags(month, reference, spec))
        false_findings += bool(_reported(of_the_ledger(month).assign(flags=flags), reference, spec))
    assert false_findings <= 3


def test_every_check_says_how_many_rows_it_saw_and_how_much_has_changed(
    pair: Pair, spec: SoftSensor
) -> None:
    month, reference = pair
    past = Past(experiments=600, days=360.0, last_timestamp=YEAR, judged=10, uncertain=1)
    results = _checked(month.assign(verdict=Judgement.CLEAN), reference, spec, past)
    assert results["indicator"].unique().tolist() == [check.name for check in CHECKS]
    missing = results[results["indicator"] == "missing"]
    assert missing["part"].tolist() == [sensor.name for sensor in spec.sensors]
    assert set(missing["reference_rows"]) == {400} and set(missing["rows"]) == {100}


@pytest.mark.parametrize(
    ("lost", "lost_before", "status"),
    [
        pytest.param(20, 20, Status.ALARM, id="20 instead of 5 %"),
        pytest.param(100, 0, Status.ALARM, id="all"),
        pytest.param(5, 20, Status.NO_DRIFT, id="5 %, as before"),
        pytest.param(1, 0, Status.NO_DRIFT, id="one"),
        pytest.param(0, 200, Status.NO_DRIFT, id="none instead of half"),
        pytest.param(100, 400, Status.NO_DRIFT, id="all, as before"),
    ],
)
def test_more_missing_values_than_usual_are_an_alarm(
    pair: Pair, spec: SoftSensor, lost: int, lost_before: int, status: str
) -> None:
    month, reference = (table.copy() for table in pair)
    month.loc[month.index[:lost], spec.features_of(spec.sensors[3])] = np.nan
    reference.loc[reference.index[:lost_before], spec.features_of(spec.sensors[3])] = np.nan
    results = _checked(month, reference, spec)
    assert _status(results, "ph", "missing") == status
    others = results[(results["indicator"] == "missing") & (results["part"] != "ph")]
    assert set(others["status"]) == {Status.NO_DRIFT}
    change = results.loc[(results["part"] == "ph") & (results["indicator"] == "missing"), "shift"]
    assert change.item() == pytest.approx(lost / 100 - lost_before / 400)


def test_small_changes_are_not_reported_however_significant(spec: SoftSensor) -> None:
    month, reference = of_the_ledger(phases(spec, 2000, 2)), phases(spec, 2000, 1)
    month.loc[month.index[:160], "ph_median"] = np.nan  # 4 %
    results = _checked(month, reference, spec)
    results = results[(results["part"] == "ph") & (results["indicator"] == "missing")]
    assert results["p_holm"].item() < 1e-9
    assert results["status"].item() == Status.NO_DRIFT


def test_one_missing_value_in_ten_may_be_luck(pair: Pair, spec: SoftSensor) -> None:
    month, reference = pair
    month = month.head(10).copy()
    month.loc[0, "ph_median"] = np.nan
    results = _checked(month, reference, spec)
    assert _status(results, "ph", "missing") == Status.NO_DRIFT
    month.loc[1, "ph_median"] = np.nan
    results = _checked(month, reference, spec)
    assert _status(results, "ph", "missing") == Status.ALARM


def test_readings_out_of_bounds_are_an_alarm(pair: Pair, spec: SoftSensor) -> None:
    month, reference = pair
    flags = np.where(np.arange(100) < 20, "few_samples,ph_out_of_bounds", "few_samples")
    month = month.assign(flags=flags)
    assert _reported(month, reference, spec) == [("ph", "out of bounds")]
    # As many as ever: the reference counts the readings.
    counts = np.where(np.arange(400) < 80, 3.0, 0.0)
    assert not _reported(month, reference.assign(ph_out_of_bounds=counts), spec)


def test_a_flag_of_another_sensor_with_a_longer_name_is_not_counted(
    pair: Pair, spec: SoftSensor
) -> None:
    month, reference = pair
    named = spec.sensors[0].model_copy(update={"name": "outer_ph"})
    both = spec.model_copy(update={"sensors": (named, spec.sensors[3])})
    for statistic in spec.statistics:
        month, reference = (
            table.assign(**{f"outer_ph_{statistic}": table[f"truebung_{statistic}"]})
            for table in (month, reference)
        )
    month = month.assign(flags="outer_ph_out_of_bounds")
    assert _reported(month, reference, both) == [("outer_ph", "out of bounds")]


def test_inputs_that_the_model_never_saw_are_a_watch(pair: Pair, spec: SoftSensor) -> None:
    month, reference = pair
    month = month.assign(flags=np.where(np.arange(100) < 40, "ph_outside_training", ""))
    results = _checked(month, reference, spec)
    assert _status(results, "ph", "outside training") == Status.WATCH
    assert _reported(month, reference, spec) == [("ph", "outside training")]
    # As many as ever: an accepted month had them too.
    seen = reference.assign(ph_outside_training=np.where(np.arange(400) < 160, 1.0, 0.0))
    assert not _reported(month, seen, spec)


@pytest.mark.slow
def test_extremes_are_as_frequent_as_new_rows_outside_the_range(spec: SoftSensor) -> None:
    """The mean of 30 references, each known to about a point."""
    features = spec.features_of(spec.sensors[0])
    fresh = phases(spec, 1000, 999)
    expected, seen = [], []
    for seed in range(30):
        reference = phases(spec, 40, seed)
        expected.append(gather.extremes(reference, features, spec).mean())
        grouped = reference.groupby(spec.columns.phase)[features]
        low, high = (
            table.loc[fresh[spec.columns.phase]].to_numpy()
            for table in (grouped.min(), grouped.max())
        )
        seen.append(((fresh[features] < low) | (fresh[features] > high)).any(axis=1).mean())
    assert np.mean(expected) == pytest.approx(np.mean(seen), abs=0.02)
    assert np.mean(seen) > 0.05


@pytest.mark.parametrize(
    ("still", "still_before", "status"),
    [
        pytest.param(10, 0, Status.ALARM, id="a tenth"),
        pytest.param(5, 0, Status.ALARM, id="5 points"),
        pytest.param(4, 0, Status.NO_DRIFT, id="less than 5 points"),
        pytest.param(10, 40, Status.NO_DRIFT, id="a tenth, as before"),
    ],
)
def test_a_sensor_that_repeats_one_value_is_an_alarm(
    pair: Pair, spec: SoftSensor, still: int, still_before: int, status: str
) -> None:
    month, reference = (table.copy() for table in pair)
    month.loc[month.index[:still], "druck1_std"] = 0.0
    reference.loc[reference.index[:still_before], "druck1_std"] = 0.0
    results = _checked(month, reference, spec)
    assert _status(results, "druck1", "stuck") == status
    others = results[(results["indicator"] == "stuck") & (results["part"] != "druck1")]
    assert set(others["status"]) == {Status.NO_DRIFT}


def test_one_still_phase_is_not_enough_to_call_a_sensor_stuck(pair: Pair, spec: SoftSensor) -> None:
    month, reference = pair
    month = month.head(10).copy()
    month.loc[0, "druck1_std"] = 0.0
    assert ("druck1", "stuck") not in _reported(month, reference, spec)
    month.loc[1, "druck1_std"] = 0.0
    assert ("druck1", "stuck") in _reported(month, reference, spec)


def test_phases_of_one_reading_are_not_stuck(pair: Pair, spec: SoftSensor) -> None:
    month, reference = pair
    single = np.arange(100) < 10
    spread = {
        f"{sensor.name}_std": month[f"{sensor.name}_std"].mask(single, 0) for sensor in spec.sensors
    }
    month = month.assign(**spread)
    assert {indicator for _, indicator in _reported(month, reference, spec)} == {"stuck"}
    assert not _reported(month.assign(n_samples=np.where(single, 1, 1000)), reference, spec)
    assert not _reported(month.assign(n_samples=1), reference, spec)


def _phases(washing: int, rinsing: int) -> pd.DataFrame:
    return pd.DataFrame({"waschen": [1] * washing + [0] * rinsing, "last_timestamp": 0.0})


def _mix(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> Result:
    (result,) = checks.mix(compared(month, reference, spec), spec)
    return result


def test_another_mix_of_phases_is_reported(spec: SoftSensor) -> None:
    reference = _phases(500, 500)
    result = _mix(_phases(80, 20), reference, spec)
    assert result.significant
    assert result.shift == pytest.approx(0.3)  # of the first phase of params.yaml, washing
    assert not _mix(_phases(55, 45), reference, spec).significant
    assert not _mix(_phases(4, 1), reference, spec).significant  # of five, that is luck
    assert not _mix(_phases(5500, 4500), reference, spec).significant  # certain, but small
    assert _mix(_phases(1, 50), reference, spec).significant
    assert _mix(_phases(0, 50), reference, spec).significant


def test_the_mix_of_one_or_three_kinds_of_phases(spec: SoftSensor) -> None:
    one = spec.model_copy(update={"phases": spec.phases[:1]})
    assert not _mix(_phases(50, 0), _phases(500, 0), one).significant
    spinning = Phase(name="spinning", value=2, label="D1")
    three = spec.model_copy(update={"phases": (*spec.phases, spinning)})
    reference = pd.DataFrame({"waschen": [0, 1, 2] * 200, "last_timestamp": 0.0})
    same, other = reference.head(90), reference[reference["waschen"] != 2].head(90)
    assert not _mix(same, reference, three).significant
    assert _mix(other, reference, three).significant
    # A kind of phase that occurs in neither does not matter.
    assert not _mix(_phases(50, 50), _phases(500, 500), three).significant


@settings(max_examples=50, deadline=None)
@given(*(st.integers(0, 60) for _ in range(4)))
def test_any_numbers_of_phases_have_a_mix(
    spec: SoftSensor, washing: int, rinsing: int, washed: int, rinsed: int
) -> None:
    result = _mix(_phases(washing, rinsing), _phases(washed, rinsed), spec)
    assert 0 <= result.p <= 1
    assert abs(result.shift) <= 1


def _experiments(count: int, seed: int = 0) -> pd.DataFrame:
    """That many experiments, the last of them at the end of the month after a year."""
    random = np.random.default_rng(seed)
    stamps = np.sort(random.uniform(YEAR, YEAR + MONTH, count))
    stamps[-1] = YEAR + MONTH
    return pd.DataFrame({"experimentnummer": range(count), "last_timestamp": stamps})


PAST = Past(experiments=1200, days=360.0, last_timestamp=YEAR)  # 100 a month


def _fewer(month: pd.DataFrame, past: Past, spec: SoftSensor) -> list[Result]:
    return checks.experiments(replace(compared(month, month, spec), past=past), spec)


def test_half_as_many_experiments_as_usual_are_reported(spec: SoftSensor) -> None:
    (result,) = _fewer(_experiments(45), PAST, spec)
    assert result.significant
    assert result.shift == pytest.approx(45 / 100 - 1, abs=0.01)
    for count in (70, 100, 300):
        assert not _fewer(_experiments(count), PAST, spec)[0].significant


def test_few_experiments_may_be_luck(spec: SoftSensor) -> None:
    past = replace(PAST, experiments=36)  # three a month
    assert not _fewer(_experiments(1), past, spec)[0].significant


def test_without_a_past_numbers_of_experiments_cannot_be_compared(spec: SoftSensor) -> None:
    assert not _fewer(_experiments(5), Past(), spec)
    # Nor when all phases are older than those before.
    late = _experiments(5).assign(last_timestamp=YEAR - 1.0)
    assert not _fewer(late, PAST, spec)


def test_numbers_of_experiments_vary_as_they_do_in_healthy_months(spec: SoftSensor) -> None:
    """p is below 5 % in at most 5 % of months: of 400, more than 36 have a chance of 1 in 4,000."""
    random, low = np.random.default_rng(0), 0
    for _ in range(400):
        past = replace(PAST, experiments=int(random.poisson(240)))
        month = _experiments(max(1, int(random.poisson(20))))
        low += _fewer(month, past, spec)[0].p < 0.05
    assert 4 <= low <= 36


def _uncertain(verdicts: list[str | None], past: Past, spec: SoftSensor) -> list[Result]:
    month = pd.DataFrame({"verdict": verdicts, "last_timestamp": 0.0})
    return checks.uncertain(replace(compared(month, month, spec), past=past), spec)


def test_more_uncertain_verdicts_are_reported(spec: SoftSensor) -> None:
    past = Past(judged=500, uncertain=50)
    reference: list[str | None] = [*[Judgement.UNCERTAIN] * 6, *[Judgement.CLEAN] * 44, *[""] * 50]
    more: list[str | None] = [*[Judgement.UNCERTAIN] * 20, *[Judgement.CLEAN] * 30, *[""] * 50]
    assert not _uncertain(reference, past, spec)[0].significant
    (result,) = _uncertain(more, past, spec)
    assert result.significant
    assert (result.rows, result.reference_rows) == (50, 500)
    assert result.shift == pytest.approx(0.3)
    assert not _uncertain(more, Past(judged=500, uncertain=400), spec)[0].significant


@pytest.mark.parametrize(
    ("verdicts", "past"),
    [
        pytest.param([Judgement.UNCERTAIN] * 20, Past(), id="no past"),
        pytest.param(["", ""], Past(judged=500, uncertain=50), id="nothing judged"),
        pytest.param([None, None], Past(judged=500, uncertain=50), id="old rows"),
    ],
)
def test_without_verdicts_there_is_nothing_to_compare(
    verdicts: list[str | None], past: Past, spec: SoftSensor
) -> None:
    assert not _uncertain(verdicts, past, spec)


def test_only_failing_sensors_are_an_alarm() -> None:
    alarms = {check.name for check in CHECKS if check.status == Status.ALARM}
    assert alarms == {"missing", "out of bounds", "stuck"}
