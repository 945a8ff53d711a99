"""Whatever a rig's clock says, nothing waits for ever, and doubtful stamps are said."""

from __future__ import annotations

import pandas as pd
import pytest
from sqlalchemy import text

from src.components.inbox.hold import hold
from src.components.inbox.rejected import replay
from src.components.inbox.states import Inbox
from src.components.inbox.stock import STATE
from src.components.predictor.flags import joined, quality_flags
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
IN_FUTURE = {"tomorrow": -DAY, "next year": -YEAR, "in 29 years": -29 * YEAR}
IMPOSSIBLE = {
    "none": "NULL",
    "not a number": "'NaN'",
    "for ever": "'Infinity'",
    "since ever": "'-Infinity'",
    "1e308": "1e308",
    "-1e308": "-1e308",
    "milliseconds": "1000 * timestamp",
    "days of Excel": "timestamp / 86400 + 25569",
    "since the start": "p.number",
    "a century ahead": f"timestamp + {100 * YEAR}",
    "denormal": "5e-324",
    "-0.0": "'-0.0'",
}


@pytest.mark.parametrize("age", IN_FUTURE.values(), ids=IN_FUTURE)
def test_rows_from_the_future_wait_for_the_limit_and_no_longer(
    bench: Workbench, age: float
) -> None:
    bench.add(1, 1, 100, age=age)
    bench.add(2, 1, 50)
    outcome = bench.score()
    assert (outcome.scored, outcome.waiting) == (50, 100)
    bench.age(days=0.9)
    assert bench.score().waiting == 100
    bench.age(days=0.2)
    assert bench.score().scored == 100
    flags = bench.table("archived_data").set_index("experimentnummer")["flags"]
    assert flags.to_dict() == {1: "clock_ahead", 2: ""}


def _spoil(bench: Workbench, stamp: str, rows: int = 100) -> None:
    """Give the first rows of the inbox another stamp."""
    bench.execute(f"""
        UPDATE online_data AS o SET timestamp = {stamp}
        FROM (SELECT ctid AS place, row_number() OVER () AS number FROM online_data LIMIT {rows}) AS p
        WHERE o.ctid = p.place""")


@pytest.mark.parametrize("stamp", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_stamps_that_are_not_times_are_set_aside_at_once(bench: Workbench, stamp: str) -> None:
    bench.add(1, 1, 100)
    _spoil(bench, stamp)
    bench.add(2, 1, 50)
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (50, 100)
    assert set(bench.table("rejected_data")["reason"]) == {"impossible_timestamp"}


@pytest.mark.parametrize("stamp", [value for value in IMPOSSIBLE.values() if value != "NULL"])
def test_one_row_with_an_impossible_stamp_is_enough(bench: Workbench, stamp: str) -> None:
    bench.add(1, 1, 100)
    _spoil(bench, stamp, rows=1)
    assert bench.score().rejected == 100


def test_rows_without_a_stamp_among_others_are_scored_with_them(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    _spoil(bench, "NULL", rows=40)
    assert bench.score().scored == 100
    assert bench.table("archived_data")["flags"].tolist() == [""]


def test_corrected_stamps_are_scored_after_a_replay(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    _spoil(bench, "1000 * timestamp")
    bench.score()
    bench.execute("UPDATE rejected_data SET timestamp = timestamp / 1000")
    with hold(bench.engine) as connection:
        assert connection is not None
        assert replay(Inbox(connection, bench.spec)) == 100
    assert bench.score().scored == 100


@pytest.mark.parametrize("arrived", ["NULL", "'infinity'", "'-infinity'", "'20000-01-01'"])
def test_an_impossible_arrival_neither_delays_nor_spoils_a_phase(
    bench: Workbench, arrived: str
) -> None:
    bench.add(1, 1, 100)
    bench.add(2, 1, 50, age=0)
    bench.add(3, 1, 25, age=-YEAR)
    bench.execute(f"UPDATE online_data SET arrived_at = {arrived}")
    outcome = bench.score()
    assert (outcome.scored, outcome.waiting) == (125, 50), "the second one may still be growing"
    with bench.engine.connect() as connection:
        Inbox(connection, bench.spec).doubtful_clocks()


def test_a_phase_that_grows_in_the_future_waits_for_its_last_arrival(bench: Workbench) -> None:
    bench.add(1, 1, 100, age=-DAY)
    bench.age(days=0.9)
    bench.add(1, 1, 10, age=-DAY)
    bench.age(days=0.9)
    assert bench.score().waiting == 110
    bench.age(days=0.2)
    assert bench.score().scored == 110


def test_local_time_in_place_of_utc_is_flagged(bench: Workbench) -> None:
    """As rows of a rig in Berlin in summer, two hours ahead, that were logged four hours ago."""
    bench.add(1, 1, 100, age=2 * HOUR)
    bench.age(days=4 / 24)
    assert bench.score().scored == 100
    assert bench.table("archived_data")["flags"].tolist() == ["clock_ahead"]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("before", [1, 900, 1499])
def test_a_jump_for_daylight_saving_is_flagged(
    bench: Workbench, spec: SoftSensor, jump: int, before: int
) -> None:
    bench.add(1, 1, 1500, age=3 * HOUR)
    bench.execute(
        f"UPDATE online_data SET timestamp = timestamp + {jump} WHERE timestamp > "
        f"(SELECT min(timestamp) FROM online_data) + {before} - 0.5"
    )
    seen: list[list[str]] = []

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        reference = features[[*spec.columns.keys, *spec.features]]
        seen.append(joined(quality_flags(features, reference, spec)).tolist())
        return bench.predict(features)

    bench.score(predict)
    assert seen == [["clock_jump"]]


def test_phases_with_a_doubtful_clock_are_named(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.add(2, 1, 100, age=-DAY)
    bench.add(3, 0, 100, age=-2 * HOUR)
    with bench.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM archived_data")) == 0
        named = Inbox(connection, bench.spec).doubtful_clocks()
    assert {(p["experimentnummer"], p[STATE]) for p in named} == {(2, "waiting"), (3, "waiting")}
