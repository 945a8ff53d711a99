"""The number of this process's run, its cores, and whether it was asked to stop.

Platforms send SIGTERM, and kill some seconds later. An exception in the main thread rolls back what
is open. While that thread waits in C code, as for an answer of PostgreSQL, it would not notice;
so another thread cancels what it waits for, and ends the process if that takes too long. All of it
takes two seconds at most.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPED = 128 + signal.SIGTERM  # the exit code: as a shell has it for a process that a signal ended
GRACE = 1.5  # s, for rolling back

_stop_requested = threading.Event()
_interrupts: list[Callable[[], None]] = []
_runs: list[int] = []


class Stopped(SystemExit):
    """Raised in the main thread of a process that was asked to stop."""

    def __init__(self) -> None:
        super().__init__(STOPPED)

    def __str__(self) -> str:
        return "the process was asked to stop"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stop_requested() -> bool:
    """Whether this process was asked to stop."""
    return _stop_requested.is_set()


def run_number() -> int | None:
    """The number of the present run in the journal; None outside of one."""
    return _runs[-1] if _runs else None


@contextmanager
def numbered(run_id: int) -> Iterator[None]:
    """The block is the run `run_id`, for log lines of all threads."""
    _runs.append(run_id)
    try:
        yield
    finally:
        _runs.pop()


@contextmanager
def interrupted_by(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call `interrupt`, from another thread, if the process is asked to stop in this block."""
    _interrupts.append(interrupt)
    try:
        yield
    finally:
        _interrupts.remove(interrupt)


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise `Stopped` in this block when the process receives SIGTERM.

    Only the main thread receives signals; in any other this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stop_requested.clear()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    threading.Thread(target=_watch, args=[receiver], daemon=True).start()
    # Written to by the handler in C, at once, whatever the main thread is doing.
    wakeup = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        if not stop_requested():  # else it is ignored until the process has ended
            signal.signal(signal.SIGTERM, handler)
        signal.set_wakeup_fd(wakeup)
        sender.close()


def end_if_stopped() -> None:
    """End the process now if it was asked to stop; for `atexit`, where all work has ended.

    To take down an interpreter with the modules of a report costs seconds, in which no thread runs
    that could cut it short.
    """
    if stop_requested():
        with suppress(OSError):  # whoever read the output has gone
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(STOPPED)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    """Raise `Stopped`, once: nothing interrupts the rollback."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _stop_requested.set()
    raise Stopped


def _watch(receiver: socket.socket) -> None:
    """Wait for SIGTERM among the signals; end when the block has.

    Only the first one counts: another would cancel the note in the journal.
    """
    asked = False
    with receiver:
        while received := receiver.recv(1):
            if received[0] == signal.SIGTERM and not asked:
                asked = True
                _stop_requested.set()
                # Cancelling may itself wait for a server that does not answer.
                end = threading.Timer(GRACE, os._exit, [STOPPED])
                end.daemon = True
                end.start()
                for interrupt in list(_interrupts):
                    interrupt()
