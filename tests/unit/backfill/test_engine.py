"""Units are computed side by side, and handed over in their order."""

from __future__ import annotations

from threading import Barrier, Lock

import pyarrow as pa
import pytest

from src.components.backfill.engine import AHEAD, features_of
from src.components.backfill.units import Unit


def _units(count: int) -> list[Unit]:
    return [Unit(number, number, (), 1, ()) for number in range(count)]


class _Engine:
    """Gives each unit its number, and notes what happens."""

    def __init__(self) -> None:
        self.begun = 0
        self.interrupted = False
        self._lock = Lock()

    def features(self, unit: Unit) -> pa.Table:
        """One row."""
        with self._lock:
            self.begun += 1
        if unit.first == 3:
            raise OSError("a file")
        return pa.table({"number": [unit.first]})

    def interrupt(self) -> None:
        """Note it."""
        self.interrupted = True


@pytest.mark.parametrize("jobs", [1, 4])
def test_in_their_order_and_an_error_is_that_of_one_unit(jobs: int) -> None:
    found = list(features_of(_Engine(), _units(9), jobs))
    assert [unit.first for unit, _ in found] == list(range(9))
    for unit, table in found:
        if unit.first == 3:
            assert isinstance(table, OSError)
        else:
            assert not isinstance(table, Exception)
            assert table["number"].to_pylist() == [unit.first]


def test_it_does_not_run_far_ahead_of_who_scores(jobs: int = 2) -> None:
    engine = _Engine()
    found = features_of(engine, _units(100), jobs)
    for _ in range(5):
        next(found)
    found.close()
    assert engine.begun <= 5 + jobs + AHEAD
    assert engine.interrupted


def test_jobs_run_at_the_same_time() -> None:
    barrier = Barrier(3, timeout=60)

    class _Meeting(_Engine):
        def features(self, unit: Unit) -> pa.Table:
            barrier.wait()
            return super().features(unit)

    assert len(list(features_of(_Meeting(), _units(3), 3))) == 3
