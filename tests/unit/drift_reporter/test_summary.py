"""The summary: what was compared, what could not be tested, and how far to trust the verdict."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from src.components.drift_reporter import summary
from src.components.drift_reporter.evidence import Earlier, Evidence, Period
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import backtest, judge
from src.soft_sensor import SoftSensor, Wording
from tests.builders.months import NO_REPORTS, YEAR, compared, of_the_ledger, phases, plant

pytestmark = pytest.mark.usefixtures("small_heap")


@pytest.fixture(name="evidence", scope="module")
def fixture_evidence(spec: SoftSensor) -> Evidence:
    """A healthy month of 200 phases, and a reference of 600 in one month."""
    month = of_the_ledger(phases(spec, 100, 2, start=YEAR, common=0.9))
    return compared(month, phases(spec, 300, 1, common=0.9), spec)


def test_the_notes_say_how_much_was_seen(evidence: Evidence, spec: SoftSensor) -> None:
    verdict = judge(evidence, spec)
    evaluated, detectable, backtested, _ = summary.summarise(verdict, evidence, spec).notes
    assert evaluated == "Evaluated 100 washing and 100 rinsing phases of 100 experiments."
    assert f"by {verdict.smallest_shift:.2f} SD or more would have been detected" in detectable
    assert "a single month" in backtested


def test_the_notes_say_what_could_not_be_seen(evidence: Evidence, spec: SoftSensor) -> None:
    few = replace(evidence, month=evidence.month.head(10))
    lines = summary.reservations(judge(few, spec), spec)
    assert lines == [
        f"There are 5 {name} phases in the month and 300 in the reference, but 8 are needed in "
        "each: no conclusion about them is possible."
        for name in ("washing", "rinsing")
    ]


def test_the_notes_say_how_the_reference_itself_would_have_been_judged(spec: SoftSensor) -> None:
    months = backtest(plant(spec, 3).phases(300, months=4), spec)
    alarms, watches = (
        int((months["status"] == status).sum()) for status in (Status.ALARM, Status.WATCH)
    )
    assert summary.backtested(months) == (
        f"Backtest: of {len(months)} months of the reference, each compared with the others, "
        f"{alarms} would have been an alarm and {watches} a watch."
    )


@pytest.mark.parametrize(
    ("accepted", "words"), [(0, "0 reports"), (1, "1 report"), (2, "2 reports")]
)
def test_the_summary_says_what_was_compared(evidence: Evidence, accepted: int, words: str) -> None:
    first, last = pd.Timestamp("2026-03-01", tz="UTC"), pd.Timestamp("2026-04-01 06:30", tz="UTC")
    earlier = Earlier([Period(None, first)] * accepted, NO_REPORTS)
    assert summary.about(replace(evidence, period=Period(first, last), earlier=earlier)) == [
        "Predictions archived after 2026-03-01 00:00 until 2026-04-01 06:30 UTC.",
        "Compared with 600 phases: those in the training of version 1 and those of "
        f"{words} accepted as healthy.",
    ]


def test_the_summary_says_how_much_the_laboratory_can_reveal(
    evidence: Evidence, spec: SoftSensor
) -> None:
    worded = spec.model_copy(update={"wording": Wording(unseen_change="a new oil")})
    assert summary.compared_with_laboratory(evidence, worded).startswith(
        "No laboratory values have arrived, so a new oil that the sensors do not show"
    )
    laboratory = evidence.laboratory
    newest = evidence.period.until - pd.Timedelta(days=3, hours=5)
    arrived = replace(laboratory, recent=laboratory.expected, newest=newest)
    note = summary.compared_with_laboratory(replace(evidence, laboratory=arrived), spec)
    assert note == "10 analysed phases were compared; the last laboratory value arrived 3 days ago."
    unmatched = replace(evidence, laboratory=replace(arrived, unmatched=2))
    assert summary.compared_with_laboratory(unmatched, spec) == (
        f"{note} 2 values belong to phases that are not archived."
    )
