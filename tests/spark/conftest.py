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

from src.soft_sensor import SoftSensor
from tests.processes import running
from tests.spark.cluster import QUICK, Cluster, standalone
from tests.spark.history import write_history

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


@pytest.fixture(name="backfill")
def fixture_backfill(
    small_production: Path, cluster: Cluster, history: Path, tmp_path: Path
) -> Backfill:
    """`impress backfill` of the history as a process beside the test."""
    assert small_production
    (tmp_path / "work").mkdir()

    def run(out: Path, master: str, *options: str) -> AbstractContextManager[Popen[str]]:
        words = ["backfill", str(history), str(out), "--unit-rows", str(UNIT_ROWS)]
        return running(  # type: ignore[return-value]  # of text
            [sys.executable, "-m", "src.cli", *words, *spark(master), *options],
            env={
                **os.environ,
                **cluster.environment,
                "IMPRESS_HOME": str(tmp_path),
                "IMPRESS_PARAMS": str(tmp_path / "params.yaml"),
            },
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
