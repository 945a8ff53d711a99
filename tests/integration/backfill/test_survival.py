"""Whatever is killed, a second start does the rest, and the results are those of a single run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.components.backfill.results import open_results
from src.components.backfill.source import find
from src.soft_sensor import SoftSensor
from tests.integration.backfill.conftest import UNIT_ROWS, Command, Score, content
from tests.processes import running, wait_for


@contextmanager
def running_until_a_unit_is_done(
    arguments: list[str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`impress` with arguments as a process, whose results go to `out` in a folder."""
    with running(
        [sys.executable, "-m", "src.cli", *arguments],
        env=dict(os.environ),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        units = folder / "out" / "units"
        wait_for(lambda: any(units.glob("*.json")), "a unit", lambda: process.poll() is None)
        yield process


def test_what_was_killed_is_finished_by_a_second_start_and_a_third_does_nothing(
    command: Command, score: Score, history: Path, tmp_path: Path
) -> None:
    whole = score(out=str(tmp_path / "whole"))
    out = tmp_path / "out"
    arguments = ["backfill", str(history), str(out), "--unit-rows", str(UNIT_ROWS), "--jobs", "1"]
    with running_until_a_unit_is_done(arguments, tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    there = {file: file.stat().st_mtime_ns for file in (out / "units").glob("*.json")}
    second = command(*arguments)
    assert second.exit_code == 0, second.stderr
    assert f"{whole.units} of {whole.units} units" in second.stdout
    assert {file: file.stat().st_mtime_ns for file in there} == there  # not done again
    assert content(out) == content(tmp_path / "whole")
    before = content(out)
    third = command(*arguments)
    assert third.exit_code == 0
    assert "this run: 0 rows" in third.stdout
    assert content(out) == before


def test_shares_together_do_what_one_does_whichever_dies(
    score: Score, command: Command, history: Path, tmp_path: Path
) -> None:
    whole = score(out=str(tmp_path / "whole"))
    out = str(tmp_path / "out")
    arguments = ["backfill", str(history), out, "--unit-rows", str(UNIT_ROWS)]
    for share in ("3/3", "1/3"):
        done = command(*arguments, "--share", share)
        assert done.exit_code == 0, done.stderr
        assert not (tmp_path / "out" / "manifest.json").exists()
    done = command(*arguments, "--share", "2/3")
    assert f"{whole.units} of {whole.units} units" in done.stdout
    assert (tmp_path / "out" / "manifest.json").exists()
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_part_of_a_unit_counts_as_none(score: Score, tmp_path: Path) -> None:
    score()
    before = content(tmp_path / "out")
    record, *_ = sorted((tmp_path / "out" / "units").glob("*.json"))
    record.unlink()  # a kill between the phases of a unit and its record
    again = score()
    assert again.counts.phases > 0
    assert content(tmp_path / "out") == before


def test_sigterm_ends_it_in_seconds_and_leaves_whole_units(
    history: Path, small_production: Path, tmp_path: Path
) -> None:
    assert small_production
    arguments = ["backfill", str(history), str(tmp_path / "out"), "--unit-rows", "1"]
    with running_until_a_unit_is_done(arguments, tmp_path) as process:
        process.terminate()
        assert process.wait(20) == 143


def test_another_file_means_that_its_units_are_done_again_and_the_old_ones_go(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path
) -> None:
    score()
    units = set((tmp_path / "out" / "units").glob("*.json"))
    file = history / "month=2025-12" / "part-0.parquet"
    os.utime(file, ns=(1, 1))  # as an upload of the same content
    again = score()
    assert 0 < again.counts.phases
    now = set((tmp_path / "out" / "units").glob("*.json"))
    assert now != units and len(now) == len(units)
    assert spec.name in (tmp_path / "out" / "history.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("held", ["other", "history"])
def test_a_folder_with_something_else_is_refused(
    score: Score, tmp_path: Path, history: Path, held: str
) -> None:
    from src.errors import DataError

    if held == "other":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "letter.txt").touch()
        words = "is not empty and holds no results"
    else:
        score()
        os.rename(history / "month=2025-12", tmp_path / "elsewhere")
        words = "holds the results of"
    with pytest.raises(DataError, match=words):
        score(source=str(tmp_path / "elsewhere") if held == "history" else str(history))


def test_workers_that_start_at_once_share_a_folder(
    history: Path, tmp_path: Path, spec: SoftSensor
) -> None:
    source = find(str(history))

    def claim(_: int) -> str:
        return open_results(str(tmp_path / "out"), source, spec).root

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(claim, range(40))) == {str(tmp_path / "out")}
