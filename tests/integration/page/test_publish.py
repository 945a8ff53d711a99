"""The site as files: whole or not at all, never in the place of something else, by reading only."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import boto3
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError
from typer.testing import CliRunner

from src.cli.commands import main
from src.components.database.connection import connect
from src.components.database.schema import initialise
from src.components.page.phase import Reader, keys_of
from src.components.page.publish import publish
from src.components.page.results import page_name
from src.components.page.site import INDEX, MENU, render, render_phase
from src.components.page.source import Source
from src.errors import DataError
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.conftest import ROOT
from tests.integration.page.conftest import source_of
from tests.integration.workbench import Workbench

DAY = 86_400


def _fill(engine: Engine, spec: SoftSensor, phases: int, days: float) -> None:
    """A ledger of rinses that end evenly over the last days, a third of them of each verdict."""
    values = ", ".join(
        f"{40 + 5 * n} + n % 17, {38 + 5 * n} + n % 17, {45 + 5 * n} + n % 17"
        for n in range(len(spec.targets))
    )
    names = [f'"{t.name}", "{t.lower}", "{t.upper}"' for t in spec.targets]
    statement = f"""
        INSERT INTO archived_data (experimentnummer, waschen, {", ".join(names)}, verdict, flags,
          n_samples, first_timestamp, last_timestamp, model_version, run_id, predicted_at)
        SELECT n, 0, {values},
          (ARRAY['clean', 'not clean', 'uncertain: take a laboratory sample'])[n % 3 + 1], '',
          1000, t - 1500, t, CASE WHEN n < {phases} / 2 THEN '1' ELSE '2' END, 1, now()
        FROM (SELECT n, extract(epoch FROM now()) - {days * DAY} * (1 - n / {phases}.0) AS t
              FROM generate_series(1, {phases}) AS n) AS made"""
    with engine.begin() as connection:
        connection.execute(text(statement))


@pytest.fixture(name="source")
def fixture_source(engine: Engine, spec: SoftSensor, home: Path) -> Source:
    """An installation without anything, but with tables."""
    assert home and engine
    with connect(Settings(), read_only=True) as reading:
        return Source(reading, Settings(), spec)


def test_a_week_of_500_rinses_is_rendered_in_two_seconds_and_stays_small(
    engine: Engine, source: Source
) -> None:
    _fill(engine, source.spec, phases=500, days=6.9)
    render(INDEX, source)  # imports, templates, and that there is no model
    tracemalloc.start()
    start = time.process_time()
    page = render(INDEX, source)
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2 * 3  # tracemalloc alone slows it down threefold
    assert peak < 300e6
    assert len(page.encode()) < 100 * 1024
    assert "150 of 500 are listed" in page
    assert page.count('class="skip"') == 1 and "167" in page  # not clean


def test_a_year_of_history_is_thinned_out_and_says_so(engine: Engine, source: Source) -> None:
    _fill(engine, source.spec, phases=26_000, days=364)
    page = render("history.html", source)
    assert len(page.encode()) < 100 * 1024
    assert re.search(r"\d+ of 26,000 results are drawn", page)
    assert "model 2" in page


@pytest.mark.parametrize("file", ["params.yaml", "examples/hydraulics/params.yaml"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_an_empty_database_says_what_to_do_first(
    file: str, language: str, engine: Engine, home: Path
) -> None:
    content = (ROOT / file).read_text(encoding="utf-8").replace("language: en", "")
    params = home / "other.yaml"
    params.write_text(f"language: {language}\n{content}", encoding="utf-8")
    spec = load_soft_sensor(params)
    with engine.begin() as connection:
        for table in ("online", "archived", "rejected", "laboratory"):
            for prefix in ("", "test_"):
                connection.execute(text(f"DROP TABLE {prefix}{table}_data CASCADE"))
    with connect(Settings(), read_only=True) as reading:
        assert "impress init" in render("state.html", Source(reading, Settings(), spec))
        initialise(engine, spec)
        source = Source(reading, Settings(), spec)
        for name in (INDEX, "history.html", "sensors.html"):
            page = render(name, source)
            for command in ("train", "promote", "load FILE", "predict"):
                assert f"impress {command}" in page
        assert "impress monitor" in render("sensors.html", source)
        assert "impress train" in render("model.html", source)
        assert "<h1>" in render("state.html", source)


def test_a_site_replaces_a_site_and_nothing_else(source: Source, home: Path) -> None:
    folder = home / "site"
    assert publish(source, str(folder)) == len(MENU)
    (folder / "phase-of-last-week.html").write_text("old", encoding="utf-8")
    publish(source, str(folder))
    assert not (folder / "phase-of-last-week.html").exists()
    precious = home / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(DataError, match="not empty"):
        publish(source, str(precious))
    assert [file.name for file in precious.iterdir()] == ["thesis.txt"]
    left = {path.name for path in home.iterdir() if "site" in path.name}
    assert left == {"site"}


def test_a_failure_leaves_the_old_site_as_it_is(source: Source, home: Path) -> None:
    folder = home / "sites" / "site"
    publish(source, str(folder))
    held = (folder / INDEX).read_bytes()
    with pytest.raises(RuntimeError, match="no more pages"):
        publish(_Unwell(source.engine, source.settings, source.spec), str(folder))
    assert (folder / INDEX).read_bytes() == held
    assert [path.name for path in folder.parent.iterdir()] == ["site"]


class _Unwell(Source):
    """An installation that fails while its pages are written."""

    @property
    def model(self) -> None:
        """As when the disk is full, or the server goes away."""
        raise RuntimeError("no more pages")


@pytest.mark.usefixtures("production")
def test_predict_publishes_last_and_succeeds_although_it_cannot(
    inbox: Engine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inbox
    (home / "taken").mkdir()
    (home / "taken" / "file").touch()
    monkeypatch.setenv("PAGE_TARGET", str(home / "taken"))
    done = CliRunner().invoke(main, ["predict"])
    assert done.exit_code == 0
    assert "the pages were not published" in done.stderr and "not empty" in done.stderr
    monkeypatch.setenv("PAGE_TARGET", str(home / "site"))
    assert CliRunner().invoke(main, ["predict"]).exit_code == 0
    assert "24" in (home / "site" / INDEX).read_text(encoding="utf-8")


def test_pages_go_to_s3_with_their_type_and_the_index_last(source: Source, bucket: str) -> None:
    assert publish(source, bucket) == len(MENU)
    name, _, prefix = bucket.removeprefix("s3://").partition("/")
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=name)["Contents"]
    assert {entry["Key"] for entry in listed} == {f"{prefix}/{page}" for page in MENU}
    index = client.get_object(Bucket=name, Key=f"{prefix}/{INDEX}")
    assert index["ContentType"] == "text/html; charset=utf-8"
    assert index["LastModified"] == max(entry["LastModified"] for entry in listed)


def test_pages_need_a_role_that_can_read_and_no_more(
    laundry: Settings, postgres: Engine, home: Path
) -> None:
    with postgres.connect() as connection:
        if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = 'reader'")):
            connection.execute(text("CREATE ROLE reader LOGIN"))
            connection.commit()
    with connect(laundry) as owner, owner.begin() as connection:
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
    reader = laundry.model_copy(update={"db_username": "reader"})
    with source_of(reader) as source:
        assert publish(source, str(home / "site")) > len(MENU)


def test_a_report_is_published_only_if_it_is_one(
    engine: Engine, source: Source, home: Path
) -> None:
    (home / "secret.txt").write_text("s3cret", encoding="utf-8")
    report = home / "artifacts" / "reports" / "drift-1" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("a report", encoding="utf-8")
    statement = text("""
        INSERT INTO runs (pipeline, started_at, ended_at, outcome, details)
        VALUES ('monitor', now(), now(), 'no drift', jsonb_build_object(
          'until', now(), 'report', CAST(:report AS text)))""")
    for number, file in enumerate(
        (report, home / "secret.txt", report.parent / "../../../secret.txt")
    ):
        with engine.begin() as connection:
            connection.execute(statement, {"report": str(file)})
        publish(source, str(home / "site"))
        published = [page.read_text("utf-8") for page in (home / "site").glob("report-*.html")]
        assert published == ["a report"], number


def test_a_connection_for_pages_refuses_to_write(engine: Engine) -> None:
    assert engine
    with connect(Settings(), read_only=True) as reading, reading.connect() as connection:
        with pytest.raises(InternalError, match="read-only transaction"):
            connection.execute(text("DELETE FROM runs"))


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{7*7}}"


class _Elements(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and what would run or be fetched."""
        self.found.add(tag)
        self.found |= {name for name, _ in attrs if name.startswith("on") or name == "src"}


