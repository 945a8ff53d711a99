"""Commands that are asked to stop, as a platform asks them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, text

from src.process import STOPPED
from tests.processes import running, wait_for

IN_TIME = 2.0  # s
WAITING_FOR_A_LOCK = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@contextmanager
def started(*words: str, init: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command; without an init it is process 1, which no signal ends that it does not handle.

    Yields the process to be asked to stop.
    """
    command = [sys.executable, "-m", "src.cli", *words]
    if not init:
        command = ["unshare", "--pid", "--fork", "--kill-child", "--", *command]
    # Python does without Ctrl-C where it is ignored, as in what a shell runs in the background.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with running(command, stderr=subprocess.PIPE) as process:
            signal.signal(signal.SIGINT, before)
            yield process
    finally:
        signal.signal(signal.SIGINT, before)


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
