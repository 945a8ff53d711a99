"""Workers and drivers may be killed, and asked to stop, in the middle of a history."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from src.components.backfill.order import Order
from src.pipelines.backfill_pipeline import backfill as pipeline
from src.process import STOPPED
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.integration.backfill.conftest import phases, refused
from tests.processes import wait_for
from tests.spark.cluster import Cluster
from tests.spark.conftest import UNIT_ROWS, Backfill
from tests.spark.history import FILES
from tests.spark.test_same_answers import Answers, assert_same

IN_TIME = 10.0  # s, from the request to stop to the end of the process


@pytest.fixture(name="expected")
def fixture_expected(
    history: Path, small_production: Path, spec: SoftSensor, tmp_path: Path
) -> Answers:
    """By DuckDB."""
    assert small_production
    out = tmp_path / "duckdb"
    pipeline(Settings(), Order(str(history), str(out), unit_rows=UNIT_ROWS))
    return phases(out, spec), refused(out, spec)


def units(out: Path) -> dict[Path, int]:
    """Records of the units that are there, and when they were written."""
    return {file: file.stat().st_mtime_ns for file in (out / "units").glob("*.json")}


def test_a_worker_is_killed(
    backfill: Backfill, cluster: Cluster, expected: Answers, spec: SoftSensor, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = len(cluster.log("connect"))
    with backfill(out, cluster.connect) as run:
        wait_for(lambda: bool(units(out)), "a unit", lambda: run.poll() is None)
        os.killpg(cluster.workers[1].pid, signal.SIGKILL)  # with its executors
        there = len(units(out))
        said, _ = run.communicate()
    try:
        assert run.returncode == 0, (tmp_path / "stderr").read_text("utf-8")
        assert_same((phases(out, spec), refused(out, spec)), expected, spec)
        every = len(units(out))
        assert there < every
        assert "Lost executor" in cluster.log("connect")[before:]
        assert f"{every} of {every} units of {len(FILES)} files are there" in said
        assert f"{len(expected[0])} phases scored" in said
    finally:
        cluster.start_worker(1)


def test_the_driver_is_killed_and_a_second_start_does_the_rest(
    backfill: Backfill, cluster: Cluster, expected: Answers, spec: SoftSensor, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with backfill(out, cluster.connect) as first:
        wait_for(lambda: bool(units(out)), "a unit", lambda: first.poll() is None)
        first.kill()
        first.wait()
    there = units(out)
    assert not (out / "manifest.json").exists()
    with backfill(out, cluster.connect) as second:
        said, _ = second.communicate()
    assert second.returncode == 0 and "this run: 0 rows" not in said
    assert there.items() <= units(out).items()  # not done again
    assert_same((phases(out, spec), refused(out, spec)), expected, spec)
    every = units(out)
    with backfill(out, cluster.connect) as third:
        said, _ = third.communicate()
    assert third.returncode == 0 and "this run: 0 rows" in said
    assert units(out) == every


@pytest.mark.parametrize("kind", ["master", "connect"])
def test_it_stops_when_it_is_asked_to(
    backfill: Backfill, cluster: Cluster, kind: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    before = cluster.tasks()
    with backfill(out, getattr(cluster, kind)) as run:
        wait_for(lambda: cluster.tasks() > before, "a task", lambda: run.poll() is None)
        asked = time.monotonic()
        run.terminate()
        assert run.wait(60) == STOPPED
        assert time.monotonic() - asked < IN_TIME
        wait_for(lambda: not _is_there(run.pid), "the end of its JVM")
    assert not (out / "manifest.json").exists()


def _is_there(group: int) -> bool:
    """Whether a group of processes has any."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