def test_names_and_titles_cannot_become_part_of_a_page(engine: Engine, spec: SoftSensor) -> None:
    hostile = spec.columns.model_copy(update={"experiment_type": "text"})
    titled = tuple(
        quantity.model_copy(update={"title": HOSTILE, "unit": HOSTILE}) for quantity in spec.sensors
    )
    targets = tuple(
        quantity.model_copy(update={"title": HOSTILE, "unit": HOSTILE}) for quantity in spec.targets
    )
    rig = spec.model_copy(update={"columns": hostile, "sensors": titled, "targets": targets})
    bench = Workbench(engine, rig)
    for table in ("online", "archived", "rejected", "laboratory"):
        for prefix in ("", "test_"):
            bench.execute(f"DROP TABLE {prefix}{table}_data CASCADE")
    initialise(engine, rig)
    names = [HOSTILE, "../../etc/passwd", "a%2Fb-0", "é" * 90, "tab\there is none"]
    for name in names[:-1]:
        bench.add(name, 0, rows=5, ph=6.0)
    bench.add(names[0], 9, rows=5)
    bench.score()
    bench.execute("UPDATE archived_data SET verdict = 'not clean', flags = :flags", flags=HOSTILE)
    with connect(Settings(), read_only=True) as reading:
        source = Source(reading, Settings(), rig)
        pages = {name: render(name, source) for name in (INDEX, "history.html", "state.html")}
        for name in names[:-1]:
            page = page_name(name, 0)
            assert "/" not in page and len(page) < 200
            keys = keys_of(page, source)
            assert keys == (name, rig.phases[1])
            (detail,) = Reader(source).read([keys])
            pages[page] = render_phase(detail, source)
        assert keys_of("phase-..%2F..%2Fetc-0.html", source) != (names[1], rig.phases[1])
    for page in pages.values():
        assert not _Elements(page).found & {"script", "img", "iframe", "onerror", "src"}
        assert "{{7*7}}" in page or "49" not in page
    assert "&lt;script&gt;" in pages[INDEX]


WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from src.pipelines.page_pipeline import write_site
from src.settings import Settings
print(write_site(Settings(), {target!r}))
"""
NOT_IN_THE_PREDICT_IMAGE = {
    *("boto3", "duckdb", "dvc", "evidently", "matplotlib", "optuna", "pyarrow", "scipy"),
    *("shap", "sklearn", "statsmodels", "xgboost"),
}


def test_pages_need_nothing_that_the_predict_image_lacks(
    laundry: Settings, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("impress_params", "db_hostname", "db_name", "db_username", "mlflow_tracking_uri"):
        monkeypatch.setenv(name.upper(), str(getattr(laundry, name)))
    program = WITHOUT.format(absent=NOT_IN_THE_PREDICT_IMAGE, target=str(home / "site"))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > len(MENU) + 20
