"""The report: words, a page and pictures that say what the verdict says, and need no network."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter import performance, report
from src.components.drift_reporter.evidence import Earlier, Evidence, LaboratoryEvidence, Period
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.pictures import draw
from src.components.drift_reporter.report import Report
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import COLOURS, GREY, Summary, summarise
from src.components.drift_reporter.verdict import Verdict, judge
from src.safe_text import visible
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.builders.months import (
    WORDS_OF_A_LAUNDRY,
    YEAR,
    compared,
    moved,
    of_the_ledger,
    phases,
)
from tests.builders.plant import MONTH
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("small_heap")

PNG = b"\x89PNG\r\n"


def _only(spec: SoftSensor, count: int) -> SoftSensor:
    """Of the sensors the first ones."""
    return spec.model_copy(update={"sensors": spec.sensors[:count]})


def _evidence(spec: SoftSensor, fault: float) -> Evidence:
    """300 phases and more to compare with, and 100 whose second half reads `fault` too much."""
    month = of_the_ledger(phases(spec, 60, 2, start=YEAR))
    late = month["last_timestamp"] > month["last_timestamp"].median()
    faulty = moved(month, spec.sensors[0].name, fault, spec).where(late, month)
    errors = _errors(spec)
    return replace(
        compared(faulty, phases(spec, 200, 1), spec),
        laboratory=LaboratoryEvidence(recent=errors, expected=errors),
    )


def _errors(spec: SoftSensor) -> pd.DataFrame:
    """Laboratory values of the first target alone, all 2 above the predictions."""
    first, *others = spec.targets
    table = phases(spec, 20, 3).head(10)
    predicted = pd.DataFrame({name: [40.0] * len(table) for name in spec.target_names})
    predicted[[first.lower, first.upper]] = [39.0, 44.0]
    measured = table.assign(**{first.name: 42.0}, **{other.name: np.nan for other in others})
    return performance.errors(predicted, measured, spec)


def _healthy(spec: SoftSensor) -> Evidence:
    """A month without a fault or laboratory values."""
    evidence = _evidence(spec, 0.0)
    return compared(evidence.month, evidence.reference, spec)


def _summary(evidence: Evidence, spec: SoftSensor) -> Summary:
    return summarise(judge(evidence, spec), evidence, spec)


def _after(verdict: Verdict, evidence: Evidence) -> Evidence:
    """The evidence after a month that looked the same."""
    end = evidence.period.until
    tests = verdict.tests.assign(until=end - pd.Timedelta(seconds=MONTH))
    return replace(evidence, period=Period(None, end), earlier=Earlier([], tests))


def _written(evidence: Evidence, spec: SoftSensor, folder: Path) -> Report:
    """The report on a month after one that looked the same."""
    verdict = judge(evidence, spec)
    return report.write_report(verdict, _after(verdict, evidence), spec, folder)


def _drifted(page: str) -> dict[str, bool]:
    """What Evidently's page shows for each column: has it drifted?"""
    shown = re.findall(r'"column_name": "([^"]+)".*?"data_drift": "([^"]+)"', page, re.DOTALL)
    return {name: outcome == "Detected" for name, outcome in shown}


def _section(page: str) -> str:
    return page[page.index("<section") : page.index("</section>")]


