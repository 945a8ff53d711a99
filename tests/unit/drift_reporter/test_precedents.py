"""A season that comes round, and a month that was accepted after an alarm, are no alarm again."""

from __future__ import annotations

import pandas as pd
import pytest

from src.components.drift_reporter import drift_tests
from src.components.drift_reporter.precedents import ACCEPTED_ALARM, precedents
from src.components.drift_reporter.status import Status
from src.soft_sensor import SoftSensor
from tests.builders.months import moved, phases

DAY = 86_400


@pytest.fixture(name="reference", scope="module")
def fixture_reference(spec: SoftSensor) -> pd.DataFrame:
    """200 phases from a few days."""
    return phases(spec, 100, 1)


def _accused(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> list[str]:
    tests = drift_tests.drift(month, reference, spec)
    accused = [name for fault in drift_tests.sensors_at_fault(tests) for name in fault]
    assert bool(accused) == bool((tests["status"] == Status.ALARM).any())
    return accused


@pytest.mark.parametrize(
    ("days", "same"),
    [(60, False), (330, True), (365, True), (400, True), (540, False), (735, True)],
)
def test_the_same_season_of_earlier_years_is_a_precedent(
    reference: pd.DataFrame, spec: SoftSensor, days: int, same: bool
) -> None:
    month = phases(spec, 50, 2, start=days * DAY)
    assert len(precedents(reference, month)) == same


def test_a_shift_that_the_same_season_showed_is_no_alarm_and_another_one_is(
    spec: SoftSensor,
) -> None:
    last_year = moved(phases(spec, 50, 3, start=100 * DAY), "ph", 2.0, spec)
    both = pd.concat([phases(spec, 300, 4, start=200 * DAY), last_year], ignore_index=True)
    month = phases(spec, 50, 2, start=465 * DAY)
    assert not _accused(moved(month, "ph", 2.0, spec), both, spec)
    assert _accused(moved(month, "ph", 4.0, spec), both, spec) == ["ph"]
    assert _accused(moved(month, "druck1", 2.0, spec), both, spec) == ["druck1"]


def test_an_alarm_that_was_accepted_stops_the_next_one(
    reference: pd.DataFrame, spec: SoftSensor
) -> None:
    accepted = moved(phases(spec, 50, 3, start=30 * DAY), "ph", 2.0, spec)
    known = pd.concat(
        [reference.assign(**{ACCEPTED_ALARM: 0}), accepted.assign(**{ACCEPTED_ALARM: 1})],
        ignore_index=True,
    )
    month = moved(phases(spec, 50, 2, start=60 * DAY), "ph", 2.0, spec)
    assert _accused(month, reference, spec) == ["ph"]
    assert not _accused(month, known, spec)
    tests = drift_tests.drift(month, known, spec)
    peer = tests[(tests["part"] == "ph") & (tests["indicator"] == "peer")].iloc[0]
    assert peer["shift"] > 0.5 and not peer["stands"]
