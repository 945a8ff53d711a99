"""Findings in words: which sensor, what, since when, how certain, and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter.checks import CHECKS
from src.components.drift_reporter.evidence import Past
from src.components.drift_reporter.findings import ENTRIES, PROCESS, Finding, findings
from src.components.drift_reporter.indicators import SENSOR_INDICATORS, TARGET_INDICATORS
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

pytestmark = pytest.mark.usefixtures("small_heap")

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
    return findings(judge(compared(month, reference, spec), spec), reference, spec)


def _verdict(*tests: dict[str, Any]) -> Verdict:
    """A verdict with tests of which only what matters is given."""
    reference = {"kind": Kind.DRIFT, "part": "ph", "indicator": "level", "shift": 1.0, "apart": 0.5}
    reference |= {"p_holm": 1e-4}
    table = pd.DataFrame([reference | {"status": Status.ALARM} | test for test in tests])
    return Verdict(
        status=Status.ALARM,
        faults=[],
        tests=table,
        onsets={},
        smallest_shift=0.5,
        short={},
        unconfirmed=[],
    )


def _advice(name: str, spec: SoftSensor) -> str:
    return ENTRIES[name].advice.format(**spec.wording.model_dump())


def _process(spec: SoftSensor) -> str:
    return PROCESS.format(**spec.wording.model_dump())


def test_names_are_unique_among_all_kinds() -> None:
    tables = (SENSOR_INDICATORS, TARGET_INDICATORS, CHECKS, LOSSES)
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
    assert finding.what.startswith("conductivity (leitfaehigkeit): ")
    day = pd.Timestamp(month["last_timestamp"].iloc[80], unit="s")
    assert finding.what.endswith(f", since {day.day} December 1970")
    assert " uS/cm)" in finding.what
    assert finding.certainty == "occurs by chance in fewer than one in a million healthy months"
    # The peers see it best.
    assert finding.advice == _advice("peer", spec)


def test_the_shift_is_given_in_the_unit_of_the_sensor(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    reference = moved(reference, "leitfaehigkeit", 0, spec)
    reference["leitfaehigkeit_median"] *= 1000
    tests = [{"part": "leitfaehigkeit", "shift": -0.5}, {"part": "ph", "shift": 0.5}]
    conductivity, acidity = (
        finding.what for finding in findings(_verdict(*tests), reference, spec)
    )
    words, size = conductivity.rstrip(")").split(" (about ")
    assert words == "conductivity (leitfaehigkeit): level shifted by -0.50 SD"
    value, measure = size.split()
    assert measure == "uS/cm"
    assert float(value) == pytest.approx(-500, rel=0.1)
    # pH has no unit.
    assert (
        acidity.startswith("pH (ph): level shifted by +0.50 SD (about +0.5")
        or "(about +0.4" in acidity
    )
    assert acidity.count(" ") == 8 and acidity.endswith(")")


def test_a_fault_from_the_beginning_is_reported_as_older(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    (finding,) = _found(moved(month, "ph", 4.0, spec), reference, spec)
    assert finding.what.startswith("pH (ph): ")
    assert finding.what.endswith(", since before this month")


def test_a_sensor_that_drifts_and_fails_has_a_finding_of_each(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    faulty = moved(month, "ph", 4.0, spec)
    faulty.loc[:20, spec.features_of(spec.sensors[3])] = np.nan
    drifted, lost = _found(faulty, reference, spec)
    assert drifted.what.endswith(", since before this month")
    assert (
        lost.what
        == "pH (ph): no readings more often than usual (share of phases up by 10 percentage points)"
    )
    assert lost.advice == _advice("missing", spec)


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
    (finding,) = findings(_verdict(test), reference, spec)
    assert finding.advice == _advice(indicator, spec)
    assert "{" not in finding.what
    title = {"ph": "pH (ph): ", "": ""}.get(part, "surface tension (oberflaechenspannung): ")
    assert finding.what.startswith(title)
    assert "26" in finding.what


def test_the_most_significant_indicator_of_a_sensor_gives_the_advice(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    tests = [{"indicator": "level", "p_holm": 1e-3}, {"indicator": "noise", "p_holm": 1e-9}]
    (finding,) = findings(_verdict(*tests), reference, spec)
    assert "level shifted by +1.00 SD" in finding.what
    assert "noise changed by +1.00 SD" in finding.what
    assert finding.advice == _advice("noise", spec)
    assert "million" in finding.certainty


@pytest.mark.parametrize("size", [0.6, 2.0])
def test_sensors_that_moved_together_are_read_as_the_process(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor, size: float
) -> None:
    for sensor in spec.sensors:
        month = moved(month, sensor.name, size, spec)
    found = _found(month, reference, spec)
    assert len(found) == len(spec.sensors)
    assert {finding.advice for finding in found} == {_process(spec)}


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
    reference = laundry.phases(1000, months=12)
    month = of_the_ledger(laundry.phases(200, start=YEAR))
    for name in names:
        month = moved(month, name, size * units(spec)[name], spec)
    found = _found(month, reference, spec)
    alarms = [finding.advice for finding in found if finding.status == Status.ALARM]
    assert [advice == _process(spec) for advice in alarms] == [process] * len(names)


def test_two_probes_with_faults_of_their_own_are_not_the_process(
    month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> None:
    for name, size in (("ph", 1.0), ("leitfaehigkeit", -1.0)):
        month = moved(month, name, size, spec)
    found = _found(month, reference, spec)
    assert len(found) == 2
    assert _process(spec) not in {finding.advice for finding in found}


@pytest.mark.parametrize("own", [{"apart": -1.2}, {"indicator": "noise", "shift": 2.0}])
def test_a_sensor_with_a_fault_of_its_own_did_not_move_together(
    reference: pd.DataFrame, spec: SoftSensor, own: dict[str, Any]
) -> None:
    tests = [{"part": part} for part in ("druck1", "fluss1")]
    found = findings(_verdict(*tests, {"part": "ph", **own}), reference, spec)
    assert [finding.advice == _process(spec) for finding in found] == [True, True, False]


def test_one_sensor_that_moved_is_not_the_process(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    (finding,) = findings(_verdict({}), reference, spec)
    assert finding.advice == _advice("level", spec)


def test_alarms_come_first(reference: pd.DataFrame, spec: SoftSensor) -> None:
    tests = [
        {"part": "", "kind": Kind.CHECK, "indicator": "mix", "status": Status.WATCH},
        {"part": "druck1", "status": Status.NO_DRIFT},
        {"part": "ph", "indicator": "noise", "status": Status.WATCH},
        {"part": "ph"},
    ]
    found = findings(_verdict(*tests), reference, spec)
    assert [finding.status for finding in found] == [Status.ALARM, Status.WATCH]
    assert found[0].what.startswith("pH (ph): noise")
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
    (finding,) = findings(_verdict({"p_holm": p_holm}), reference, spec)
    assert finding.certainty == words


def test_a_report_of_another_rig_has_no_words_of_the_laundry(spec: SoftSensor) -> None:
    hydraulics = load_soft_sensor(ROOT / "examples/hydraulics/params.yaml")
    reference = phases(hydraulics, 40, 1)
    sensor, target = hydraulics.sensors[0].name, hydraulics.targets[0].name
    tests = [
        *({"part": sensor, "indicator": each.name} for each in SENSOR_INDICATORS),
        *({"part": target, "indicator": each.name} for each in TARGET_INDICATORS),
        *({"kind": Kind.CHECK, "part": "", "indicator": each.name} for each in CHECKS),
        *({"kind": Kind.LABORATORY, "part": target, "indicator": each.name} for each in LOSSES),
    ]
    # One at a time, so that each gives its own advice.
    listed = [
        finding for test in tests for finding in findings(_verdict(test), reference, hydraulics)
    ]
    assert len(listed) == len(ENTRIES)
    text = " ".join(f"{finding.what} {finding.advice}" for finding in listed).lower()
    text += _process(hydraulics).lower()
    assert not [word for word in WORDS_OF_A_LAUNDRY if word in text]
    assert "textiles" in _advice("prediction", spec) and "rinses" in _advice("level", spec)
