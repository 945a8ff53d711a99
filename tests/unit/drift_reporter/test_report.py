"""The report: words, a page and pictures that say what the verdict says, and need no network."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from src.components.drift_reporter import performance, report
from src.components.drift_reporter.evidence import Earlier, Evidence, LaboratoryEvidence, Period
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.pictures import draw
from src.components.drift_reporter.recheck import to_check_again
from src.components.drift_reporter.report import Report
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import COLOURS, Summary, summarise
from src.components.drift_reporter.verdict import Verdict, backtest, judge
from src.components.emailer.page import GREY, VERMILION
from src.language import BLANK
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
from tests.mail_html import read_mail

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
    return summarise(judge(evidence, spec), evidence, spec, backtest(evidence.reference, spec))


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


def _charts(written: Report) -> str:
    assert written.charts
    return written.charts.read_text(encoding="utf-8")


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
    assert summary.headline == "laundry, December 1970: alarm: turbidity"


def test_the_text_has_findings_and_notes(summary: Summary) -> None:
    text = summary.text()
    assert text.startswith("Verdict: alarm: turbidity\n")
    assert text.endswith("\n") and not text.endswith("\n\n")
    finding = summary.findings[0]
    assert f"1. alarm: {finding.what}\n   washing: +" in text
    assert f"   How certain: {finding.certainty}.\n" in text
    assert f"   What to do: {finding.advice}\n" in text
    for sentence in (*summary.about, *summary.notes):
        assert f"{sentence}\n" in text


def test_the_text_has_the_figures_of_targets_that_were_measured(summary: Summary) -> None:
    assert (
        "  surface tension: error 2.00 mN/m (expected 2.00 mN/m), bias +2.00 mN/m, 10 values, "
        "100 % inside their intervals\n"
    ) in summary.text().replace(BLANK, " ")
    assert "surfactant" not in summary.text()


def test_the_html_says_what_the_text_says(summary: Summary) -> None:
    page = summary.html({}, str)
    mail = read_mail(page)
    assert not mail.faults
    words = "\n".join(mail.texts)
    finding = summary.findings[0]
    for sentence in (*summary.about, *summary.notes, finding.what, finding.certainty):
        assert sentence.replace("`", "") in words
    assert words.replace(BLANK, " ").count("+2.00 mN/m") == 1
    assert {"Alarm: turbidity", "turbidity reads wrongly", "laundry, December 1970"} <= set(
        mail.texts
    )
    for row in finding.sizes:
        assert set(row) <= set(mail.texts)
    assert COLOURS[Status.ALARM] in page
    assert "surfactant" not in page
    assert "`" not in page
    assert "truebung" not in page, "people read titles"


def test_a_healthy_month_has_a_short_summary(spec: SoftSensor) -> None:
    healthy = _summary(_healthy(spec), spec)
    assert healthy.headline == "laundry, December 1970: no drift"
    assert not healthy.recheck
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
    assert page.count(r"&lt;b onclick=&#34;x()&#34;&gt;&amp;\n\x1b\u202e") >= 8
    assert not read_mail(page).faults
    assert visible(evil) in summary.text()
    lines = [*summary.text().splitlines(), *page.splitlines()]
    assert all(visible(line) == line for line in lines)


def test_the_page_has_the_summary_and_links_to_charts_that_agree_with_it(
    page: str, written: Report, spec: SoftSensor
) -> None:
    mail = read_mail(page)
    assert not mail.faults
    assert mail.links == ["evidently.html"]
    tests = judge(_evidence(spec, 3.0), spec).tests
    tests = tests[(tests["kind"] == Kind.DRIFT) & (tests["part"] != "")]
    names = tests["part"] + " " + tests["indicator"]
    expected = dict(zip(names, (tests["status"] == Status.ALARM).tolist()))
    charts = _charts(written)
    assert _drifted(charts) == expected
    assert sum(expected.values()) >= 2
    assert "Dataset Drift is detected" in charts
    assert "Dataset Drift Threshold" not in page
    assert re.search(r"threshold is 0\.\d{3}\D", charts, re.IGNORECASE)


def test_the_page_holds_its_pictures(page: str) -> None:
    pictures = [image["src"] for image in read_mail(page).images]
    assert len(pictures) == 2
    for picture in pictures:
        kind, _, encoded = picture.partition(",")
        assert kind == "data:image/png;base64"
        assert b64decode(encoded).startswith(PNG)


@pytest.mark.slow
def test_the_charts_need_no_network(written: Report) -> None:
    charts = _charts(written)
    head = charts[: charts.index("<body")]
    assert not re.search(r"<script[^>]+src=", charts)
    assert not re.search(r"<link[^>]+href=", charts)
    assert not re.search(r"""(url\(|@import )["']?https?:""", head)


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_mail_is_small_and_in_its_language(
    language: str, spec: SoftSensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "write_charts", lambda *_: None)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        params.replace("language: en", f"language: {language}"), encoding="utf-8"
    )
    own = load_soft_sensor(tmp_path / "params.yaml")
    assert own.features == spec.features
    mail = _written(_evidence(own, 3.0), own, tmp_path)
    page = mail.summary.html(mail.pictures, lambda file: f"cid:{file.stem}")
    assert not read_mail(page).faults
    pictures = sum(file.stat().st_size for file in mail.pictures)
    assert len(page) + 4 / 3 * pictures < 300_000
    expected = {
        "en": ("laundry, December 1970: alarm: turbidity", "What to do: Compare the sensor"),
        "de": ("laundry, Dezember 1970: Alarm: Trübung", "Zu tun: Sensor vergleichen (Handmess"),
    }
    headline, advice = expected[language]
    assert mail.summary.headline == headline
    assert advice in page and advice in mail.summary.text()
    if language == "de":
        assert not re.search(r"\b(the|of|and|with|which)\b", _words(page))
        assert not re.search(r"\d\.\d\d SD", page), "German has a decimal comma"


