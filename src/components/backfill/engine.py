"""What computes the features of units, several at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from src.components.backfill.units import Unit
from src.process import interrupted_by

if TYPE_CHECKING:
    import pyarrow as pa

AHEAD = 2  # units whose features wait for whoever asked for them


class Engine(Protocol):
    """Runs the one statement of the features."""

    def features(self, unit: Unit) -> pa.Table:
        """What `features_query` gives for the rows of a unit, with phases that are empty."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """End what it is computing, from another thread."""


def features_of(
    engine: Engine, units: Sequence[Unit], jobs: int
) -> Generator[tuple[Unit, pa.Table | Exception]]:
    """The features of each unit, in order, or the error that it ended with.

    Args:
        jobs: units at a time.
    """
    pool = ThreadPoolExecutor(jobs)
    to_come = iter(units)
    waiting: deque[tuple[Unit, Future[pa.Table]]] = deque()
    try:
        with interrupted_by(engine.interrupt):
            while True:
                for unit in islice(to_come, jobs + AHEAD - len(waiting)):
                    waiting.append((unit, pool.submit(engine.features, unit)))
                if not waiting:
                    return
                unit, future = waiting.popleft()
                yield unit, _result(future)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        engine.interrupt()
        pool.shutdown()


def _result(future: Future[pa.Table]) -> pa.Table | Exception:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error
