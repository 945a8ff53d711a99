"""How far a long step has come: a terminal shows it, a log gets a line at times."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]  # called with the number of units that are done in addition
Watch = Callable[[str, int | None], AbstractContextManager[Advance]]
Batch = TypeVar("Batch", bound=Sized)

BETWEEN_LINES = 10.0  # s


@contextmanager
def _logged(title: str, total: int | None) -> Iterator[Advance]:
    """Log how far a step has come, unless it is short."""
    done, last = 0, time.monotonic()

    def advance(units: int) -> None:
        nonlocal done, last
        done += units
        if time.monotonic() - last >= BETWEEN_LINES:
            last = time.monotonic()
            logger.info("%s: %d%s", title, done, f" of {total}" if total is not None else "")

    yield advance


_watch: ContextVar[Watch] = ContextVar("watch", default=_logged)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Report the steps inside to somebody else than the log.

    Args:
        watch: called with the title of each step and its number of units, None when it is unknown;
            its context lasts as long as the step.
    """
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def step(title: str, total: int | None = None) -> AbstractContextManager[Advance]:
    """A step that may take more than a moment; yields what is called as its units get done."""
    return _watch.get()(title, total)


def through(batches: Iterable[Batch], title: str, total: int | None = None) -> Iterator[Batch]:
    """The batches as they are; each counts by its length when the next one is asked for."""
    with step(title, total) as advance:
        for batch in batches:
            yield batch
            advance(len(batch))
