"""The summary of a report: in words, as plain text, and as the HTML of a mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from src.components.adaptation.outlook import DAYS
from src.components.drift_reporter import performance
from src.components.drift_reporter.drift_tests import covers_months
from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.findings import Finding, findings, title
from src.components.drift_reporter.recheck import to_check_again
from src.components.drift_reporter.rigs import REFERENCE_DAYS
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import LEAST_REFERENCE, Verdict
from src.components.emailer.page import BLUE, GREY, VERMILION, render
from src.language import UNKNOWN, Language
from src.soft_sensor import SoftSensor

PACKAGE = "src.components.drift_reporter"
COLOURS = {Status.ALARM: VERMILION, Status.WATCH: GREY, Status.NO_DRIFT: BLUE}
KINDS = {Status.ALARM: "bad", Status.WATCH: "open", Status.NO_DRIFT: "good"}  # of the mail's parts


@dataclass(frozen=True)
class Summary:  # pylint: disable=too-many-instance-attributes  # all that a report says
    """What a report says first.

    Attributes:
        spec: the soft sensor, whose language it is in.
        status: of the month.
        month: of the water, for example June 2026.
        titles: of the sensors at fault.
        findings: alarms first.
        recheck: days, and the phases of each that were called clean while a sensor was at fault.
        about: what was compared with what, one sentence each.
        notes: what a reader should know to weigh the verdict, one line each.
        performance: what `performance.figures` returns.
    """

    spec: SoftSensor
    status: Status
    month: str
    titles: list[str]
    findings: list[Finding]
    recheck: list[tuple[str, str]]
    about: list[str]
    notes: list[str]
    performance: pd.DataFrame

    @property
    def verdict(self) -> str:
        """The verdict and the sensors at fault."""
        sensors = f": {', '.join(self.titles)}" if self.titles else ""
        return f"{Language(self.spec.language).say(str(self.status))}{sensors}"

    @property
    def headline(self) -> str:
        """Which soft sensor, which month, and the verdict, in one line."""
        return f"{self.spec.name}, {self.month}: {self.verdict}"

    def text(self, link: str | None = None) -> str:
        """The summary as plain text."""
        return self._render("report.txt.j2", link=link)

    def html(
        self,
        pictures: dict[Path, str],
        source: Callable[[Path], str],
        link: str | None = None,
        charts: str | None = None,
    ) -> str:
        """The summary as an HTML document.

        Args:
            pictures: files to their captions.
            source: the address under which the page finds a file.
            link: where people open the pages.
            charts: address of Evidently's page.
        """
        shown = [{"source": source(file), "caption": caption} for file, caption in pictures.items()]
        return self._render("report.html.j2", pictures=shown, link=link, charts=charts)

    def _render(self, template: str, **values: Any) -> str:
        language = Language(self.spec.language)
        measured = self.performance[self.performance["count"] > 0]
        rows = [_measured(row, language) for row in measured.to_dict("records")]
        return render(
            PACKAGE, template, language, summary=self, kinds=KINDS, measured=rows, **values
        )


def _measured(row: dict[Any, Any], language: Language) -> tuple[str, ...]:
    """Laboratory values beside predictions: target, values, error, expected, bias, inside."""
    unit = row["unit"]
    return (
        row["target"],
        language.number(row["count"]),
        language.quantity(row["error"], unit),
        language.quantity(row["expected"], unit),
        language.quantity(row["bias"], unit, sign=True),
        language.percent(row["coverage"]),
    )


def summarise(
    verdict: Verdict, evidence: Evidence, spec: SoftSensor, backtested_months: pd.DataFrame
) -> Summary:
    """Put a verdict into words, in the language of params.yaml.

    Args:
        backtested_months: what `verdict.backtest` returns for the reference.
    """
    laboratory = evidence.laboratory
    return Summary(
        spec=spec,
        status=verdict.status,
        month=month_of(evidence, spec),
        titles=[title(fault, spec) for fault in verdict.faults],
        findings=findings(verdict, evidence, spec),
        recheck=to_check_again(verdict, evidence.month, spec),
        about=about(evidence, spec),
        notes=[
            looked_at(evidence, spec),
            *seen_in_training(evidence, spec),
            *reservations(verdict, evidence, spec),
            *short_time(evidence, spec),
            backtested(backtested_months, spec),
            compared_with_laboratory(evidence, verdict, spec),
            *retraining(evidence, spec),
        ],
        performance=performance.figures(laboratory.recent, laboratory.expected, spec),
    )


def water(evidence: Evidence) -> pd.Series:
    """When the phases of a month ended: moments in UTC, oldest first, without unknown ones."""
    stamps = evidence.month["last_timestamp"].dropna().sort_values()
    return pd.to_datetime(stamps, unit="s", utc=True)


def month_of(evidence: Evidence, spec: SoftSensor) -> str:
    """The month in which most of the water ran; that of the report where no phase has a time."""
    ends = water(evidence)
    middle = ends.iloc[len(ends) // 2] if len(ends) else evidence.period.until
    return Language(spec.language).month(middle)


def about(evidence: Evidence, spec: SoftSensor) -> list[str]:
    """Which water was compared with what."""
    language, ends = Language(spec.language), water(evidence)
    dates = language.say("Phases of unknown dates.")
    if len(ends):
        dates = language.say(
            "Phases from {first} to {last}.",
            first=language.day(ends.iloc[0]),
            last=language.day(ends.iloc[-1]),
        )
    if evidence.rig is not None:
        compared = language.say(
            "Compared with {rows} phases of rig {rig} in the {days} days before.",
            rows=len(evidence.reference),
            rig=evidence.rig or UNKNOWN,
            days=REFERENCE_DAYS,
        )
        return [dates, compared]
    accepted = len(evidence.earlier.accepted)
    compared = language.say(
        (
            "Compared with {rows} phases: those in the training of version {version} and those "
            "of {reports} report accepted as healthy."
            if accepted == 1
            else "Compared with {rows} phases: those in the training of version {version} and "
            "those of {reports} reports accepted as healthy."
        ),
        rows=len(evidence.reference),
        version=evidence.version,
        reports=accepted,
    )
    return [dates, compared]


def looked_at(evidence: Evidence, spec: SoftSensor) -> str:
    """How many phases there were of each kind, and how many were left out."""
    language, month = Language(spec.language), evidence.month
    counts = [
        f"{(month[spec.columns.phase] == phase.value).sum()} {phase.shown}" for phase in spec.phases
    ]
    note = language.say(
        "Evaluated {counts} phases of {experiments} experiments.",
        counts=language.listed(counts),
        experiments=month[spec.columns.experiment].nunique(),
    )
    if evidence.left_out:
        note += " " + language.say(
            "{n} predictions were left out: their features are not possible with low and high in "
            "params.yaml.",
            n=evidence.left_out,
        )
    return note


def seen_in_training(evidence: Evidence, spec: SoftSensor) -> list[str]:
    """How much of the month is compared with itself."""
    keys = spec.columns.keys
    known = evidence.month[keys].merge(evidence.reference[keys].drop_duplicates(), on=keys)
    if known.empty:
        return []
    return [
        Language(spec.language).say(
            "{n} of these phases are among those that they are compared with, for the model was "
            "trained on them: in them nothing can be found.",
            n=len(known),
        )
    ]


def reservations(verdict: Verdict, evidence: Evidence, spec: SoftSensor) -> list[str]:
    """What could not be tested, and what may have gone unnoticed."""
    say = Language(spec.language).say
    names = {phase.name: phase.shown for phase in spec.phases}
    lines = [
        say(
            "There are {in_month} {phase} phases in the month and {in_reference} in the reference, "
            "but {needed} are needed in each: no conclusion about them is possible.",
            in_month=in_month,
            phase=names[name],
            in_reference=in_reference,
            needed=spec.monitoring.min_rows,
        )
        for name, (in_month, in_reference) in verdict.short.items()
    ]
    lines += [
        say(
            (
                "{sensor} {reason} in the reference, so its drift cannot be tested."
                if evidence.rig is not None
                else "{sensor} {reason} in the reference, so its drift cannot be tested: accept "
                "healthy months in which it varies (`impress monitor --accept`), or retrain."
            ),
            sensor=spec.sensor(name).title,
            reason=say(reason),
        )
        for name, reason in verdict.untestable.items()
    ]
    if pd.notna(verdict.smallest_shift):
        lines.append(
            say(
                "A shift of a sensor's level by {shift:.2f} SD or more would have been detected "
                "with a probability of 80 %; smaller ones may have gone unnoticed.",
                shift=verdict.smallest_shift,
            )
        )
    return lines


def short_time(evidence: Evidence, spec: SoftSensor) -> list[str]:
    """That the reference does not show yet how much healthy months differ."""
    reference = evidence.reference
    if covers_months(reference):
        return []
    say, rows = Language(spec.language).say, len(reference)
    stamps = reference["last_timestamp"]
    days = (stamps.max() - stamps.min()) / 86_400 if rows else 0.0
    if rows < LEAST_REFERENCE:
        covered = say(
            "The reference covers {days:.0f} days and has {rows} phases, of {needed} that drift "
            "tests need: how much healthy months differ is not known yet.",
            days=days,
            rows=rows,
            needed=LEAST_REFERENCE,
        )
    else:
        covered = say(
            "The reference covers {days:.0f} days: how much healthy months differ is not known "
            "yet.",
            days=days,
        )
    if evidence.rig is not None:  # its reference grows by itself
        return [covered]
    return [f"{covered} {say('Accept healthy months (`impress monitor --accept`).')}"]


def backtested(months: pd.DataFrame, spec: SoftSensor) -> str:
    """How the reference itself would have been judged, see `verdict.backtest`."""
    say = Language(spec.language).say
    if months.empty:
        return say("The reference covers a single month, so there is no backtest of false alarms.")
    counts = months["status"].value_counts()
    return say(
        "Backtest: of {months} months of the reference, each compared with the others, {alarms} "
        "would have been an alarm and {watches} a watch.",
        months=len(months),
        alarms=counts.get(Status.ALARM.value, 0),
        watches=counts.get(Status.WATCH.value, 0),
    )


def compared_with_laboratory(evidence: Evidence, verdict: Verdict, spec: SoftSensor) -> str:
    """How much the laboratory values can reveal."""
    say, laboratory = Language(spec.language).say, evidence.laboratory
    if evidence.rig is not None:
        return say(
            "Laboratory values are compared with the predictions of all rigs together, not of one."
        )
    if laboratory.newest is None:
        return say(
            "No laboratory values have arrived, so {unseen_change} that the sensors do not show "
            "cannot be detected. Load them with `impress load FILE --laboratory`.",
            unseen_change=say(spec.wording.unseen_change),
        )
    days = (evidence.period.until - laboratory.newest).days
    sentences = [say("The last laboratory value arrived {days} days ago.", days=days)]
    if pd.isna(verdict.smallest_bias):
        sentences.append(
            say(
                "{n} analysed phases have values to compare with, fewer than the {needed} that a "
                "test needs: the model was not tested.",
                n=len(laboratory.recent),
                needed=performance.LEAST,
            )
        )
    else:
        sentences.append(
            say(
                "{n} analysed phases were compared with the predictions: a bias of {bias:.2f} SD "
                "of the usual error would have been detected with a probability of 80 %.",
                n=len(laboratory.recent),
                bias=verdict.smallest_bias,
            )
        )
    if laboratory.unmatched:
        sentences.append(
            say("{n} values belong to phases that are not archived.", n=laboratory.unmatched)
        )
    return " ".join(sentences)


def retraining(evidence: Evidence, spec: SoftSensor) -> list[str]:
    """How many phases a training could add, and how much there is to gain."""
    say, prospect = Language(spec.language).say, evidence.laboratory.retraining
    if prospect is None or not prospect.phases:
        return []
    line = say(
        "Retraining: {phases} phases analysed since version {version} was trained can be added "
        "to its data (`impress collect`, `impress train`); the gate compares the candidate with "
        "version {version}.",
        phases=prospect.phases,
        version=evidence.version,
    )
    if pd.isna(prospect.alone):
        return [line]
    gain = say(
        "In the last {days} days the error of the model alone was {alone:.1f} times that of its "
        "training, with correction by laboratory values {adapted:.1f} times: a retraining can "
        "hardly bring it below 1.",
        days=DAYS,
        alone=prospect.alone,
        adapted=prospect.adapted,
    )
    return [f"{line} {gain}"]
