"""The report: words, a page and pictures that say what the verdict says, and need no network."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter import performance, report
from src.components.drift_reporter.drift_tests import ALARM, OK, TOO_FEW
from src.components.drift_reporter.findings import findings, notes
from src.components.drift_reporter.report import COLOURS, GREY, Summary
from src.components.drift_reporter.verdict import DRIFT, backtest, judge
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.builders.months import NO_PAST, NO_REPORTS, YEAR, moved, of_the_ledger, phases
from tests.builders.plant import MONTH
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("small_heap")

Tables = tuple[pd.DataFrame, pd.DataFrame]  # a month and the reference
PNG = b"\x89PNG\r\n"


def _only(spec: SoftSensor, count: int) -> SoftSensor:
    """Of the sensors the first ones."""
    return spec.model_copy(update={"sensors": spec.sensors[:count]})


def _tables(spec: SoftSensor, fault: float) -> Tables:
    """300 phases and more to compare with, and 100 whose second half reads `fault` too much."""
    month = of_the_ledger(phases(spec, 60, 2, start=YEAR))
    late = month["last_timestamp"] > month["last_timestamp"].median()
    faulty = moved(month, spec.sensors[0].name, fault, spec).where(late, month)
    return faulty, phases(spec, 200, 1)


def _errors(spec: SoftSensor) -> pd.DataFrame:
    """Laboratory values of the first target alone, all 2 above the predictions."""
    names = spec.target_names
    predicted = pd.DataFrame({name: [40.0] * 10 for name in names})
    predicted[[f"{names[0]}_lower", f"{names[0]}_upper"]] = [39.0, 44.0]
    measured = predicted[names].assign(**{name: np.nan for name in names[1:]})
    return performance.errors(predicted, measured.assign(**{names[0]: 42.0}), spec)


def _summary(tables: Tables, spec: SoftSensor) -> Summary:
    verdict = judge(*tables, NO_PAST, None, NO_REPORTS, spec)
    return Summary(
        name=spec.name,
        verdict=verdict,
        titles=[sensor.title for sensor in spec.sensors if sensor.name in verdict.sensors],
        findings=findings(verdict, tables[1], spec),
        about=["Predictions archived until today.", "Compared with the training."],
        notes=notes(tables[0], verdict, backtest(tables[1], spec), spec),
        performance=performance.figures(_errors(spec), _errors(spec), spec),
    )


def _drawn(summary: Summary, tables: Tables, spec: SoftSensor, folder: Path) -> dict[Path, str]:
    """The pictures of a month after one that looked the same."""
    ends = [pd.Timestamp(YEAR + age * MONTH, unit="s", tz="UTC") for age in (0, 1)]
    history = pd.concat([summary.verdict.tests.assign(until=end) for end in ends])
    return report.draw(summary.verdict, tables, history, spec, folder)


def _called(page: str) -> dict[str, bool]:
    """What Evidently's page says of each column: has it drifted?"""
    said = re.findall(r'"column_name": "([^"]+)".*?"data_drift": "([^"]+)"', page, re.DOTALL)
    return {name: word == "Detected" for name, word in said}


def _own_words(page: str) -> str:
    return page[page.index("<section") : page.index("</section>")]


@pytest.fixture(name="tables", scope="module")
def fixture_tables(spec: SoftSensor) -> Tables:
    """A month with a turbidity that is off since its middle."""
    return _tables(spec, 3.0)


@pytest.fixture(name="summary", scope="module")
def fixture_summary(tables: Tables, spec: SoftSensor) -> Summary:
    """What there is to say of it."""
    return _summary(tables, spec)


