"""The summary: what was compared, what could not be tested, and how far to trust the verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.components.adaptation.outlook import Outlook
from src.components.drift_reporter import summary
from src.components.drift_reporter.evidence import NO_TESTS, Earlier, Evidence, Period
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import backtest, judge
from src.soft_sensor import SoftSensor, Wording
from tests.builders.months import YEAR, compared, of_the_ledger, phases, plant


@pytest.fixture(name="evidence", scope="module")
def fixture_evidence(spec: SoftSensor) -> Evidence:
    """A healthy month of 200 phases, and a reference of 600 in one month."""
    month = of_the_ledger(phases(spec, 100, 2, start=YEAR, common=0.9))
    return compared(month, phases(spec, 300, 1, common=0.9), spec)


def test_the_notes_say_how_much_was_seen(evidence: Evidence, spec: SoftSensor) -> None:
    verdict = judge(evidence, spec)
    notes = summary.summarise(verdict, evidence, spec, backtest(evidence.reference, spec)).notes
    evaluated, detectable, short_time, backtested, _ = notes
    assert evaluated == "Evaluated 100 washing and 100 rinsing phases of 100 experiments."
    assert f"by {verdict.smallest_shift:.2f} SD or more would have been detected" in detectable
    assert short_time.startswith("The reference covers 12 days: how much healthy months differ")
    assert "a single month" in backtested


def test_the_notes_say_what_could_not_be_seen(evidence: Evidence, spec: SoftSensor) -> None:
    few = replace(evidence, month=evidence.month.head(10))
    lines = summary.reservations(judge(few, spec), few, spec)
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
    assert summary.backtested(months, spec) == (
        f"Backtest: of {len(months)} months of the reference, each compared with the others, "
        f"{alarms} would have been an alarm and {watches} a watch."
    )


@pytest.mark.parametrize(
    ("accepted", "words"), [(0, "0 reports"), (1, "1 report"), (2, "2 reports")]
)
def test_the_summary_says_what_was_compared(
    evidence: Evidence, accepted: int, words: str, spec: SoftSensor
) -> None:
    first, last = pd.Timestamp("2026-03-01", tz="UTC"), pd.Timestamp("2026-04-01 06:30", tz="UTC")
    earlier = Earlier([Period(None, first)] * accepted, NO_TESTS)
    compared_with = replace(evidence, period=Period(first, last), earlier=earlier)
    begin, end = (summary.water(evidence).iloc[place] for place in (0, -1))
    assert summary.about(compared_with, spec) == [
        f"Phases from {begin:%-d %B %Y} to {end:%-d %B %Y}.",
        "Compared with 600 phases: those in the training of version 1 and those of "
        f"{words} accepted as healthy.",
    ]


def test_the_summary_says_how_much_the_laboratory_can_reveal(
    evidence: Evidence, spec: SoftSensor
) -> None:
    worded = spec.model_copy(update={"wording": Wording(unseen_change="a new oil")})
    verdict = judge(evidence, spec)
    assert summary.compared_with_laboratory(evidence, verdict, worded).startswith(
        "No laboratory values have arrived, so a new oil that the sensors do not show"
    )
    newest = evidence.period.until - pd.Timedelta(days=3, hours=5)
    laboratory = replace(evidence.laboratory, recent=evidence.laboratory.expected, newest=newest)
    arrived = replace(evidence, laboratory=laboratory)
    found = replace(verdict, smallest_bias=0.613)
    note = summary.compared_with_laboratory(arrived, found, spec)
    assert note == (
        "The last laboratory value arrived 3 days ago. 10 analysed phases were compared with the "
        "predictions: a bias of 0.61 SD of the usual error would have been detected with a "
        "probability of 80 %."
    )
    unmatched = replace(evidence, laboratory=replace(laboratory, unmatched=2))
    assert summary.compared_with_laboratory(unmatched, found, spec) == (
        f"{note} 2 values belong to phases that are not archived."
    )


def test_the_summary_says_what_a_retraining_could_bring(
    evidence: Evidence, spec: SoftSensor
) -> None:
    def after(prospect: Outlook | None) -> list[str]:
        laboratory = replace(evidence.laboratory, retraining=prospect)
        return summary.retraining(replace(evidence, laboratory=laboratory), spec)

    assert after(None) == after(Outlook(0, np.nan, np.nan)) == []
    version = evidence.version
    added = (
        f"Retraining: 12 phases analysed since version {version} was trained can be added to its "
        "data (`impress collect`, `impress train`); the gate compares the candidate with version "
        f"{version}."
    )
    assert after(Outlook(12, np.nan, np.nan)) == [added]
    assert after(Outlook(12, 2.14, 1.26)) == [
        f"{added} In the last 90 days the error of the model alone was 2.1 times that of its "
        "training, with correction by laboratory values 1.3 times: a retraining can hardly bring "
        "it below 1."
    ]


def test_nothing_was_compared_where_nothing_was_tested(
    evidence: Evidence, spec: SoftSensor
) -> None:
    laboratory = evidence.laboratory
    few = replace(laboratory, recent=laboratory.expected.head(4), newest=evidence.period.until)
    arrived = replace(evidence, laboratory=few)
    note = summary.compared_with_laboratory(arrived, judge(arrived, spec), spec)
    assert "compared with the predictions" not in note
    assert "4 analysed phases have values to compare with, fewer than the 5" in note


def test_a_sensor_that_the_reference_cannot_carry_a_test_of_is_named(
    evidence: Evidence, spec: SoftSensor
) -> None:
    reference = evidence.reference.assign(ph_median=7.0, druck1_median=np.nan)
    of_it = replace(evidence, reference=reference)
    lines = summary.reservations(judge(of_it, spec), of_it, spec)
    assert any(line.startswith("pH shows one value only in the reference") for line in lines)
    assert any(line.startswith("pressure has hardly any values in the ref") for line in lines)


def test_a_month_with_training_phases_says_so(evidence: Evidence, spec: SoftSensor) -> None:
    assert not summary.seen_in_training(evidence, spec)
    reference = pd.concat([evidence.reference, evidence.month.head(7)], ignore_index=True)
    (line,) = summary.seen_in_training(replace(evidence, reference=reference), spec)
    assert line.startswith("7 of these phases are among those that they are compared with")


def test_a_reference_of_a_year_needs_no_word_about_its_time(
    evidence: Evidence, spec: SoftSensor
) -> None:
    year = plant(spec, 3).phases(100, months=12)
    assert not summary.short_time(replace(evidence, reference=year), spec)
    (line,) = summary.short_time(replace(evidence, reference=year.head(12)), spec)
    assert "has 12 phases, of 20 that drift tests need" in line
    assert "impress monitor --accept" in line


def test_of_a_single_rig_nothing_is_said_that_holds_for_all_of_them_only(
    evidence: Evidence, spec: SoftSensor
) -> None:
    reference = evidence.reference.assign(ph_median=7.0)
    north = replace(evidence, reference=reference, rig="north")
    found = summary.summarise(judge(north, spec), north, spec, backtest(reference, spec))
    assert found.about[1] == "Compared with 600 phases of rig north in the 365 days before."
    said = " ".join([*found.about, *found.notes])
    assert "--accept" not in said and "training" not in said and "impress load" not in said
