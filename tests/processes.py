"""Processes that tests start and end, and waits for what they do."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import requests

DEADLINE = 200.0  # s, for a wait on a condition; a third of the timeout of a test
GRACE = 10.0  # s, from the request to end until the kill


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside the test; it and its children end with the block, however that ends.

    A block of Popen itself would wait for the command, for ever if an assertion in it failed.

    Args:
        options: of Popen.
    """
    # pylint: disable-next=consider-using-with  # see above
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        with suppress(ProcessLookupError):  # nobody is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(
    condition: Callable[[], bool], what: str, alive: Callable[[], bool] = lambda: True
) -> None:
    """Wait until a condition holds.

    Args:
        what: the condition in words, for the message.
        alive: whether it can still come to hold, such as whether a process still runs.

    Raises:
        AssertionError: when it does not hold by the deadline, or cannot come to hold any more.
    """
    end = time.monotonic() + DEADLINE
    while not condition():
        assert alive(), f"it ended without {what}"
        assert time.monotonic() < end, f"{DEADLINE:g} s without {what}"
        time.sleep(0.02)


def answers(url: str) -> bool:
    """Whether an HTTP server is there and well."""
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def as_user(name: str, function: Callable[[], object]) -> str:
    """Call a function in a child process that has become another user, which only root can.

    Whatever the function imports must be imported already: the other user may not be able to read
    it.

    Returns:
        The traceback of the function, empty if it returned.
    """
    user = pwd.getpwnam(name)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        try:
            function()
        except BaseException:  # pylint: disable=broad-exception-caught  # nothing is above it
            os.write(writing, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as answer:
        failure = answer.read()
    os.waitpid(pid, 0)
    return failure