@pytest.fixture(name="written", scope="module")
def fixture_written(spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The report on a month with a turbidity that is off since its middle, in a new folder."""
    return _written(_evidence(spec, 3.0), spec, tmp_path_factory.mktemp("reports") / "new")


@pytest.fixture(name="summary", scope="module")
def fixture_summary(written: Report) -> Summary:
    """Its summary."""
    return written.summary


@pytest.fixture(name="page", scope="module")
def fixture_page(written: Report) -> str:
    """Its page."""
    return written.page.read_text(encoding="utf-8")


def test_the_headline_names_the_verdict_and_the_sensors_at_fault(summary: Summary) -> None:
    assert summary.headline == "laundry: alarm: turbidity"


def test_the_text_has_findings_and_notes(summary: Summary) -> None:
    text = summary.text()
    assert text.startswith("Verdict: alarm: turbidity\n")
    assert text.endswith("\n") and not text.endswith("\n\n")
    finding = summary.findings[0]
    assert f"1. alarm: {finding.what}\n   How certain: {finding.certainty}.\n" in text
    assert f"   What to do: {finding.advice}\n" in text
    for sentence in (*summary.about, *summary.notes):
        assert f"{sentence}\n" in text


def test_the_text_has_the_figures_of_targets_that_were_measured(summary: Summary) -> None:
    assert (
        "  surface tension: error 2 mN/m (expected 2), bias +2, 10 values, 100 % inside their "
        "intervals\n"
    ) in summary.text()
    assert "surfactant" not in summary.text()


def test_the_html_says_what_the_text_says(summary: Summary) -> None:
    page = summary.html({}, str)
    for sentence in (*summary.about, summary.findings[0].what, summary.findings[0].certainty):
        assert sentence in page
    assert "laundry: <span" in page and "alarm: turbidity</span>" in page
    assert COLOURS[Status.ALARM] in page
    assert "<td>surface tension [mN/m]</td><td>10</td><td>2</td><td>2</td><td>+2</td>" in page
    assert "surfactant" not in page
    assert page.count("<li>") == len(summary.notes)
    assert "`" not in page


def test_a_healthy_month_has_a_short_summary(spec: SoftSensor) -> None:
    healthy = _summary(_healthy(spec), spec)
    assert healthy.headline == "laundry: no drift"
    assert healthy.text().startswith("Verdict: no drift\n")
    assert "What to do" not in healthy.text()
    assert COLOURS[Status.NO_DRIFT] in healthy.html({}, str)


def test_the_message_finds_its_pictures_by_the_names_it_is_given(summary: Summary) -> None:
    pictures = {Path("truebung.png"): "turbidity & time", Path("history.png"): "all months"}
    page = summary.html(pictures, lambda file: f"cid:{file.stem}")
    assert re.findall('<img src="([^"]*)"', page) == ["cid:truebung", "cid:history"]
    assert page.count("turbidity &amp; time") == 2  # beside the picture and in place of it


def test_titles_do_no_harm_in_html(spec: SoftSensor) -> None:
    evil = '<b onclick="x()">&\n\x1b\u202e'
    sensor = spec.sensors[0].model_copy(update={"title": evil, "unit": evil})
    target = spec.targets[0].model_copy(update={"title": evil, "unit": evil})
    phase = spec.phases[0].model_copy(update={"name": evil})
    evil_spec = spec.model_copy(
        update={
            "sensors": (sensor, *spec.sensors[1:]),
            "targets": (target, *spec.targets[1:]),
            "phases": (phase, *spec.phases[1:]),
        }
    )
    summary = _summary(_evidence(evil_spec, 3.0), evil_spec)
    page = summary.html({Path("x.png"): evil}, lambda _: evil)
    assert evil not in page and "<b onclick" not in page
    # Headline, finding with its unit twice, picture thrice, target with its unit, phase.
    assert page.count(r"&lt;b onclick=&#34;x()&#34;&gt;&amp;\n\x1b\u202e") == 10
    assert visible(evil) in summary.text()
    assert all(line.isprintable() for line in (*summary.text().splitlines(), *page.splitlines()))


def test_the_page_begins_with_the_summary_and_agrees_with_the_verdict(
    page: str, summary: Summary, spec: SoftSensor
) -> None:
    assert page.index("<body") < page.index("<section") < page.index("</body>")
    assert summary.findings[0].what in _section(page)
    tests = judge(_evidence(spec, 3.0), spec).tests
    tests = tests[(tests["kind"] == Kind.DRIFT) & (tests["part"] != "")]
    names = tests["part"] + " " + tests["indicator"]
    expected = dict(zip(names, (tests["status"] == Status.ALARM).tolist()))
    assert _drifted(page) == expected
    assert sum(expected.values()) >= 2
    assert "Dataset Drift is detected" in page


@pytest.mark.slow
def test_the_page_holds_its_pictures(page: str) -> None:
    pictures = re.findall('<img src="data:image/png;base64,([^"]+)"', _section(page))
    assert len(pictures) == 2
    assert all(b64decode(picture).startswith(PNG) for picture in pictures)


@pytest.mark.slow
def test_the_page_needs_no_network(page: str) -> None:
    head = page[: page.index("<body")]
    assert not re.search(r"<script[^>]+src=", page)
    assert not re.search(r"<link[^>]+href=", page)
    assert not re.search(r"""(url\(|@import )["']?https?:""", head)
    assert set(re.findall('<img src="([a-z]+:)', page)) == {"data:"}


@pytest.mark.slow
def test_the_page_of_a_healthy_month_shows_no_drift(spec: SoftSensor, tmp_path: Path) -> None:
    two = _only(spec, 2)
    page = _written(_healthy(two), two, tmp_path).page.read_text(encoding="utf-8")
    assert set(_drifted(page).values()) == {False}
    assert "Dataset Drift is NOT detected" in page


def test_a_month_of_too_few_rows_has_a_page_without_charts(
    spec: SoftSensor, tmp_path: Path
) -> None:
    healthy = _healthy(spec)
    few = replace(healthy, month=healthy.month.head(10))
    verdict = judge(few, spec)
    assert verdict.status == Status.TOO_FEW
    written = report.write_report(verdict, few, spec, tmp_path)
    page = written.page.read_text(encoding="utf-8")
    assert page == f"<!DOCTYPE html><meta charset='utf-8'>{written.summary.html({}, str)}"
    assert GREY in page and "no conclusion about them is possible" in page


@pytest.mark.slow
def test_a_sensor_without_values_does_not_keep_the_page_from_being_written(
    spec: SoftSensor, tmp_path: Path
) -> None:
    three, lost = _only(spec, 3), spec.sensors[2]
    evidence = _evidence(three, 3.0)
    month = evidence.month.assign(**dict.fromkeys(three.features_of(lost), np.nan))
    written = _written(replace(evidence, month=month), three, tmp_path)
    assert written.summary.titles == [spec.sensors[0].title, lost.title]
    page = written.page.read_text(encoding="utf-8")
    assert f"{lost.title} ({lost.name}): no readings more often than usual" in _section(page)
    assert not any(name.startswith(lost.name) for name in _drifted(page))
    assert len(_drifted(page)) == 4 * 2 + len(spec.targets)


def test_each_sensor_at_fault_has_a_picture_but_not_more_than_two(
    spec: SoftSensor, tmp_path: Path
) -> None:
    evidence = _evidence(spec, 0.0)
    for sensor in spec.sensors[1:3]:
        evidence = replace(evidence, month=moved(evidence.month, sensor.name, 3.0, spec))
    two = judge(evidence, spec)
    assert len(two.sensors) == 2
    third = spec.sensors[3].name
    verdict = replace(two, faults=[*two.faults, (third,)], onsets=two.onsets | {third: None})
    drawn = draw(verdict, _after(verdict, evidence), spec, tmp_path / "new")
    expected = [*verdict.sensors[:2], "history"]
    assert [file.stem for file in drawn] == expected
    assert sorted((tmp_path / "new").iterdir()) == sorted(drawn)
    assert all(file.read_bytes().startswith(PNG) for file in drawn)
    assert all(caption.startswith(name) for name, caption in zip(expected[:2], drawn.values()))


def test_a_first_healthy_report_has_no_pictures(spec: SoftSensor, tmp_path: Path) -> None:
    healthy = _healthy(spec)
    assert not draw(judge(healthy, spec), healthy, spec, tmp_path)


def test_a_scheduled_report_is_one_message_and_a_requested_one_is_one_each_run(
    written: Report,
) -> None:
    assert written.key("embedded/impress", 1) == written.key("embedded/impress", 2)
    assert written.key("embedded/impress", 1) != written.key("server/impress", 1)
    requested = replace(written, period=replace(written.period, requested=True))
    assert requested.key("embedded/impress", 1) != requested.key("embedded/impress", 2)


@pytest.mark.slow
@pytest.mark.parametrize("other", ["one sensor", "17 sensors and one phase"])
def test_other_soft_sensors_have_a_report(other: str, spec: SoftSensor, tmp_path: Path) -> None:
    rig = {
        "one sensor": _only(spec, 1),
        "17 sensors and one phase": load_soft_sensor(ROOT / "examples/hydraulics/params.yaml"),
    }[other]
    written = _written(_evidence(rig, 3.0), rig, tmp_path)
    title = rig.sensors[0].title
    assert written.summary.headline == f"{rig.name}: alarm: {title}"
    page = written.page.read_text(encoding="utf-8")
    assert title in _section(page)
    if rig.name != spec.name:
        assert not [word for word in WORDS_OF_A_LAUNDRY if word in _section(page).lower()]
    kinds = 4 if len(rig.sensors) > 1 else 3
    assert len(_drifted(page)) == kinds * len(rig.sensors) + len(rig.targets)
    assert len(re.findall("<img", _section(page))) == 2
