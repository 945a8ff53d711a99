"""Many rigs: the one at fault is named, and together they are not accused more often than one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.rigs import RigMonth, before, judge_rigs, sharing_rates
from src.components.drift_reporter.rigs_page import RigsReport
from src.components.drift_reporter.status import Status
from src.soft_sensor import SoftSensor
from tests.builders.months import YEAR, moved
from tests.builders.plant import MONTH, Plant

PERIOD = Period(
    pd.Timestamp(YEAR, unit="s", tz="UTC"), pd.Timestamp(YEAR + MONTH, unit="s", tz="UTC"), True
)


@pytest.fixture(name="of_rigs")
def fixture_of_rigs(spec: SoftSensor) -> SoftSensor:
    """The soft sensor of several rigs."""
    columns = spec.columns.model_copy(update={"rig": "maschine", "experiment_type": "text"})
    return spec.model_copy(update={"columns": columns})


def _phases(rig: str, rows: int, spec: SoftSensor, start: float = 0.0) -> pd.DataFrame:
    """Healthy phases of a rig, in a year or in the month that begins at `start`."""
    seed = [int(start), *rig.encode()]
    months = 1 if start else 12
    table = Plant(spec, np.random.default_rng(seed)).phases(rows, start, months)
    names = rig + "/" + table[spec.columns.experiment].astype(str)
    return table.assign(
        **{spec.columns.experiment: names, "first_timestamp": table["last_timestamp"] - 1500},
        flags="",
        verdict=np.where(table[spec.columns.phase] == 0, "not clean", ""),
    )


def _judged(spec: SoftSensor, jobs: int = 1) -> list[RigMonth]:
    month = [_phases(rig, 60, spec, YEAR) for rig in ("a", "b", "c", "new")]
    month[1] = moved(month[1], "ph", 3.0, spec)
    reference = [_phases(rig, 300, spec) for rig in ("a", "b", "c", "silent")]
    return judge_rigs(pd.concat(month), pd.concat(reference), PERIOD, spec, jobs)


def test_those_that_need_somebody_come_first(of_rigs: SoftSensor) -> None:
    found = _judged(of_rigs)
    assert [rig.rig for rig in found] == ["b", "silent", "new", "a", "c"]
    worst, silent, new, *healthy = found
    assert worst.status == Status.ALARM and worst.sensors == ("pH",) and worst.p < 1e-6
    assert silent.is_silent and silent.before == 300
    assert new.status == Status.TOO_FEW and not new.is_silent
    assert {rig.status for rig in healthy} == {Status.NO_DRIFT}
    assert worst.judged == worst.not_clean > 0 and worst.uncertain == 0


def test_each_rig_has_its_share_of_the_false_alarms(of_rigs: SoftSensor) -> None:
    rules = sharing_rates(of_rigs, 1000).monitoring
    assert rules.alarm == pytest.approx(of_rigs.monitoring.alarm / 1000)
    assert rules.watch == pytest.approx(of_rigs.monitoring.watch / 1000)


def test_a_rig_is_compared_with_the_year_before() -> None:
    begin, end = before(PERIOD)
    assert end == PERIOD.since and end - begin == pd.Timedelta(days=365)


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_page_lists_all_rigs_and_what_to_do_about_the_worst(
    of_rigs: SoftSensor, language: str
) -> None:
    report = RigsReport(PERIOD, _judged(of_rigs), of_rigs.model_copy(update={"language": language}))
    page = report.html()
    assert all(f"{rig.rig}</th>" in page for rig in report.rigs)
    headline = {"en": "1 of 5 rigs needs somebody", "de": "1 von 5 Anlagen braucht jemanden"}
    assert headline[language] in page
    assert "pH" in page and report.rigs[0].findings[0].advice.split(",")[0] in page
    assert report.figures()["rigs"][1]["silent"]
    finding = report.finding()
    assert finding is not None and "b: Alarm: pH" in finding.what.replace("alarm", "Alarm")
