"""The report of a month as files: a page with summary and pictures, and Evidently's beside it."""

from __future__ import annotations

import logging
import math
import warnings
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from src.components.drift_reporter import pictures
from src.components.drift_reporter.evidence import Evidence, Period
from src.components.drift_reporter.indicators import Baseline, own_values, peer_values
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.rigs import without_targets
from src.components.drift_reporter.rigs_page import RigsReport
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import Summary, summarise
from src.components.drift_reporter.verdict import Verdict, backtest
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

CHARTS = "evidently.html"  # beside the page


@dataclass(frozen=True)
class Report:
    """A report that has been written.

    Attributes:
        page: the HTML file.
        pictures: files to their captions.
        charts: Evidently's page, None where no indicator was tested.
        sensors: those at fault.
    """

    period: Period
    summary: Summary
    page: Path
    pictures: dict[Path, str]
    charts: Path | None
    sensors: tuple[str, ...]

    def key(self, place: str, run_id: int) -> str:
        """What identifies the message about it: one for each period and verdict.

        Args:
            place: of the database, so that installations do not share a key.
            run_id: a report that a user has requested is sent by every run.
        """
        since = run_id if self.period.requested else self.period.since
        found = f"{self.summary.status}: {', '.join(self.sensors)}"
        return f"{place}: {self.summary.spec.name}: {found}, since {since}"


def write_report(
    verdict: Verdict,
    evidence: Evidence,
    spec: SoftSensor,
    reports: Path,
    link: str | None = None,
    rigs: RigsReport | None = None,
) -> Report:
    """Put a verdict into words and pictures, in a new folder under `reports`.

    Args:
        link: where people open the pages.
        rigs: each rig by itself, where there are several.
    """
    of_judged = spec if evidence.rig is None else without_targets(spec)
    tested = backtest(evidence.reference, of_judged)
    summary = summarise(verdict, evidence, spec, tested)
    if rigs is not None:
        summary = rigs.added_to(summary)
    in_english = spec.model_copy(update={"language": "en"})
    for line in summarise(verdict, evidence, in_english, tested).text().splitlines():
        if line:
            logger.info("%s", line)
    folder = reports / f"drift-{evidence.period.until:%Y%m%dT%H%M%S}"
    if rigs is not None:
        rigs.write(folder)
    drawn = pictures.draw(verdict, evidence, spec, folder)
    charts = write_charts(drift_outcomes(verdict), evidence, spec, folder / CHARTS)
    page = folder / "report.html"
    html = summary.html(drawn, embedded, link, charts.name if charts else None)
    page.write_text(html, encoding="utf-8")
    logger.info("report: %s", page)
    return Report(evidence.period, summary, page, drawn, charts, tuple(verdict.sensors))


def embedded(picture: Path) -> str:
    """A picture as an address that contains it, so the page needs no other file."""
    return f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"


def drift_outcomes(verdict: Verdict) -> dict[str, tuple[float, bool]]:
    """Sensor or target and indicator, as in "ph level", to the size of its shift and its alarm."""
    drifts = verdict.tests[(verdict.tests["kind"] == Kind.DRIFT) & (verdict.tests["part"] != "")]
    return {
        f"{test['part']} {test['indicator']}": (
            abs(test["shift"]),
            test["status"] == Status.ALARM,
        )
        for test in drifts.to_dict("records")
    }


def write_charts(
    outcomes: dict[str, tuple[float, bool]], evidence: Evidence, spec: SoftSensor, file: Path
) -> Path | None:
    """Write Evidently's page of the indicators; None where none was tested.

    Evidently only draws: what counts as drift is looked up, so it agrees with the verdict.

    Args:
        outcomes: what `drift_outcomes` returns.
    """
    if not outcomes:
        return None
    names = list(outcomes)
    rules = spec.monitoring
    baseline = Baseline(evidence.reference, spec)
    month = _indicator_table(evidence.month, baseline)[names]
    reference = _indicator_table(evidence.reference, baseline)[names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the libraries that Evidently uses
        from evidently import DataDefinition, Dataset
        from evidently import Report as EvidentlyReport
        from evidently.legacy.calculations.stattests import StatTest, register_stattest
        from evidently.legacy.core import ColumnType
        from evidently.presets import DataDriftPreset

        test = StatTest(
            name="impress_shift",
            display_name=f"shift in SD, drift by Holm p <= {rules.alarm}",
            allowed_feature_types=[ColumnType.Numerical],
            default_threshold=rules.min_shift,
        )
        register_stattest(test, default_impl=lambda _, current, *__: outcomes[current.name])
        drift = DataDriftPreset(
            columns=names,
            method=test.name,
            threshold=rules.min_shift,
            # Rounded down, as Evidently's page prints it.
            drift_share=math.floor(1000 / len(names)) / 1000,
        )
        definition = DataDefinition(numerical_columns=names)
        snapshot = EvidentlyReport([drift]).run(
            current_data=Dataset.from_pandas(month, definition),
            reference_data=Dataset.from_pandas(reference, definition),
        )
        snapshot.save_html(str(file))
    return file


def _indicator_table(table: pd.DataFrame, baseline: Baseline) -> pd.DataFrame:
    """One column per indicator, named as in `drift_outcomes`."""
    columns = own_values(table, baseline) | peer_values(table, baseline)
    return pd.DataFrame({" ".join(name): values for name, values in columns.items()})
