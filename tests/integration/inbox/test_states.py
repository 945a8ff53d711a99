"""Whatever a rig's clock says, nothing waits for ever, and doubtful stamps are said."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from sqlalchemy import text

from src.components.inbox.states import Inbox, Window
from src.components.inbox.stock import STATE
from src.components.predictor.flags import joined, quality_flags
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench

HOUR, DAY = 3600, 86400
IN_FUTURE = {"tomorrow": -DAY, "a century ahead": -100 * 365 * DAY}


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


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "1770000000000"])
def test_stamps_that_are_no_times_wait_for_the_limit_and_no_longer(
    bench: Workbench, value: str
) -> None:
    bench.add(1, 1, 100)
    bench.execute(f"UPDATE online_data SET timestamp = {value} WHERE experimentnummer = 1")
    assert bench.score().waiting == 100
    bench.age(days=1.1)
    assert bench.score().scored == 100
    assert bench.table("archived_data")["flags"].tolist() == ["clock_ahead"]


@pytest.mark.parametrize("stamp", ["NULL", "'NaN'", "'Infinity'"])
def test_rows_without_a_sound_stamp_can_be_scored_again(bench: Workbench, stamp: str) -> None:
    bench.add(1, 1, 100)
    bench.execute(f"UPDATE online_data SET timestamp = {stamp}")
    bench.age(days=1.1)
    assert bench.score().scored == 100
    assert bench.score(rescore=Window(-math.inf, math.inf)).scored == 100


def test_rows_without_a_stamp_do_not_wait(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.execute("UPDATE online_data SET timestamp = NULL")
    assert bench.score().scored == 100


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
