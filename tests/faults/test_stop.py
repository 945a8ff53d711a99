"""A run that is asked to stop ends in time, whatever it waits for, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import text

from src.process import STOPPED
from tests.faults.rig import Rig, finish
from tests.processes import answers, free_port, running, wait_for
from tests.stopping import ends_in_time, first_process, started, waits_for_a_lock


@pytest.fixture(name="silent")
def fixture_silent() -> Iterator[int]:
    """A port on which somebody listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


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
        with started(pipeline, init=init) as process:
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
    with started("predict") as process:
        wait_for(lambda: _connected_to(silent), "a call of the registry")
        ends_in_time(process)
    assert rig.table("runs")["outcome"].tolist() == ["stopped"]


def test_a_run_stops_while_a_database_does_not_answer(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_HOSTNAME", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", str(silent))
    with started("predict") as process:
        wait_for(lambda: _connected_to(silent), "a call of the database")
        ends_in_time(process)


@pytest.mark.parametrize("init", [True, False], ids=["under an init", "as process 1"])
@pytest.mark.usefixtures("rig")
def test_the_pages_stop_though_a_browser_keeps_its_connection(init: bool) -> None:
    if not init and os.geteuid() != 0:
        pytest.skip("only root makes a process number 1")
    port = free_port()
    with started("ui", "--port", str(port), init=init) as process, requests.Session() as browser:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), "an answer of the pages")
        assert browser.get(f"http://127.0.0.1:{port}/", timeout=30).ok
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")  # and nothing more
            ends_in_time(process, None if init else first_process(process))


def test_an_interpreter_that_is_slow_to_take_down_does_not_delay_the_end(home: Path) -> None:
    assert (home / "params.yaml").is_file()
    program = """
import time
from src.logger import job

class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(30)

slow = Slow()
with job("predict"):
    print("ready", flush=True)
    time.sleep(30)
"""
    command = [sys.executable, "-c", program]
    with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        ends_in_time(process)


def test_asking_twice_does_not_interrupt_the_rollback(rig: Rig) -> None:
    rig.arrive(1, 1, 20)
    with rig.engine.connect() as other:
        other.execute(text("LOCK TABLE online_data IN ACCESS EXCLUSIVE MODE"))
        with started("predict") as process:
            wait_for(lambda: waits_for_a_lock(rig.engine), "predict at work")
            process.send_signal(signal.SIGTERM)
            ends_in_time(process)
    assert rig.table("runs")["outcome"].tolist() == ["stopped"]


def test_asking_twice_cancels_what_is_under_way_once(home: Path) -> None:
    assert (home / "params.yaml").is_file()
    program = """
import hashlib, os, signal, sys, threading, time
from src.process import interrupted_by, stoppable

at_work = threading.Event()

def ask_twice():
    at_work.wait()
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)

with stoppable(), interrupted_by(lambda: print("interrupted", flush=True)):
    threading.Thread(target=ask_twice).start()
    sys.setswitchinterval(60)  # the other thread runs when this one is in C, and not before
    at_work.set()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # in C, where no handler runs
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (STOPPED, b"interrupted\n"), done.stderr


def test_ctrl_c_is_what_it_was(rig: Rig) -> None:
    rig.arrive(1, 1, 20)
    with rig.engine.connect() as other:
        other.execute(text("LOCK TABLE online_data IN ACCESS EXCLUSIVE MODE"))
        with started("predict") as process:
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
