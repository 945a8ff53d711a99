"""The summary of a report, as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from src.components.drift_reporter import performance
from src.components.drift_reporter.drift_tests import covers_months
from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.findings import Finding, findings, title
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import LEAST_REFERENCE, Verdict, backtest
from src.safe_text import safe
from src.soft_sensor import SoftSensor

COLOURS = {Status.ALARM: "#b3261e", Status.WATCH: "#b58900", Status.NO_DRIFT: "#2e7d32"}
GREY = "#666666"


@dataclass(frozen=True)
class Summary:
    """What a report says first.

    Attributes:
        name: of the soft sensor.
        status: of the month.
        titles: of the sensors at fault.
        findings: alarms first.
        about: what was compared with what, one sentence each.
        notes: what a reader should know to weigh the verdict, one line each.
        performance: what `performance.figures` returns.
    """

    name: str
    status: Status
    titles: list[str]
    findings: list[Finding]
    about: list[str]
    notes: list[str]
    performance: pd.DataFrame

    @property
    def headline(self) -> str:
        """The verdict and the sensors at fault in one line."""
        sensors = f": {', '.join(self.titles)}" if self.titles else ""
        return f"{self.name}: {self.status}{sensors}"

    def text(self) -> str:
        """The summary as plain text."""
        return _templates().get_template("verdict.txt.j2").render(**self._values()).strip() + "\n"

    def html(self, pictures: dict[Path, str], source: Callable[[Path], str]) -> str:
        """The summary as a section of HTML.

        Args:
            pictures: files to their captions.
            source: the address under which the page finds a file.
        """
        shown = [{"source": source(file), "caption": caption} for file, caption in pictures.items()]
        template = _templates().get_template("verdict.html.j2")
        colours = {"colour": COLOURS.get(self.status, GREY), "colours": COLOURS}
        return template.render(pictures=shown, **colours, **self._values())

    def _values(self) -> dict[str, Any]:
        measured = self.performance[self.performance["count"] > 0]
        return {
            "name": self.name,
            "status": self.status,
            "sensors": self.titles,
            "findings": self.findings,
            "about": self.about,
            "notes": self.notes,
            "performance": measured.to_dict("records"),
        }


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("src.components.drift_reporter"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: safe(value) if isinstance(value, str) else value,
    )


def summarise(verdict: Verdict, evidence: Evidence, spec: SoftSensor) -> Summary:
    """Put a verdict into words."""
    laboratory = evidence.laboratory
    return Summary(
        name=spec.name,
        status=verdict.status,
        titles=[title(fault, spec) for fault in verdict.faults],
        findings=findings(verdict, evidence.reference, spec),
        about=about(evidence),
        notes=[
            looked_at(evidence, spec),
            *seen_in_training(evidence, spec),
            *reservations(verdict, spec),
            *short_time(evidence.reference),
            backtested(backtest(evidence.reference, spec)),
            compared_with_laboratory(evidence, verdict, spec),
        ],
        performance=performance.figures(laboratory.recent, laboratory.expected, spec),
    )


def about(evidence: Evidence) -> list[str]:
    """What was compared with what."""
    accepted = len(evidence.earlier.accepted)
    reports = f"{accepted} report{'' if accepted == 1 else 's'}"
    return [
        f"Predictions archived {evidence.period}.",
        f"Compared with {len(evidence.reference)} phases: those in the training of version "
        f"{evidence.version} and those of {reports} accepted as healthy.",
    ]


def looked_at(evidence: Evidence, spec: SoftSensor) -> str:
    """How many phases there were of each kind, and how many were left out."""
    month = evidence.month
    counts = [
        f"{(month[spec.columns.phase] == phase.value).sum()} {phase.name}" for phase in spec.phases
    ]
    experiments = month[spec.columns.experiment].nunique()
    note = f"Evaluated {' and '.join(counts)} phases of {experiments} experiments."
    if evidence.left_out:
        note += (
            f" {evidence.left_out} predictions were left out: their features are not possible with "
            "low and high in params.yaml."
        )
    return note


def seen_in_training(evidence: Evidence, spec: SoftSensor) -> list[str]:
    """How much of the month is compared with itself."""
    keys = spec.columns.keys
    known = evidence.month[keys].merge(evidence.reference[keys].drop_duplicates(), on=keys)
    if known.empty:
        return []
    return [
        f"{len(known)} of these phases are among those that they are compared with, for the model "
        "was trained on them: in them nothing can be found."
    ]


def reservations(verdict: Verdict, spec: SoftSensor) -> list[str]:
    """What could not be tested, and what may have gone unnoticed."""
    lines = [
        f"There are {in_month} {name} phases in the month and {in_reference} in the reference, "
        f"but {spec.monitoring.min_rows} are needed in each: no conclusion about them is possible."
        for name, (in_month, in_reference) in verdict.short.items()
    ]
    lines += [
        f"{spec.sensor(name).title} {reason} in the reference, so its drift cannot be tested: "
        "accept healthy months in which it varies (`impress monitor --accept`), or retrain."
        for name, reason in verdict.untestable.items()
    ]
    if pd.notna(verdict.smallest_shift):
        lines.append(
            f"A shift of a sensor's level by {verdict.smallest_shift:.2f} SD or more would have "
            "been detected with a probability of 80 %; smaller ones may have gone unnoticed."
        )
    return lines


def short_time(reference: pd.DataFrame) -> list[str]:
    """That the reference does not show yet how much healthy months differ."""
    if covers_months(reference):
        return []
    rows = len(reference)
    few = f" and has {rows} phases, of {LEAST_REFERENCE} that drift tests need" * (
        rows < LEAST_REFERENCE
    )
    stamps = reference["last_timestamp"]
    days = (stamps.max() - stamps.min()) / 86_400 if rows else 0.0
    return [
        f"The reference covers {days:.0f} days{few}: how much healthy months differ is not known "
        "yet. Accept healthy months (`impress monitor --accept`)."
    ]


def backtested(months: pd.DataFrame) -> str:
    """How the reference itself would have been judged, see `verdict.backtest`."""
    if months.empty:
        return "The reference covers a single month, so there is no backtest of false alarms."
    counts = months["status"].value_counts()
    return (
        f"Backtest: of {len(months)} months of the reference, each compared with the others, "
        f"{counts.get(Status.ALARM.value, 0)} would have been an alarm and "
        f"{counts.get(Status.WATCH.value, 0)} a watch."
    )


def compared_with_laboratory(evidence: Evidence, verdict: Verdict, spec: SoftSensor) -> str:
    """How much the laboratory values can reveal."""
    laboratory = evidence.laboratory
    if laboratory.newest is None:
        return (
            f"No laboratory values have arrived, so {spec.wording.unseen_change} that the sensors "
            "do not show cannot be detected. Load them with `impress load FILE --laboratory`."
        )
    days = (evidence.period.until - laboratory.newest).days
    note = f"The last laboratory value arrived {days} days ago. "
    if pd.isna(verdict.smallest_bias):
        note += (
            f"{len(laboratory.recent)} analysed phases have values to compare with, fewer than the "
            f"{performance.LEAST} that a test needs: the model was not tested."
        )
    else:
        note += (
            f"{len(laboratory.recent)} analysed phases were compared with the predictions: a bias "
            f"of {verdict.smallest_bias:.2f} SD of the usual error would have been detected with a "
            "probability of 80 %."
        )
    if laboratory.unmatched:
        note += f" {laboratory.unmatched} values belong to phases that are not archived."
    return note
