"""A run that is asked to stop ends in time, whatever it waits for, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine, text

from src.process import STOPPED
from tests.faults.rig import Rig, finish
from tests.processes import answers, free_port, running, wait_for

IN_TIME = 2.0  # s
WAITING_FOR_A_LOCK = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture(name="silent")
def fixture_silent() -> Iterator[int]:
    """A port on which somebody listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@contextmanager
def impress(*words: str, init: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; without an init it is process 1, which no signal ends that it does not handle.

    Yields the process to be asked to stop.
    """
    command = [sys.executable, "-m", "src.cli", *words]
    if not init:
        command = ["unshare", "--pid", "--fork", "--kill-child", "--", *command]
    with running(command, stderr=subprocess.PIPE) as process:
        yield process


def first_process(parent: subprocess.Popen[bytes]) -> int:
    """The process that `unshare` has started as number 1 of its own."""
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    wait_for(lambda: bool(children.read_text("ascii").split()), "the child of unshare")
    return int(children.read_text("ascii").split()[0])


def ends_in_time(process: subprocess.Popen[bytes], pid: int | None = None) -> str:
    """Ask it to stop. Returns what it said; it has ended in time, with the code of SIGTERM."""
    asked = time.monotonic()
    os.kill(pid or process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    took = time.monotonic() - asked
    assert took < IN_TIME, f"it took {took:.1f} s"
    assert process.returncode == STOPPED == 143, said.decode()
    return said.decode()


def waits_for_a_lock(engine: Engine) -> bool:
    """Whether a statement does, and so the thread that has sent it."""
    with engine.connect() as connection:
        return bool(connection.scalar(WAITING_FOR_A_LOCK))


@pytest.mark.parametrize("init", [True, False], ids=["under an init", "as process 1"])
@pytest.mark.parametrize("pipeline", ["predict", "monitor"])
@pytest.mark.usefixtures("production")
def test_a_run_stops_while_postgresql_works_for_it(rig: Rig, pipeline: str, init: bool) -> None:
    if not init and os.geteuid() != 0:
        pytest.skip("only root makes a process number 1")
    rig.arrive(1, 1, 20)
    table = {"predict": "online_data", "monitor": "archived_data"}[pipeline]
    with rig.engine.connect() as other:
        other.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        with impress(pipeline, init=init) as process:
            wait_for(lambda: waits_for_a_lock(rig.engine), f"{pipeline} at work")
            said = ends_in_time(process, None if init else first_process(process))
        assert "asked to stop: what was not committed is rolled back" in said
        assert "Traceback" not in said
    (run,) = rig.table("runs").to_dict("records")
    assert run["pipeline"] == pipeline and run["outcome"] == "stopped"
    assert run["ended_at"] is not None and "error" in run["details"]


def test_the_run_after_it_does_its_work(rig: Rig) -> None:
    rig.arrive(1, 1, 20)
    rig.arrive(2, 1, 20)
    with rig.engine.connect() as other:
        other.execute(text("LOCK TABLE archived_data IN ACCESS EXCLUSIVE MODE"))
        process = rig.start()
        wait_for(lambda: waits_for_a_lock(rig.engine), "predictions to be written")
        process.terminate()
        assert finish(process) == STOPPED
    assert rig.table("archived_data").empty and len(rig.table("online_data")) == 40
    assert rig.run() == 0
    rig.check()
    assert rig.table("runs")["outcome"].tolist() == ["stopped", "done"]


def test_a_run_stops_while_a_registry_does_not_answer(
    rig: Rig, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.arrive(1, 1, 20)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent}")
    with impress("predict") as process:
        wait_for(lambda: _connected_to(silent), "a call of the registry")
        ends_in_time(process)
    assert rig.table("runs")["outcome"].tolist() == ["stopped"]


def test_a_run_stops_while_a_database_does_not_answer(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_HOSTNAME", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", str(silent))
    with impress("predict") as process:
        wait_for(lambda: _connected_to(silent), "a call of the database")
        ends_in_time(process)


@pytest.mark.parametrize("init", [True, False], ids=["under an init", "as process 1"])
@pytest.mark.usefixtures("rig")
def test_the_pages_stop_though_a_browser_keeps_its_connection(init: bool) -> None:
    if not init and os.geteuid() != 0:
        pytest.skip("only root makes a process number 1")
    port = free_port()
    with impress("ui", "--port", str(port), init=init) as process, requests.Session() as browser:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), "an answer of the pages")
        assert browser.get(f"http://127.0.0.1:{port}/", timeout=30).ok
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")  # and nothing more
            ends_in_time(process, None if init else first_process(process))


def test_asking_twice_does_not_interrupt_the_rollback(rig: Rig) -> None:
    rig.arrive(1, 1, 20)
    with rig.engine.connect() as other:
        other.execute(text("LOCK TABLE online_data IN ACCESS EXCLUSIVE MODE"))
        with impress("predict") as process:
            wait_for(lambda: waits_for_a_lock(rig.engine), "predict at work")
            process.send_signal(signal.SIGTERM)
            ends_in_time(process)
    assert rig.table("runs")["outcome"].tolist() == ["stopped"]


def test_ctrl_c_is_what_it_was(rig: Rig) -> None:
    rig.arrive(1, 1, 20)
    with rig.engine.connect() as other:
        other.execute(text("LOCK TABLE online_data IN ACCESS EXCLUSIVE MODE"))
        with impress("predict") as process:
            wait_for(lambda: waits_for_a_lock(rig.engine), "predict at work")
            process.send_signal(signal.SIGINT)
            other.rollback()  # the statement comes to its end
            process.communicate(timeout=30)
    assert process.returncode == 130
    (run,) = rig.table("runs").to_dict("records")
    assert run["outcome"] == "failed" and "KeyboardInterrupt" in run["details"]["error"]


def _connected_to(port: int) -> bool:
    """Whether a connection to the port is established."""
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return any(
        line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines
    )
