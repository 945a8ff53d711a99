"""What computes the features of units, several at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from src.components.backfill.units import Unit
from src.process import interrupted_by

if TYPE_CHECKING:
    import pyarrow as pa


class Engine(Protocol):
    """Runs the one statement of the features."""

    def features(self, unit: Unit) -> pa.Table:
        """What `features_query` gives for the rows of a unit, with phases that are empty."""

    def interrupt(self) -> None:
        """End what it is computing, from another thread."""


def features_of(
    engine: Engine, units: Sequence[Unit], jobs: int
) -> Iterator[tuple[Unit, pa.Table | Exception]]:
    """The features of each unit, in order, or the error that it ended with.

    Args:
        jobs: units at a time.
    """
    pool = ThreadPoolExecutor(jobs)
    try:
        with interrupted_by(engine.interrupt):
            waiting = [pool.submit(engine.features, unit) for unit in units]
            for unit, future in zip(units, waiting):
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
