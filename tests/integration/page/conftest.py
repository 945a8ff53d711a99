"""A scored laundry with a failing probe, and a real browser."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from sqlalchemy import Engine, text

from Presentation.browser import chromium, program
from src import simulator
from src.components.database.connection import connect
from src.components.ingestion import laboratory
from src.components.ingestion.load import load_sensor_rows
from src.components.page.publish import publish
from src.components.page.source import Source
from src.pipelines.monitor_pipeline import monitor
from src.pipelines.predict_pipeline import predict
from src.settings import Settings, variables
from src.soft_sensor import load_soft_sensor
from tests.conftest import WITH_TABLES

# The model of the tests has seen too few experiments to be certain of anything.
VERDICTS = """
    UPDATE archived_data SET verdict = CASE
      WHEN oberflaechenspannung < 58 THEN 'not clean'
      WHEN oberflaechenspannung > 63 THEN 'clean'
      ELSE 'uncertain: take a laboratory sample' END
    WHERE waschen = 0 AND experimentnummer % 10 > 0"""


@pytest.fixture(name="laundry", scope="session")
def fixture_laundry(
    postgres_with_tables: Engine,
    trained_home: Path,
    params: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    """A healthy month that was analysed, then one with a failing probe; each was reported."""
    name = f"laundry_{uuid.uuid4().hex[:12]}"
    folder = tmp_path_factory.mktemp("laundry")
    with postgres_with_tables.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {WITH_TABLES}"))
    with pytest.MonkeyPatch.context() as patch:
        for variable in variables():
            patch.delenv(variable, raising=False)
        patch.chdir(folder)
        settings = Settings(
            impress_home=folder,
            impress_params=params,
            db_hostname=str(postgres_with_tables.url.query["host"]),
            db_name=name,
            db_username="postgres",
            mlflow_tracking_uri=f"sqlite:///{trained_home / 'artifacts/mlflow.db'}",
        )
        for first, fault in ((101, None), (201, "gain:leitfaehigkeit")):
            _month(settings, folder / f"month{first}", first, fault)
        with connect(settings) as engine, engine.begin() as connection:
            connection.execute(text(VERDICTS))
    yield settings
    with postgres_with_tables.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _month(settings: Settings, folder: Path, first: int, fault: str | None) -> None:
    spec = load_soft_sensor(settings.impress_params)
    simulator.simulate(folder, experiments=30, seconds=120, seed=3, first=first, fault=fault)
    with connect(settings) as engine:
        load_sensor_rows(engine, spec, folder / "sensors.csv")
        predict(settings)
        if fault is None:
            laboratory.load(engine, spec, folder / "lab.csv")
        monitor(settings)


@pytest.fixture(name="site", scope="session")
def fixture_site(laundry: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the laundry, in English; for reading."""
    folder = tmp_path_factory.mktemp("pages") / "site"
    with source_of(laundry) as source:
        publish(source, str(folder))
    return folder


@contextmanager
def source_of(settings: Settings, language: str = "en") -> Iterator[Source]:
    """What the pages of an installation are made from, in a language."""
    spec = load_soft_sensor(settings.impress_params)
    if language != spec.language:
        params = settings.impress_params.read_text(encoding="utf-8")
        assert "language: en" in params
        translated = Path(f"params-{language}.yaml").absolute()
        translated.write_text(params.replace("language: en", f"language: {language}"), "utf-8")
        spec = load_soft_sensor(translated)
    with connect(settings, read_only=True) as engine:
        yield Source(engine, settings, spec)


@pytest.fixture(name="chromium", scope="session")
def fixture_chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    if program() is None:
        pytest.skip("NO CHROMIUM: the pages were not looked at; apt-get install chromium")
    with chromium() as browser:
        yield browser
