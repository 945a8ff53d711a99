"""A history to score on a Spark cluster of this machine, and the command that does."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from src.components.registry.production import promote
from src.components.registry.versions import Registry
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, made_from
from tests.processes import running
from tests.spark.cluster import QUICK, Cluster, standalone
from tests.spark.history import training_table, write_history

UNIT_ROWS = 1000  # so that the history has several units
WORKERS = 2

Backfill = Callable[..., AbstractContextManager[Popen[str]]]


@pytest.fixture(autouse=True)
def fixture_environment() -> Iterator[None]:
    """PySpark notes in the environment that a session is one of Connect; then no other begins."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(name="cluster", scope="session")
def fixture_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of all tests."""
    if shutil.which("java") is None:
        pytest.fail("there is no Java: install a headless JRE, 17 or newer")
    with standalone(tmp_path_factory.mktemp("cluster"), WORKERS, 2, QUICK) as cluster:
        yield cluster


@pytest.fixture(name="history", scope="session")
def fixture_history(spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind that a historian may have written."""
    folder = tmp_path_factory.mktemp("source") / "history"
    write_history(spec, folder)
    return folder


@pytest.fixture(name="trained_home", scope="session")
def fixture_trained_home(
    params: Path, spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home whose registry holds one version, of small members, in Production."""
    folder = tmp_path_factory.mktemp("trained")
    settings = Settings(impress_home=folder, impress_params=params, mlflow_tracking_uri=None)
    for name in ("rows", "pages"):
        (folder / name).mkdir()
    bundle = made_from(training_table(spec, folder / "rows"), spec, MEMBERS)
    registry = Registry(settings, spec.name)
    promote(registry, registry.log(bundle, {}, {}, folder / "pages"), "the first")
    return folder


@pytest.fixture(name="home")
def fixture_home(
    production: Path, params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home of this test's own, which has a model in production."""
    assert production
    monkeypatch.setenv("IMPRESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMPRESS_PARAMS", str(params))
    return tmp_path / "home"


@pytest.fixture(name="backfill")
def fixture_backfill(home: Path, cluster: Cluster, history: Path, tmp_path: Path) -> Backfill:
    """`impress backfill` of the history as a process beside the test."""
    assert home
    (tmp_path / "work").mkdir()

    def run(out: Path, master: str, *options: str) -> AbstractContextManager[Popen[str]]:
        words = ["backfill", str(history), str(out), "--unit-rows", str(UNIT_ROWS)]
        return running(  # type: ignore[return-value]  # of text
            [sys.executable, "-m", "src.cli", *words, *spark(master), *options],
            env={**os.environ, **cluster.environment},
            cwd=tmp_path / "work",
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=(tmp_path / "stderr").open("ab"),
            text=True,
        )

    return run


def spark(master: str) -> list[str]:
    """Options."""
    return ["--engine", "spark", "--master", master, "--jobs", "2"]