def _words(page: str) -> str:
    return " ".join(read_mail(page).texts)


def test_phases_called_clean_since_the_onset_are_to_be_checked_again(spec: SoftSensor) -> None:
    evidence = _evidence(spec, 3.0)
    judged = evidence.month[spec.columns.phase] == 0
    month = evidence.month.assign(verdict=np.where(judged, "clean", ""))
    month.loc[month.index[-4:], "verdict"] = "uncertain: take a laboratory sample"
    evidence = replace(evidence, month=month)
    begin = pd.Timestamp(month["last_timestamp"].median(), unit="s", tz="UTC")
    verdict = replace(judge(evidence, spec), onsets={spec.sensors[0].name: begin})
    clean = month[(month["verdict"] == "clean") & (month["last_timestamp"] >= begin.timestamp())]
    listed = [
        experiment
        for _, experiments in to_check_again(verdict, month, spec)
        for experiment in experiments.split(", ")
    ]
    assert listed == [str(value) for value in clean.sort_values("last_timestamp").iloc[:, 0]]
    assert 0 < len(listed) < judged.sum()
    before = replace(verdict, onsets=dict.fromkeys(verdict.onsets))
    assert sum(len(row[1].split(", ")) for row in to_check_again(before, month, spec)) == int(
        (month["verdict"] == "clean").sum()
    )
    assert not to_check_again(replace(verdict, faults=[]), month, spec)


@pytest.mark.slow
def test_the_page_of_a_healthy_month_shows_no_drift(spec: SoftSensor, tmp_path: Path) -> None:
    two = _only(spec, 2)
    charts = _charts(_written(_healthy(two), two, tmp_path))
    assert set(_drifted(charts).values()) == {False}
    assert "Dataset Drift is NOT detected" in charts


def test_a_month_of_too_few_rows_has_a_page_without_charts(
    spec: SoftSensor, tmp_path: Path
) -> None:
    healthy = _healthy(spec)
    few = replace(healthy, month=healthy.month.head(10))
    verdict = judge(few, spec)
    assert verdict.status == Status.TOO_FEW
    written = report.write_report(verdict, few, spec, tmp_path)
    page = written.page.read_text(encoding="utf-8")
    assert page == written.summary.html({}, str)
    assert written.charts is None
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
    assert f"{lost.title}: no readings more often than usual" in page
    drifted = _drifted(_charts(written))
    assert not any(name.startswith(lost.name) for name in drifted)
    assert len(drifted) == 4 * 2 + len(spec.targets)


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
    titles = [spec.sensor(name).title for name in expected[:2]]
    assert all(caption.startswith(title) for title, caption in zip(titles, drawn.values()))


def test_an_alarm_is_vermilion_in_the_picture(written: Report) -> None:
    """Few colours are kept, but that one."""
    (history,) = [file for file in written.pictures if file.stem == "history"]
    colours = np.array(Image.open(history).convert("RGB")).reshape(-1, 3).astype(int)
    vermilion = [int(VERMILION[place : place + 2], 16) for place in (1, 3, 5)]
    assert (np.abs(colours - vermilion).max(axis=1) <= 24).sum() > 20


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
    assert written.summary.headline == f"{rig.name}, December 1970: alarm: {title}"
    page = written.page.read_text(encoding="utf-8")
    assert title in page
    if rig.name != spec.name:
        assert not [word for word in WORDS_OF_A_LAUNDRY if word in _words(page).lower()]
    kinds = 4 if len(rig.sensors) > 1 else 3
    assert len(_drifted(_charts(written))) == kinds * len(rig.sensors) + len(rig.targets)
    assert len(read_mail(page).images) == 2
    assert sum(file.stat().st_size for file in written.pictures) < 200_000
