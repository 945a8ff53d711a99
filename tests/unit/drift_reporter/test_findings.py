"""Findings in words: who, what, since when, how sure, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter.drift_tests import ALARM, OK, PREDICTION, WATCH
from src.components.drift_reporter.findings import ADVICE, WORDS, Finding, findings, notes
from src.components.drift_reporter.verdict import CHECK, DRIFT, LABORATORY, Verdict, backtest, judge
from src.soft_sensor import Confirmation, SoftSensor
from tests.builders.months import NO_PAST, NO_REPORTS, YEAR, moved, of_the_ledger, phases, plant
from tests.builders.plant import units

pytestmark = pytest.mark.usefixtures("small_heap")

LOSSES = {"bias", "error", "coverage"}


@pytest.fixture(name="usual", scope="module")
def fixture_usual(spec: SoftSensor) -> pd.DataFrame:
    """600 phases of sensors that have much in common."""
    return phases(spec, 300, 1, common=0.9)


@pytest.fixture(name="month", scope="module")
def fixture_month(spec: SoftSensor) -> pd.DataFrame:
    """A healthy month of 200 of such phases."""
    return of_the_ledger(phases(spec, 100, 2, start=YEAR, common=0.9))


def _found(month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor) -> list[Finding]:
    return findings(judge(month, usual, NO_PAST, None, NO_REPORTS, spec), usual, spec)


def _verdict(*tests: dict[str, Any]) -> Verdict:
    """A verdict with tests of which only what matters is said."""
    usual = {"kind": DRIFT, "part": "ph", "indicator": "level", "shift": 1.0, "apart": 0.5}
    usual |= {"p_holm": 1e-4}
    table = pd.DataFrame([usual | {"status": ALARM} | test for test in tests])
    return Verdict(
        status=ALARM,
        sensors=[],
        tests=table,
        onsets={},
        smallest_shift=0.5,
        short={},
        unconfirmed=[],
    )


def test_each_finding_has_words_and_advice() -> None:
    assert set(WORDS) - LOSSES == set(ADVICE) - {"loss", "process"}
    assert LOSSES < set(WORDS)


def test_the_words_cover_all_that_is_tested(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    past = {"experiments": 600, "days": 360.0, "last_timestamp": YEAR, "judged": 10, "open": 1}
    verdict = judge(month.assign(verdict="clean"), usual, past, None, NO_REPORTS, spec)
    assert set(verdict.tests["indicator"]) == set(WORDS) - LOSSES


def test_a_healthy_month_has_no_findings(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    assert not _found(month, usual, spec)


def test_a_drifted_sensor_is_named_by_its_title_with_unit_and_day(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    late = month["last_timestamp"] >= month["last_timestamp"].iloc[80]
    faulty = moved(month, "leitfaehigkeit", 4.0, spec).where(late, month)
    (finding,) = _found(faulty, usual, spec)
    assert finding.status == ALARM
    assert finding.what.startswith("conductivity (leitfaehigkeit): ")
    day = pd.Timestamp(month["last_timestamp"].iloc[80], unit="s")
    assert finding.what.endswith(f", since {day.day} December 1970")
    assert " uS/cm)" in finding.what
    assert finding.sure == "chance alone says so in fewer than one of a million healthy months"
    # The peers see it best.
    assert finding.advice == ADVICE["peer"]


def test_the_shift_is_told_in_the_unit_of_the_sensor(usual: pd.DataFrame, spec: SoftSensor) -> None:
    usual = moved(usual, "leitfaehigkeit", 0, spec)
    usual["leitfaehigkeit_median"] *= 1000
    tests = [{"part": "leitfaehigkeit", "shift": -0.5}, {"part": "ph", "shift": 0.5}]
    conductivity, acidity = (finding.what for finding in findings(_verdict(*tests), usual, spec))
    words, told = conductivity.rstrip(")").split(" (about ")
    assert words == "conductivity (leitfaehigkeit): level -0.50 SD"
    value, measure = told.split()
    assert measure == "uS/cm"
    assert float(value) == pytest.approx(-500, rel=0.1)
    # pH has no unit.
    assert acidity.startswith("pH (ph): level +0.50 SD (about +0.5") or "(about +0.4" in acidity
    assert acidity.count(" ") == 6 and acidity.endswith(")")


def test_a_fault_from_the_beginning_is_told_to_be_older(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    (finding,) = _found(moved(month, "ph", 4.0, spec), usual, spec)
    assert finding.what.startswith("pH (ph): ")
    assert finding.what.endswith(", since before this month")


def test_a_sensor_that_drifts_and_fails_has_a_finding_of_each(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    faulty = moved(month, "ph", 4.0, spec)
    faulty.loc[:20, spec.features_of(spec.sensors[3])] = np.nan
    drifted, lost = _found(faulty, usual, spec)
    assert drifted.what.endswith(", since before this month")
    assert lost.what == "pH (ph): 10 points more phases without values than usual"
    assert lost.advice == ADVICE["missing"]


@pytest.mark.parametrize(
    ("indicator", "kind"),
    [
        *((name, DRIFT) for name in ("level", "noise", "scatter", "peer", PREDICTION)),
        *((name, CHECK) for name in ("missing", "stuck", "out of bounds", "outside training")),
        *((name, CHECK) for name in ("mix", "experiments", "uncertain")),
        *((name, LABORATORY) for name in sorted(LOSSES)),
    ],
)
def test_the_advice_is_that_of_the_indicator(
    usual: pd.DataFrame, spec: SoftSensor, indicator: str, kind: str
) -> None:
    part = {PREDICTION: "oberflaechenspannung"}.get(indicator, "ph")
    part = {LABORATORY: "oberflaechenspannung"}.get(kind, part)
    part = "" if indicator in ("mix", "experiments", "uncertain") else part
    test = {"kind": kind, "part": part, "indicator": indicator, "shift": -0.257}
    (finding,) = findings(_verdict(test), usual, spec)
    assert finding.advice == ADVICE["loss" if kind == LABORATORY else indicator]
    assert "{" not in finding.what
    title = {"ph": "pH (ph): ", "": ""}.get(part, "surface tension (oberflaechenspannung): ")
    assert finding.what.startswith(title)
    assert "26" in finding.what


def test_the_surest_indicator_of_a_sensor_gives_the_advice(
    usual: pd.DataFrame, spec: SoftSensor
) -> None:
    tests = [{"indicator": "level", "p_holm": 1e-3}, {"indicator": "noise", "p_holm": 1e-9}]
    (finding,) = findings(_verdict(*tests), usual, spec)
    assert "level +1.00 SD" in finding.what and "noise +1.00 SD" in finding.what
    assert finding.advice == ADVICE["noise"]
    assert "million" in finding.sure


@pytest.mark.parametrize("size", [0.6, 2.0])
def test_sensors_that_moved_together_are_read_as_the_process(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor, size: float
) -> None:
    for sensor in spec.sensors:
        month = moved(month, sensor.name, size, spec)
    found = _found(month, usual, spec)
    assert len(found) == len(spec.sensors)
    assert {finding.advice for finding in found} == {ADVICE["process"]}


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 2.0])
@pytest.mark.parametrize(
    "names, process",
    [
        (("truebung", "ph", "leitfaehigkeit"), True),
        (("ph", "leitfaehigkeit"), True),
        (("druck1", "leitfaehigkeit"), False),
        (("druck1", "ph"), False),
    ],
)
def test_in_laundry_water_related_sensors_are_the_process_and_unrelated_ones_are_not(
    spec: SoftSensor, names: tuple[str, ...], process: bool, size: float
) -> None:
    laundry = plant(spec, 3)
    usual = laundry.phases(1000, months=12)
    month = of_the_ledger(laundry.phases(200, start=YEAR))
    for name in names:
        month = moved(month, name, size * units(spec)[name], spec)
    found = _found(month, usual, spec)
    alarms = [finding.advice for finding in found if finding.status == ALARM]
    assert [advice == ADVICE["process"] for advice in alarms] == [process] * len(names)


def test_two_probes_with_faults_of_their_own_are_not_the_process(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    for name, size in (("ph", 1.0), ("leitfaehigkeit", -1.0)):
        month = moved(month, name, size, spec)
    found = _found(month, usual, spec)
    assert len(found) == 2
    assert ADVICE["process"] not in {finding.advice for finding in found}


@pytest.mark.parametrize("own", [{"apart": -1.2}, {"indicator": "noise", "shift": 2.0}])
def test_a_sensor_with_a_fault_of_its_own_did_not_move_together(
    usual: pd.DataFrame, spec: SoftSensor, own: dict[str, Any]
) -> None:
    tests = [{"part": part} for part in ("druck1", "fluss1")]
    found = findings(_verdict(*tests, {"part": "ph", **own}), usual, spec)
    assert [finding.advice == ADVICE["process"] for finding in found] == [True, True, False]


def test_one_sensor_that_moved_is_not_the_process(usual: pd.DataFrame, spec: SoftSensor) -> None:
    (finding,) = findings(_verdict({}), usual, spec)
    assert finding.advice == ADVICE["level"]


def test_alarms_come_first(usual: pd.DataFrame, spec: SoftSensor) -> None:
    tests = [
        {"part": "", "kind": CHECK, "indicator": "mix", "status": WATCH},
        {"part": "druck1", "status": OK},
        {"part": "ph", "indicator": "noise", "status": WATCH},
        {"part": "ph"},
    ]
    found = findings(_verdict(*tests), usual, spec)
    assert [finding.status for finding in found] == [ALARM, WATCH]
    assert found[0].what.startswith("pH (ph): noise")
    assert found[1].what == "the share of washing has changed by +100 points"


def test_an_alarm_that_waits_says_so(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    rules = spec.monitoring.model_copy(update={"confirm": Confirmation(need=2, of=3)})
    patient = spec.model_copy(update={"monitoring": rules})
    (finding,) = _found(moved(month, "ph", 4.0, spec), usual, patient)
    assert finding.status == WATCH
    assert finding.what.endswith("waits for another month to confirm it")


@pytest.mark.parametrize(
    ("p_holm", "words"),
    [
        (np.nan, "a rule, not a test"),
        (0.0421, "chance alone says so in about 4.2% of healthy months"),
        (0.001, "chance alone says so in about 0.1% of healthy months"),
        (0.0009, "chance alone says so in fewer than one of 1,000 healthy months"),
        (1e-9, "chance alone says so in fewer than one of a million healthy months"),
        (0.0, "chance alone says so in fewer than one of a million healthy months"),
    ],
)
def test_how_sure_a_finding_is(
    usual: pd.DataFrame, spec: SoftSensor, p_holm: float, words: str
) -> None:
    (finding,) = findings(_verdict({"p_holm": p_holm}), usual, spec)
    assert finding.sure == words


def test_notes_tell_how_much_was_seen(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    verdict = judge(month, usual, NO_PAST, None, NO_REPORTS, spec)
    lines = notes(month, verdict, backtest(usual, spec), spec)
    assert lines[0] == "Looked at 100 washing and 100 rinsing phases of 100 experiments."
    assert f"shifted by {verdict.smallest_shift:.2f} SD or more would" in lines[1]
    assert "one month only" in lines[2]


def test_notes_tell_what_could_not_be_seen(
    month: pd.DataFrame, usual: pd.DataFrame, spec: SoftSensor
) -> None:
    few = month.head(10)
    verdict = judge(few, usual, NO_PAST, None, NO_REPORTS, spec)
    lines = notes(few, verdict, backtest(usual, spec), spec)
    for name in ("washing", "rinsing"):
        assert (
            f"Of {name} there are 5 phases in the month and 300 in the reference, 8 are needed in "
            "both: nothing can be said of it."
        ) in lines
    assert not any("chance of 80 %" in line for line in lines)


@pytest.mark.slow
def test_notes_tell_how_the_reference_itself_would_have_been_called(spec: SoftSensor) -> None:
    usual = plant(spec, 3).phases(300, months=4)
    tried = backtest(usual, spec)
    month = of_the_ledger(plant(spec, 4).phases(100, start=YEAR))
    verdict = judge(month, usual, NO_PAST, None, NO_REPORTS, spec)
    alarms, watches = (int((tried["status"] == status).sum()) for status in (ALARM, WATCH))
    assert notes(month, verdict, tried, spec)[-1] == (
        f"Backtest: of {len(tried)} months of the reference, each against the others, {alarms} "
        f"would have been an alarm and {watches} a watch."
    )
