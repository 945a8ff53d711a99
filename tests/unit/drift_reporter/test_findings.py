"""Findings in words: which sensor, what, since when, how certain, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter.checks import CHECKS
from src.components.drift_reporter.evidence import Past
from src.components.drift_reporter.findings import ENTRIES, REPAIR_FIRST, Finding, findings
from src.components.drift_reporter.indicators import (
    PROCESS,
    SENSOR_INDICATORS,
    TARGET_INDICATORS,
)
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.performance import LOSSES
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict, judge
from src.soft_sensor import Confirmation, SoftSensor, load_soft_sensor
from tests.builders.months import (
    WORDS_OF_A_LAUNDRY,
    YEAR,
    compared,
    moved,
    of_the_ledger,
    phases,
    plant,
)
from tests.builders.plant import units
from tests.conftest import ROOT

LABORATORY_ONLY = {loss.name for loss in LOSSES}


@pytest.fixture(name="reference", scope="module")
def fixture_reference(spec: SoftSensor) -> pd.DataFrame:
    """600 phases of sensors that have much in common."""
    return phases(spec, 300, 1, common=0.9)


@pytest.fixture(name="month", scope="module")
def fixture_month(spec: SoftSensor) -> pd.DataFrame:
    """A healthy month of 200 of such phases."""
    return of_the_ledger(phases(spec, 100, 2, start=YEAR, common=0.9))


def _found(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> list[Finding]:
    evidence = compared(month, reference, spec)
    return findings(judge(evidence, spec), evidence, spec)


def _worded(verdict: Verdict, reference: pd.DataFrame, spec: SoftSensor) -> list[Finding]:
    """The findings of a verdict on a month that is like the reference."""
    return findings(verdict, compared(reference.head(50), reference, spec), spec)


def _verdict(*tests: dict[str, Any], faults: Sequence[tuple[str, ...]] = ()) -> Verdict:
    """A verdict with tests of which only what matters is given."""
    usual = {"kind": Kind.DRIFT, "part": "ph", "indicator": "peer", "shift": 1.0, "stands": True}
    usual |= {"p": 1e-6, "p_holm": 1e-4, "status": Status.ALARM}
    table = pd.DataFrame([usual | test for test in tests])
    return Verdict(
        status=Status.ALARM,
        faults=list(faults),
        tests=table,
        onsets={},
        smallest_shift=0.5,
        short={},
        unconfirmed=[],
    )


def _advice(name: str, spec: SoftSensor) -> str:
    return ENTRIES[name].advice.format(**spec.wording.model_dump())


def _process(spec: SoftSensor) -> str:
    return _advice(PROCESS.name, spec)


def test_names_are_unique_among_all_kinds() -> None:
    tables = (SENSOR_INDICATORS, TARGET_INDICATORS, (PROCESS,), CHECKS, LOSSES)
    assert len(ENTRIES) == sum(len(table) for table in tables)


def test_all_that_is_tested_has_an_entry(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    past = Past(experiments=600, days=360.0, last_timestamp=YEAR, judged=10, uncertain=1)
    evidence = replace(compared(month.assign(verdict="clean"), reference, spec), past=past)
    verdict = judge(evidence, spec)
    assert set(verdict.tests["indicator"]) == set(ENTRIES) - LABORATORY_ONLY


def test_a_healthy_month_has_no_findings(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    assert not _found(month, reference, spec)


def test_a_drifted_sensor_is_named_by_its_title_with_unit_and_day(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    late = month["last_timestamp"] >= month["last_timestamp"].iloc[80]
    faulty = moved(month, "leitfaehigkeit", 4.0, spec).where(late, month)
    (finding,) = _found(faulty, reference, spec)
    assert finding.status == Status.ALARM
    assert finding.what.startswith("conductivity: ")
    day = pd.Timestamp(month["last_timestamp"].iloc[80], unit="s")
    assert finding.what.endswith(f", since {day.day} December 1970")
    assert finding.culprit == "conductivity"
    assert [phase for phase, *_ in finding.sizes] == ["washing", "rinsing"]
    assert all(shift.endswith("µS/cm") and share.endswith("%") for _, shift, share in finding.sizes)
    assert finding.certainty.startswith("occurs by chance in ")
    assert finding.advice == _advice("peer", spec)


def test_the_difference_is_given_for_each_phase_in_the_unit_of_the_sensor(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    """A gain that is off is another difference in each phase, and the same share."""
    washing = reference["waschen"] == 1
    levels = pd.Series(np.where(washing, 2000.0, 400.0)) + reference["leitfaehigkeit_median"]
    usual = reference.assign(leitfaehigkeit_median=levels)
    off = usual.assign(leitfaehigkeit_median=1.3 * levels).head(200)
    test = {"part": "leitfaehigkeit", "indicator": "level", "shift": 0.9}
    (finding,) = findings(_verdict(test), compared(off, usual, spec), spec)
    assert finding.what == "conductivity: level shifted by +0.90 SD"
    assert finding.culprit == ""
    assert [phase for phase, *_ in finding.sizes] == ["washing", "rinsing"]
    for (_, difference, share), expected in zip(finding.sizes, (600, 120)):
        value, unit = difference.split("\N{NO-BREAK SPACE}")
        assert float(value) == pytest.approx(expected, rel=0.05) and unit == "µS/cm"
        assert share.split("\N{NO-BREAK SPACE}") == ["+30", "%"]
    assert finding.words["what"].startswith("conductivity: level shifted by +0.90 SD (washing +")


def test_a_ph_has_neither_a_unit_nor_a_share(reference: pd.DataFrame, spec: SoftSensor) -> None:
    off = reference.assign(ph_median=reference["ph_median"] + 0.5).head(200)
    test = {"part": "ph", "indicator": "level", "shift": 0.5}
    (finding,) = findings(_verdict(test), compared(off, reference, spec), spec)
    for _, difference, share in finding.sizes:
        assert float(difference) == pytest.approx(0.5, abs=0.2)
        assert share == ""


def test_a_fault_from_the_beginning_is_reported_as_older(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    (finding,) = _found(moved(month, "ph", 4.0, spec), reference, spec)
    assert finding.what.startswith("pH: ")
    assert finding.what.endswith(", since before this month")


def test_a_sensor_that_drifts_and_fails_is_one_finding_that_begins_with_the_failure(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    faulty = moved(month, "ph", 4.0, spec)
    faulty.loc[:20, spec.features_of(spec.sensors[3])] = np.nan
    (finding,) = _found(faulty, reference, spec)
    assert finding.what.startswith(
        "pH: no readings more often than usual (share of phases up by 10 percentage points), "
        "level off by +"
    )
    assert ", since before this month" in finding.what
    assert finding.advice == _advice("missing", spec)


def test_a_stuck_sensor_repeats_one_value_before_anything_else(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    faulty = moved(month, "ph", 4.0, spec).assign(ph_std=0.0)
    (finding,) = _found(faulty, reference, spec)
    assert finding.what.startswith("pH: repeats one value more often than usual")
    assert finding.advice == _advice("stuck", spec)


@pytest.mark.parametrize(
    ("indicator", "kind"),
    [
        *((name, Kind.DRIFT) for name in ("level", "noise", "scatter", "peer", "prediction")),
        *((name, Kind.CHECK) for name in ("missing", "stuck", "out of bounds", "outside training")),
        *((name, Kind.CHECK) for name in ("mix", "experiments", "uncertain")),
        *((name, Kind.LABORATORY) for name in sorted(LABORATORY_ONLY)),
    ],
)
def test_the_advice_is_that_of_the_indicator(
    reference: pd.DataFrame, spec: SoftSensor, indicator: str, kind: str
) -> None:
    of_target = indicator == "prediction" or kind == Kind.LABORATORY
    part = "oberflaechenspannung" if of_target else "ph"
    part = "" if indicator in ("mix", "experiments", "uncertain") else part
    test = {"kind": kind, "part": part, "indicator": indicator, "shift": -0.257}
    (finding,) = _worded(_verdict(test), reference, spec)
    assert finding.advice == _advice(indicator, spec)
    assert "{" not in finding.what
    title = {"ph": "pH: ", "": ""}.get(part, "surface tension: ")
    assert finding.what.startswith(title)
    assert "26" in finding.what


def test_the_most_significant_indicator_of_a_sensor_gives_the_advice(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    tests: list[dict[str, Any]] = [{"p_holm": 1e-3}, {"indicator": "noise", "p_holm": 1e-9}]
    (finding,) = _worded(_verdict(*tests), reference, spec)
    assert "level off by +1.00 SD" in finding.what
    assert "noise changed by +1.00 SD" in finding.what
    assert finding.advice == _advice("noise", spec)
    assert "million" in finding.certainty


@pytest.mark.parametrize(("size", "status"), [(0.6, Status.WATCH), (2.0, Status.ALARM)])
def test_sensors_that_moved_together_are_the_process_and_one_finding(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor, size: float, status: str
) -> None:
    """After one month nobody knows how much months differ: only a large move is an alarm."""
    for sensor in spec.sensors:
        month = moved(month, sensor.name, size, spec)
    (finding,) = _found(month, reference, spec)
    assert finding.status == status
    assert finding.what.startswith("the process moved: ")
    assert all(f"{sensor.title} +" in finding.what for sensor in spec.sensors)
    assert finding.advice == _process(spec)
    assert "do not clean or calibrate" in finding.advice
    assert "impress monitor --accept" in finding.advice


@pytest.mark.slow
@pytest.mark.parametrize("size", [1.0, 2.0])
@pytest.mark.parametrize(
    "names, process",
    [
        (("truebung", "ph", "leitfaehigkeit"), True),
        (("druck1", "leitfaehigkeit"), False),
        (("druck1", "ph"), False),
        (("ph",), False),
    ],
)
def test_in_laundry_water_three_related_sensors_are_the_process_and_fewer_are_probes(
    spec: SoftSensor, names: tuple[str, ...], process: bool, size: float
) -> None:
    laundry = plant(spec, 3)
    reference = laundry.phases(1000, months=12)
    month = of_the_ledger(laundry.phases(200, start=YEAR))
    for name in names:
        month = moved(month, name, size * units(spec)[name], spec)
    alarms = [each for each in _found(month, reference, spec) if each.status == Status.ALARM]
    if process:
        assert [finding.advice for finding in alarms] == [_process(spec)]
    else:
        assert {finding.culprit for finding in alarms} == {spec.sensor(n).title for n in names}


def test_two_probes_with_faults_of_their_own_are_not_the_process(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    for name, size in (("ph", 1.0), ("leitfaehigkeit", -1.0)):
        month = moved(month, name, size, spec)
    found = [each for each in _found(month, reference, spec) if each.status == Status.ALARM]
    assert {finding.what.split(":")[0] for finding in found} == {
        "pH",
        "conductivity",
    }


def test_two_sensors_that_cannot_be_told_apart_are_one_finding_that_names_both(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    tests = [{"part": "druck1"}, {"part": "fluss1"}, {"part": "fluss1", "indicator": "level"}]
    verdict = _verdict(*tests, faults=[("druck1", "fluss1")])
    (finding,) = _worded(verdict, reference, spec)
    assert finding.what.startswith("pressure or flow: level off by +1.00 SD")
    assert finding.what.count("level off") == 1
    assert finding.advice.startswith("The readings do not show which of them is at fault")
    assert finding.advice.endswith(_advice("peer", spec))


def test_the_predictions_that_follow_a_fault_are_in_its_finding(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    follows = {"part": "oberflaechenspannung", "indicator": "prediction", "status": Status.WATCH}
    outside = {"kind": Kind.CHECK, "part": "ph", "indicator": "outside training"}
    verdict = _verdict({}, follows, outside | {"status": Status.WATCH}, faults=[("ph",)])
    (finding,) = _worded(verdict, reference, spec)
    assert finding.what.endswith("; predictions of surface tension follow")
    assert finding.advice == _advice("peer", spec)


def test_nobody_is_told_to_retrain_while_a_probe_is_at_fault(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    worse = {"kind": Kind.LABORATORY, "part": "oberflaechenspannung", "indicator": "bias"}
    alone, with_probe = (
        _worded(_verdict({}, worse, faults=faults), reference, spec) for faults in ([], [("ph",)])
    )
    assert "--retrain" in alone[-1].advice
    assert with_probe[-1].advice == REPAIR_FIRST
    assert not [finding for finding in with_probe if "--retrain" in finding.advice]


def test_what_an_accepted_month_showed_too_says_so(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    process = {"part": "", "indicator": PROCESS.name, "stands": False, "status": Status.WATCH}
    level = {"indicator": "level", "status": Status.NO_DRIFT}
    (finding,) = _worded(_verdict(process, level), reference, spec)
    assert finding.what == (
        "the process moved: pH +1.00 SD, as in an accepted month or in the same season of an "
        "earlier year"
    )


def test_a_shift_without_a_scale_in_the_reference_has_no_unit(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    for level in (7.0, np.nan):
        (finding,) = _worded(_verdict({}), reference.assign(ph_median=level), spec)
        assert finding.what.endswith("which the other sensors do not explain")


def test_alarms_come_first(reference: pd.DataFrame, spec: SoftSensor) -> None:
    tests: list[dict[str, Any]] = [
        {"part": "", "kind": Kind.CHECK, "indicator": "mix", "status": Status.WATCH},
        {"part": "druck1", "status": Status.NO_DRIFT},
        {"part": "ph", "indicator": "noise", "status": Status.WATCH, "p_holm": 1e-5},
        {"part": "ph"},
    ]
    found = _worded(_verdict(*tests), reference, spec)
    assert [finding.status for finding in found] == [Status.ALARM, Status.WATCH]
    assert found[0].what.startswith("pH: noise")
    assert found[1].what == "the share of washing phases has changed by +100 percentage points"


def test_an_alarm_that_awaits_confirmation_says_so(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    rules = spec.monitoring.model_copy(update={"confirm": Confirmation(need=2, of=3)})
    patient = spec.model_copy(update={"monitoring": rules})
    (finding,) = _found(moved(month, "ph", 4.0, spec), reference, patient)
    assert finding.status == Status.WATCH
    assert finding.what.endswith("; awaiting confirmation by another month")


@pytest.mark.parametrize(
    ("p_holm", "words"),
    [
        (np.nan, "a fixed rule, not a statistical test"),
        (0.0421, "occurs by chance in about 4.2% of healthy months"),
        (0.001, "occurs by chance in about 0.1% of healthy months"),
        (0.0009, "occurs by chance in fewer than one in 1,000 healthy months"),
        (1e-9, "occurs by chance in fewer than one in a million healthy months"),
        (0.0, "occurs by chance in fewer than one in a million healthy months"),
    ],
)
def test_how_certain_a_finding_is(
    reference: pd.DataFrame, spec: SoftSensor, p_holm: float, words: str
) -> None:
    (finding,) = _worded(_verdict({"p_holm": p_holm}), reference, spec)
    assert finding.certainty == words


def test_a_report_of_another_rig_has_no_words_of_the_laundry(spec: SoftSensor) -> None:
    hydraulics = load_soft_sensor(ROOT / "examples/hydraulics/params.yaml")
    reference = phases(hydraulics, 40, 1)
    sensor, target = hydraulics.sensors[0].name, hydraulics.targets[0].name
    tests = [
        *({"part": sensor, "indicator": each.name} for each in SENSOR_INDICATORS),
        *({"part": target, "indicator": each.name} for each in TARGET_INDICATORS),
        {"part": "", "indicator": PROCESS.name},
        *({"kind": Kind.CHECK, "part": "", "indicator": each.name} for each in CHECKS),
        *({"kind": Kind.LABORATORY, "part": target, "indicator": each.name} for each in LOSSES),
    ]
    # One at a time, so that each gives its own advice.
    listed = [
        finding
        for test in tests
        for finding in _worded(_verdict(*_with_level(test, sensor)), reference, hydraulics)
    ]
    assert len(listed) == len(ENTRIES)
    text = " ".join(f"{finding.what} {finding.advice}" for finding in listed).lower()
    text += _process(hydraulics).lower()
    assert not [word for word in WORDS_OF_A_LAUNDRY if word in text]
    assert "textiles" in _advice("prediction", spec) and "rinses" in _advice("peer", spec)


def _with_level(test: dict[str, Any], sensor: str) -> list[dict[str, Any]]:
    """A test, for that of the process with the level that moved."""
    level = {"part": sensor, "indicator": "level", "status": Status.NO_DRIFT}
    return [test, level] if test["indicator"] == PROCESS.name else [test]
