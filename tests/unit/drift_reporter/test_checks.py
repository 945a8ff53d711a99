"""What is odd in a month and no drift: each check speaks of what it is for, and else is silent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components.drift_reporter import checks
from src.components.drift_reporter.drift_tests import ALARM, OK, WATCH
from src.components.predictor.flags import joined, quality_flags
from src.components.predictor.judgement import Judgement
from src.soft_sensor import Phase, SoftSensor
from tests.builders.months import NO_PAST, YEAR, of_the_ledger, phases, plant
from tests.builders.plant import MONTH

pytestmark = pytest.mark.usefixtures("small_heap")

Pair = tuple[pd.DataFrame, pd.DataFrame]  # a month and its reference


@pytest.fixture(name="pair", scope="module")
def fixture_pair(spec: SoftSensor) -> Pair:
    """A healthy month of 100 phases and a reference of 400."""
    return of_the_ledger(phases(spec, 50, 2, start=YEAR)), phases(spec, 200, 1)


def _odd(month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor) -> list[tuple[str, str]]:
    """The checks that have a finding, as part and indicator."""
    found = checks.checks(month, usual, NO_PAST, spec)
    found = found[found["status"] != OK]
    return list(found[["part", "indicator"]].itertuples(index=False, name=None))


def _status(found: pd.DataFrame, part: str, indicator: str) -> str:
    chosen = found[(found["part"] == part) & (found["indicator"] == indicator)]
    return str(chosen["status"].item())


@pytest.mark.slow
def test_healthy_months_are_hardly_ever_odd(spec: SoftSensor) -> None:
    """A kind of check speaks in less than 1 % of healthy months, four kinds in less than 4 %.

    At a true 4 % of 12, more than 3 have a chance of 1 in 1,000.
    """
    works, odd = plant(spec, 1), 0
    usual = works.phases(1000, months=12)
    for sensor in spec.sensors:
        extreme = checks.extremes(usual, spec.features_of(sensor), spec)
        usual[f"{sensor.name}_outside_training"] = extreme
    counts = {f"{sensor.name}_out_of_bounds": 0 for sensor in spec.sensors}
    for _ in range(12):
        month = works.phases(100, start=YEAR).assign(**counts)
        month["first_timestamp"] = month["last_timestamp"] - 1500
        flags = joined(quality_flags(month, usual, spec))
        odd += bool(_odd(of_the_ledger(month).assign(flags=flags), usual, spec))
    assert odd <= 3


def test_every_check_says_how_many_rows_it_saw_and_how_much_has_changed(
    pair: Pair, spec: SoftSensor
) -> None:
    month, usual = pair
    past = {"experiments": 600, "days": 360.0, "last_timestamp": YEAR, "judged": 10, "open": 1}
    found = checks.checks(month.assign(verdict=Judgement.CLEAN), usual, past, spec)
    assert set(found["indicator"]) == {
        *("mix", "missing", "out of bounds", "outside training"),
        *("stuck", "experiments", "uncertain"),
    }
    missing = found[found["indicator"] == "missing"]
    assert missing["part"].tolist() == [sensor.name for sensor in spec.sensors]
    assert set(missing["reference_rows"]) == {400} and set(missing["rows"]) == {100}


@pytest.mark.parametrize(
    ("lost", "lost_before", "status"),
    [
        pytest.param(20, 20, ALARM, id="20 instead of 5 %"),
        pytest.param(100, 0, ALARM, id="all"),
        pytest.param(5, 20, OK, id="5 %, as before"),
        pytest.param(1, 0, OK, id="one"),
        pytest.param(0, 200, OK, id="none instead of half"),
        pytest.param(100, 400, OK, id="all, as before"),
    ],
)
def test_more_missing_values_than_usual_are_an_alarm(
    pair: Pair, spec: SoftSensor, lost: int, lost_before: int, status: str
) -> None:
    month, usual = (table.copy() for table in pair)
    month.loc[month.index[:lost], spec.features_of(spec.sensors[3])] = np.nan
    usual.loc[usual.index[:lost_before], spec.features_of(spec.sensors[3])] = np.nan
    found = checks.checks(month, usual, NO_PAST, spec)
    assert _status(found, "ph", "missing") == status
    others = found[(found["indicator"] == "missing") & (found["part"] != "ph")]
    assert set(others["status"]) == {OK}
    change = found.loc[(found["part"] == "ph") & (found["indicator"] == "missing"), "shift"]
    assert change.item() == pytest.approx(lost / 100 - lost_before / 400)


def test_small_changes_are_not_worth_a_word_however_sure(spec: SoftSensor) -> None:
    month, usual = of_the_ledger(phases(spec, 2000, 2)), phases(spec, 2000, 1)
    month.loc[month.index[:160], "ph_median"] = np.nan  # 4 %
    found = checks.checks(month, usual, NO_PAST, spec)
    found = found[(found["part"] == "ph") & (found["indicator"] == "missing")]
    assert found["p_holm"].item() < 1e-9
    assert found["status"].item() == OK


def test_one_missing_value_in_ten_may_be_luck(pair: Pair, spec: SoftSensor) -> None:
    month, usual = pair
    month = month.head(10).copy()
    month.loc[0, "ph_median"] = np.nan
    found = checks.checks(month, usual, NO_PAST, spec)
    assert _status(found, "ph", "missing") == OK
    month.loc[1, "ph_median"] = np.nan
    found = checks.checks(month, usual, NO_PAST, spec)
    assert _status(found, "ph", "missing") == ALARM


def test_readings_out_of_bounds_are_an_alarm(pair: Pair, spec: SoftSensor) -> None:
    month, usual = pair
    flags = np.where(np.arange(100) < 20, "few_samples,ph_out_of_bounds", "few_samples")
    month = month.assign(flags=flags)
    assert _odd(month, usual, spec) == [("ph", "out of bounds")]
    # As many as ever: the reference counts the readings.
    counts = np.where(np.arange(400) < 80, 3.0, 0.0)
    assert not _odd(month, usual.assign(ph_out_of_bounds=counts), spec)


def test_a_flag_of_another_sensor_with_a_longer_name_is_not_counted(
    pair: Pair, spec: SoftSensor
) -> None:
    month, usual = pair
    named = spec.sensors[0].model_copy(update={"name": "outer_ph"})
    both = spec.model_copy(update={"sensors": (named, spec.sensors[3])})
    for statistic in spec.statistics:
        month, usual = (
            table.assign(**{f"outer_ph_{statistic}": table[f"truebung_{statistic}"]})
            for table in (month, usual)
        )
    month = month.assign(flags="outer_ph_out_of_bounds")
    assert _odd(month, usual, both) == [("outer_ph", "out of bounds")]


def test_inputs_that_the_model_never_saw_are_a_watch(pair: Pair, spec: SoftSensor) -> None:
    month, usual = pair
    month = month.assign(flags=np.where(np.arange(100) < 40, "ph_outside_training", ""))
    found = checks.checks(month, usual, NO_PAST, spec)
    assert _status(found, "ph", "outside training") == WATCH
    assert _odd(month, usual, spec) == [("ph", "outside training")]
    # As many as ever: an accepted month had them too.
    seen = usual.assign(ph_outside_training=np.where(np.arange(400) < 160, 1.0, 0.0))
    assert not _odd(month, seen, spec)


@pytest.mark.slow
def test_extremes_are_as_frequent_as_new_rows_outside_the_range(spec: SoftSensor) -> None:
    """The mean of 30 references, each known to about a point."""
    features = spec.features_of(spec.sensors[0])
    fresh = phases(spec, 1000, 999)
    said, seen = [], []
    for seed in range(30):
        usual = phases(spec, 40, seed)
        said.append(checks.extremes(usual, features, spec).mean())
        grouped = usual.groupby(spec.columns.phase)[features]
        low, high = (
            table.loc[fresh[spec.columns.phase]].to_numpy()
            for table in (grouped.min(), grouped.max())
        )
        seen.append(((fresh[features] < low) | (fresh[features] > high)).any(axis=1).mean())
    assert np.mean(said) == pytest.approx(np.mean(seen), abs=0.02)
    assert np.mean(seen) > 0.05


@pytest.mark.parametrize(
    ("still", "still_before", "status"),
    [
        pytest.param(10, 0, ALARM, id="a tenth"),
        pytest.param(5, 0, ALARM, id="5 points"),
        pytest.param(4, 0, OK, id="less than 5 points"),
        pytest.param(10, 40, OK, id="a tenth, as before"),
    ],
)
def test_a_sensor_that_repeats_one_value_is_an_alarm(
    pair: Pair, spec: SoftSensor, still: int, still_before: int, status: str
) -> None:
    month, usual = (table.copy() for table in pair)
    month.loc[month.index[:still], "druck1_std"] = 0.0
    usual.loc[usual.index[:still_before], "druck1_std"] = 0.0
    found = checks.checks(month, usual, NO_PAST, spec)
    assert _status(found, "druck1", "stuck") == status
    others = found[(found["indicator"] == "stuck") & (found["part"] != "druck1")]
    assert set(others["status"]) == {OK}


def test_one_still_phase_is_not_enough_to_call_a_sensor_stuck(pair: Pair, spec: SoftSensor) -> None:
    month, usual = pair
    month = month.head(10).copy()
    month.loc[0, "druck1_std"] = 0.0
    assert ("druck1", "stuck") not in _odd(month, usual, spec)
    month.loc[1, "druck1_std"] = 0.0
    assert ("druck1", "stuck") in _odd(month, usual, spec)


def test_phases_of_one_reading_are_not_stuck(pair: Pair, spec: SoftSensor) -> None:
    month, usual = pair
    single = np.arange(100) < 10
    spread = {
        f"{sensor.name}_std": month[f"{sensor.name}_std"].mask(single, 0) for sensor in spec.sensors
    }
    month = month.assign(**spread)
    assert {indicator for _, indicator in _odd(month, usual, spec)} == {"stuck"}
    assert not _odd(month.assign(n_samples=np.where(single, 1, 1000)), usual, spec)
    assert not _odd(month.assign(n_samples=1), usual, spec)


def _dealt(washing: int, rinsing: int) -> pd.DataFrame:
    return pd.DataFrame({"waschen": [1] * washing + [0] * rinsing})


def test_another_mix_of_phases_is_a_watch(spec: SoftSensor) -> None:
    usual = _dealt(500, 500)
    test = checks.mix(_dealt(80, 20), usual, spec)
    assert test["status"] == WATCH
    assert test["shift"] == pytest.approx(0.3)  # of the first phase of params.yaml, washing
    assert checks.mix(_dealt(55, 45), usual, spec)["status"] == OK
    assert checks.mix(_dealt(4, 1), usual, spec)["status"] == OK  # of five, that is luck
    assert checks.mix(_dealt(5500, 4500), usual, spec)["status"] == OK  # sure, but small
    assert checks.mix(_dealt(0, 50), usual, spec)["status"] == WATCH


def test_the_mix_of_one_or_three_kinds_of_phases(spec: SoftSensor) -> None:
    one = spec.model_copy(update={"phases": spec.phases[:1]})
    assert checks.mix(_dealt(50, 0), _dealt(500, 0), one)["status"] == OK
    spinning = Phase(name="spinning", value=2, label="D1")
    three = spec.model_copy(update={"phases": (*spec.phases, spinning)})
    usual = pd.DataFrame({"waschen": [0, 1, 2] * 200})
    same, other = usual.head(90), pd.DataFrame({"waschen": [0, 1] * 45})
    assert checks.mix(same, usual, three)["status"] == OK
    assert checks.mix(other, usual, three)["status"] == WATCH
    # A kind that neither has is no kind.
    assert checks.mix(_dealt(50, 50), _dealt(500, 500), three)["status"] == OK


@settings(max_examples=50)
@given(*(st.integers(0, 60) for _ in range(4)))
def test_any_numbers_of_phases_have_a_mix(
    spec: SoftSensor, washing: int, rinsing: int, washed: int, rinsed: int
) -> None:
    test = checks.mix(_dealt(washing, rinsing), _dealt(washed, rinsed), spec)
    assert 0 <= test["p"] <= 1
    assert abs(test["shift"]) <= 1
    assert test["status"] in (OK, WATCH)


def _experiments(count: int, seed: int = 0) -> pd.DataFrame:
    """That many experiments, the last at the end of a month after a year."""
    random = np.random.default_rng(seed)
    stamps = np.sort(random.uniform(YEAR, YEAR + MONTH, count))
    stamps[-1] = YEAR + MONTH
    return pd.DataFrame({"experimentnummer": range(count), "last_timestamp": stamps})


PAST = NO_PAST | {"experiments": 1200, "days": 360.0, "last_timestamp": YEAR}  # 100 a month


def test_half_as_many_experiments_as_usual_are_a_watch(spec: SoftSensor) -> None:
    (test,) = checks.experiments(_experiments(45), PAST, spec)
    assert test["status"] == WATCH
    assert test["shift"] == pytest.approx(45 / 100 - 1, abs=0.01)
    for count in (70, 100, 300):
        assert checks.experiments(_experiments(count), PAST, spec)[0]["status"] == OK


def test_few_experiments_may_be_luck(spec: SoftSensor) -> None:
    past = PAST | {"experiments": 36}  # three a month
    assert checks.experiments(_experiments(1), past, spec)[0]["status"] == OK


def test_without_a_past_there_is_no_telling_how_many_experiments_are_usual(
    spec: SoftSensor,
) -> None:
    assert not checks.experiments(_experiments(5), NO_PAST, spec)
    # Nor with phases that are older than the ones before.
    late = _experiments(5).assign(last_timestamp=YEAR - 1.0)
    assert not checks.experiments(late, PAST, spec)


def test_numbers_of_experiments_vary_as_they_do_in_healthy_months(spec: SoftSensor) -> None:
    """p is below 5 % in at most 5 % of months: of 400, more than 36 have a chance of 1 in 4,000."""
    random, low = np.random.default_rng(0), 0
    for _ in range(400):
        past = PAST | {"experiments": int(random.poisson(240))}
        month = _experiments(max(1, int(random.poisson(20))))
        low += checks.experiments(month, past, spec)[0]["p"] < 0.05
    assert 4 <= low <= 36


def test_more_open_verdicts_are_a_watch() -> None:
    past = NO_PAST | {"judged": 500, "open": 50}
    usual = pd.DataFrame(
        {"verdict": [Judgement.UNCERTAIN] * 6 + [Judgement.CLEAN] * 44 + [""] * 50}
    )
    more = pd.DataFrame(
        {"verdict": [Judgement.UNCERTAIN] * 20 + [Judgement.CLEAN] * 30 + [""] * 50}
    )
    assert checks.uncertain(usual, past)[0]["status"] == OK
    (test,) = checks.uncertain(more, past)
    assert (test["status"], test["rows"], test["reference_rows"]) == (WATCH, 50, 500)
    assert test["shift"] == pytest.approx(0.3)
    fewer = checks.uncertain(more, NO_PAST | {"judged": 500, "open": 400})
    assert fewer[0]["status"] == OK


@pytest.mark.parametrize(
    ("verdicts", "past"),
    [
        pytest.param([Judgement.UNCERTAIN] * 20, NO_PAST, id="no past"),
        pytest.param(["", ""], NO_PAST | {"judged": 500, "open": 50}, id="nothing judged"),
        pytest.param([None, None], NO_PAST | {"judged": 500, "open": 50}, id="old rows"),
    ],
)
def test_without_verdicts_there_is_nothing_to_compare(
    verdicts: list[str | None], past: dict[str, Any]
) -> None:
    assert checks.uncertain(pd.DataFrame({"verdict": verdicts}), past) == []
