"""The pages in a real browser: every one can be read, and says what the database says."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser
from sqlalchemy import Engine, text

from src.components.database.connection import connect
from src.components.database.schema import initialise
from src.components.page.publish import publish
from src.components.page.results import page_name
from src.components.page.site import INDEX, MENU, render
from src.components.page.source import Source
from src.components.page.week import read_week
from src.components.page.words import BELIEVED, OPEN, belief
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.builders.months import WORDS_OF_A_LAUNDRY
from tests.conftest import ROOT
from tests.integration.page.browser import DESK, PHONE, examine, opened
from tests.integration.page.conftest import source_of
from tests.integration.workbench import Workbench


@pytest.fixture(name="pictures")
def fixture_pictures(request: pytest.FixtureRequest) -> Path:
    """A folder for screenshots, which stays after the test."""
    name: str = request.node.name
    folder = Path(tempfile.gettempdir()) / "impress-pages" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def test_every_page_of_a_laundry_can_be_read_by_everybody(
    site: Path, chromium: Browser, pictures: Path
) -> None:
    files = [file for file in sorted(site.glob("*.html")) if not file.name.startswith("report-")]
    phases = [file for file in files if file.name.startswith("phase-")]
    assert len(files) == len(MENU) + len(phases) and len(phases) > 20
    faults = []
    for file in [*(site / name for name in MENU), phases[0]]:
        faults += examine(chromium, file, pictures)
    assert not faults, "\n".join(faults)


def test_the_pages_are_german_where_params_yaml_says_so(
    laundry: Settings, chromium: Browser, home: Path, pictures: Path
) -> None:
    with source_of(laundry, "de") as source:
        for name in MENU:
            (home / name).write_text(render(name, source), encoding="utf-8")
    page = opened(chromium, (home / INDEX).as_uri(), viewport=PHONE).page
    words = page.locator("main").inner_text()
    for german in ("Spülgänge", "nicht sauber", "Oberflächenspannung", "Leitfähigkeit"):
        assert german in words
    assert page.locator("html").get_attribute("lang") == "de"
    faults = [fault for name in MENU for fault in examine(chromium, home / name, pictures)]
    assert not faults, "\n".join(faults)


def test_the_figures_of_the_page_are_those_of_the_database(
    laundry: Settings, site: Path, chromium: Browser
) -> None:
    with source_of(laundry) as source:
        with source.engine.connect() as connection:
            query = "SELECT * FROM latest_predictions WHERE waschen = 0"
            ledger = pd.read_sql(text(query), connection)
    newest = ledger["last_timestamp"].max()
    week = ledger[ledger["last_timestamp"] > newest - 7 * 86400]
    page = opened(chromium, (site / INDEX).as_uri(), viewport=DESK).page
    verdicts = week["verdict"].str.partition(":")[0]
    for kind, verdict in (("n", "not clean"), ("u", "uncertain"), ("c", "clean")):
        shown = page.locator(f".counts > .{kind} strong").inner_text()
        assert int(shown.split()[-1]) == (verdicts == verdict).sum() > 0, verdict
    rows = page.locator("tbody tr:not(.group)")
    assert rows.count() == len(week)
    for row in rows.all():
        number = int(row.locator("a").inner_text())
        truth = week.set_index("experimentnummer").loc[number]
        value, lower_upper = row.locator("td").first.inner_text().split("\n")[:2]
        assert float(value.split()[0]) == pytest.approx(truth["oberflaechenspannung"], rel=0.006)
        lower, upper = map(float, lower_upper.split("–"))
        assert lower == pytest.approx(truth["oberflaechenspannung_lower"], rel=0.006)
        assert upper == pytest.approx(truth["oberflaechenspannung_upper"], rel=0.006)
    bad = week[verdicts == "not clean"]["experimentnummer"]
    card = page.locator(".card", has=page.get_by_role("heading", name="Not clean"))
    assert sorted(map(int, card.locator("a").all_inner_texts())) == sorted(bad)


def test_a_promise_about_verdicts_needs_sensors_that_read_as_in_training(
    laundry: Settings,
) -> None:
    with source_of(laundry) as source:
        week = replace(read_week(source), promised=True)
    assert week.report is not None and week.report.alarm
    accepted = replace(week, report=replace(week.report, accepted=True))
    for shown, sign in ((week, OPEN), (accepted, BELIEVED)):
        (promise,) = [each for each, words in belief(shown, source) if "of 100 results" in words]
        assert promise == sign


def test_the_page_names_the_probe_to_check_and_says_how(
    laundry: Settings, site: Path, chromium: Browser
) -> None:
    page = opened(chromium, (site / INDEX).as_uri(), viewport=DESK).page
    card = page.locator(".card", has=page.get_by_role("heading", name="Check the sensors"))
    assert "conductivity" in card.inner_text()
    assert "calibrate" in card.inner_text()
    first, second = page.locator(".actions li").all_inner_texts()
    assert "Sample next: " in first and "Check: conductivity" in second
    card.get_by_role("link").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Check: conductivity"
    assert " reads wrongly: washing +" in page.locator(".card").first.inner_text()
    with source_of(laundry) as source:
        newest = read_week(source).until
    # It is dated by its water, and not by when it was written.
    assert newest and f"phases until {source.language.day(newest)}:" in page.content()
    report = page.get_by_role("link", name="the whole report").get_attribute("href")
    assert report and "evidently" in (site / report).read_text(encoding="utf-8").lower()
    page.get_by_role("link", name="Week").click()
    experiment = page.locator("tbody a").first
    number = experiment.inner_text()
    experiment.click()
    assert page.url.endswith(page_name(int(number), 0))
    assert page.get_by_role("heading", level=1).inner_text().startswith(f"✗ {number}, rinsing")
    assert page.locator("svg[role=img]").count() == 5  # the raw rows are there


def test_the_keyboard_reaches_the_content_first(site: Path, chromium: Browser) -> None:
    page = opened(chromium, (site / INDEX).as_uri(), viewport=DESK).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#main"
    for picture in page.locator("svg[role=img]").all():
        assert picture.get_attribute("aria-label")
    for table in page.locator("table").all():
        assert table.locator("caption").count() == 1


def test_another_rig_has_pages_from_the_first_day_and_in_its_own_words(
    engine: Engine, chromium: Browser, home: Path, pictures: Path
) -> None:
    rig = load_soft_sensor(ROOT / "examples" / "hydraulics" / "params.yaml")
    bench = Workbench(engine, rig)
    for table in ("online", "archived", "rejected", "laboratory"):
        for prefix in ("", "test_"):
            bench.execute(f"DROP TABLE {prefix}{table}_data CASCADE")
    initialise(engine, rig)
    with connect(Settings(), read_only=True) as reading:
        publish(Source(reading, Settings(), rig), str(home / "empty"))
        _write_cycles(engine, rig)
        publish(Source(reading, Settings(), rig), str(home / "site"))
    files = [*(home / "empty" / name for name in MENU), *(home / "site" / name for name in MENU)]
    files.append(home / "site" / page_name(7, "cycle"))
    faults = [fault for file in files for fault in examine(chromium, file, pictures)]
    assert not faults, "\n".join(faults)
    for file in (home / "site").glob("*.html"):
        words = file.read_text(encoding="utf-8").lower()
        assert not [word for word in WORDS_OF_A_LAUNDRY if re.search(rf"\b{word}\b", words)]
    page = opened(chromium, (home / "site" / INDEX).as_uri(), viewport=DESK).page
    assert page.get_by_role("heading", level=1).inner_text() == "40 results this week"
    assert page.locator("tbody tr").count() == 40


def _write_cycles(engine: Engine, rig: SoftSensor) -> None:
    """Forty predictions of the last day."""
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"experiment_id": np.arange(40), "phase": "cycle"})
    for target in rig.targets:
        value = random.uniform(target.low, target.high, len(rows))
        rows[target.name] = value
        rows[target.lower], rows[target.upper] = 0.9 * value, 1.1 * value
    now = datetime.now(UTC)
    rows["last_timestamp"] = now.timestamp() - 3600 * np.arange(40)[::-1] / 2
    rows["first_timestamp"] = rows["last_timestamp"] - 60
    rows = rows.assign(
        verdict="", flags="", n_samples=60, model_version="1", run_id=1, predicted_at=now
    )
    rows.to_sql("archived_data", engine, if_exists="append", index=False)