@pytest.fixture(name="page", scope="module")
def fixture_page(
    summary: Summary, tables: Tables, spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The page of it, in a folder that did not exist."""
    folder = tmp_path_factory.mktemp("reports") / "drift"
    pictures = _drawn(summary, tables, spec, folder)
    report.write_report(summary, pictures, tables, spec, folder / "page/report.html")
    return (folder / "page/report.html").read_text(encoding="utf-8")


def test_the_headline_names_verdict_and_culprits(summary: Summary) -> None:
    assert summary.headline == "laundry: alarm: turbidity"


def test_the_text_says_all_that_is_known(summary: Summary) -> None:
    text = summary.text()
    assert text.startswith("Verdict: alarm: turbidity\n")
    assert text.endswith("\n") and not text.endswith("\n\n")
    (finding,) = summary.findings
    assert f"1. alarm: {finding.what}\n   How sure: {finding.sure}.\n" in text
    assert f"   What to do: {finding.advice}\n" in text
    for sentence in (*summary.about, *summary.notes):
        assert f"{sentence}\n" in text


def test_the_text_has_the_figures_of_targets_that_were_measured(summary: Summary) -> None:
    assert (
        "  surface tension: error 2 mN/m (before 2), bias +2, 10 values, 100 % inside their "
        "intervals\n"
    ) in summary.text()
    assert "surfactant" not in summary.text()


def test_the_html_says_what_the_text_says(summary: Summary) -> None:
    page = summary.html({}, str)
    for sentence in (*summary.about, summary.findings[0].what, summary.findings[0].sure):
        assert sentence in page
    assert "laundry: <span" in page and "alarm: turbidity</span>" in page
    assert COLOURS[ALARM] in page
    assert "<td>surface tension [mN/m]</td><td>10</td><td>2</td><td>2</td><td>+2</td>" in page
    assert "surfactant" not in page
    assert page.count("<li>") == len(summary.notes)
    assert "`" not in page


def test_a_healthy_month_is_said_in_a_few_words(spec: SoftSensor) -> None:
    healthy = _summary(_tables(spec, 0.0), spec)
    assert healthy.headline == "laundry: no drift"
    assert healthy.text().startswith("Verdict: no drift\n")
    assert "What to do" not in healthy.text()
    assert COLOURS[OK] in healthy.html({}, str)


def test_the_message_finds_its_pictures_by_the_names_it_is_given(summary: Summary) -> None:
    pictures = {Path("truebung.png"): "turbidity & time", Path("history.png"): "all months"}
    page = summary.html(pictures, lambda file: f"cid:{file.stem}")
    assert re.findall('<img src="([^"]*)"', page) == ["cid:truebung", "cid:history"]
    assert page.count("turbidity &amp; time") == 2  # beside the picture and in place of it


def test_titles_do_no_harm_in_html(spec: SoftSensor) -> None:
    evil = '<b onclick="x()">&'
    part = spec.sensors[0].model_copy(update={"title": evil, "unit": evil})
    target = spec.targets[0].model_copy(update={"title": evil, "unit": evil})
    phase = spec.phases[0].model_copy(update={"name": evil})
    odd = spec.model_copy(
        update={
            "sensors": (part, *spec.sensors[1:]),
            "targets": (target, *spec.targets[1:]),
            "phases": (phase, *spec.phases[1:]),
        }
    )
    summary = _summary(_tables(odd, 3.0), odd)
    page = summary.html({Path("x.png"): evil}, lambda _: evil)
    assert evil not in page and "<b onclick" not in page
    # Headline, finding with its unit, picture thrice, target with its unit, phase.
    assert page.count("&lt;b onclick=&#34;x()&#34;&gt;&amp;") == 9
    assert evil in summary.text()


@pytest.mark.slow
def test_the_page_begins_with_our_words_and_agrees_with_the_verdict(
    page: str, summary: Summary
) -> None:
    assert page.index("<body") < page.index("<section") < page.index("</body>")
    assert summary.findings[0].what in _own_words(page)
    tests = summary.verdict.tests[summary.verdict.tests["kind"] == DRIFT]
    names = tests["part"] + " " + tests["indicator"]
    expected = dict(zip(names, (tests["status"] == ALARM).tolist()))
    assert _called(page) == expected
    assert sum(expected.values()) >= 2
    assert "Dataset Drift is detected" in page


@pytest.mark.slow
def test_the_page_holds_its_pictures(page: str) -> None:
    pictures = re.findall('<img src="data:image/png;base64,([^"]+)"', _own_words(page))
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
    tables, file = _tables(two, 0.0), tmp_path / "report.html"
    report.write_report(_summary(tables, two), {}, tables, two, file)
    page = file.read_text(encoding="utf-8")
    assert set(_called(page).values()) == {False}
    assert "Dataset Drift is NOT detected" in page


def test_a_month_of_too_few_rows_has_a_page_of_words(spec: SoftSensor, tmp_path: Path) -> None:
    month, usual = _tables(spec, 0.0)
    tables, file = (month.head(10), usual), tmp_path / "report.html"
    summary = _summary(tables, spec)
    assert summary.verdict.status == TOO_FEW
    report.write_report(summary, {}, tables, spec, file)
    page = file.read_text(encoding="utf-8")
    assert page == f"<!DOCTYPE html><meta charset='utf-8'>{summary.html({}, str)}"
    assert GREY in page and "nothing can be said of it" in page


@pytest.mark.slow
def test_a_sensor_without_values_does_not_keep_the_page_from_being_written(
    spec: SoftSensor, tmp_path: Path
) -> None:
    three, lost = _only(spec, 3), spec.sensors[2]
    month, usual = _tables(three, 3.0)
    month = month.assign(**dict.fromkeys(three.features_of(lost), np.nan))
    tables, file = (month, usual), tmp_path / "report.html"
    summary = _summary(tables, three)
    assert summary.verdict.sensors == [spec.sensors[0].name, lost.name]
    report.write_report(summary, {}, tables, three, file)
    page = file.read_text(encoding="utf-8")
    assert f"{lost.title} ({lost.name}): 100 points more" in _own_words(page)
    assert not any(name.startswith(lost.name) for name in _called(page))
    assert len(_called(page)) == 4 * 2 + len(spec.targets)


@pytest.mark.slow
def test_each_accused_sensor_has_a_picture_but_not_more_than_two(
    spec: SoftSensor, tmp_path: Path
) -> None:
    month, usual = _tables(spec, 0.0)
    for sensor in spec.sensors[1:4]:
        month = moved(month, sensor.name, 3.0, spec)
    summary = _summary((month, usual), spec)
    assert len(summary.verdict.sensors) == 3
    pictures = _drawn(summary, (month, usual), spec, tmp_path / "new")
    expected = [*summary.verdict.sensors[:2], "history"]
    assert [file.stem for file in pictures] == expected
    assert sorted((tmp_path / "new").iterdir()) == sorted(pictures)
    assert all(file.read_bytes().startswith(PNG) for file in pictures)
    assert all(words.startswith(name) for name, words in zip(expected[:2], pictures.values()))


def test_a_first_healthy_report_has_no_pictures(spec: SoftSensor, tmp_path: Path) -> None:
    tables = _tables(spec, 0.0)
    verdict = _summary(tables, spec).verdict
    first = verdict.tests.assign(until=pd.Timestamp(YEAR, unit="s", tz="UTC"))
    assert not report.draw(verdict, tables, first, spec, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("other", ["one sensor", "17 sensors and one phase"])
def test_other_soft_sensors_have_a_report(other: str, spec: SoftSensor, tmp_path: Path) -> None:
    rig = {
        "one sensor": _only(spec, 1),
        "17 sensors and one phase": load_soft_sensor(ROOT / "examples/hydraulics/params.yaml"),
    }[other]
    tables, file = _tables(rig, 3.0), tmp_path / "report.html"
    summary = _summary(tables, rig)
    title = rig.sensors[0].title
    assert summary.headline == f"{rig.name}: alarm: {title}"
    pictures = _drawn(summary, tables, rig, tmp_path)
    report.write_report(summary, pictures, tables, rig, file)
    page = file.read_text(encoding="utf-8")
    assert title in _own_words(page)
    kinds = 4 if len(rig.sensors) > 1 else 3
    assert len(_called(page)) == kinds * len(rig.sensors) + len(rig.targets)
    assert len(re.findall("<img", _own_words(page))) == 2
