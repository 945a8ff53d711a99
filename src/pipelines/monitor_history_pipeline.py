"""Monitor a history: what `impress backfill` has scored, any months of it, one rig or many.

Run it with `impress monitor --history`. Only the report is written: nothing is recorded or mailed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from src.components.backfill.results import read_results
from src.components.database.connection import connect
from src.components.drift_reporter import rigs
from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.log import MonitoringLog, moment
from src.components.drift_reporter.report import Report
from src.components.drift_reporter.rigs_page import RigsReport
from src.components.drift_reporter.verdict import judge
from src.components.ingestion.analysed import BEGINNING
from src.errors import DataError
from src.files import in_file_name
from src.pipelines.monitor_pipeline import fetch_production, gather_evidence, write_report
from src.settings import Settings
from src.soft_sensor import load_soft_sensor


def monitor_history(
    settings: Settings, history: str, since: str | None, until: str | None
) -> Report:
    """Compare a window of a history with the reference of the model in production.

    Args:
        history: its folder, local or on S3.
        since, until: of the ends of phases (ISO 8601, UTC).

    Raises:
        DataError: when no phase of the history ended in the window.
    """
    spec = load_soft_sensor(settings.impress_params)
    with connect(settings) as engine:
        log = MonitoringLog(engine, spec)
        period = log.period(since or BEGINNING.isoformat(), until)
        model = fetch_production(settings, spec)
        window = read_results(history, spec).window(period.since, period.until)
        evidence = gather_evidence(log, period, window, model)
    written: Report = write_report(
        judge(evidence, spec), evidence, spec, folder(settings), settings.page_url
    )
    return written


def monitor_rigs(
    settings: Settings, history: str, since: str, until: str | None, jobs: int
) -> tuple[RigsReport, Path]:
    """Compare each rig in a window of a history with what it did before, on one page.

    Args:
        history, since, until: see `monitor_history`.
        jobs: processes.

    Returns:
        The report, and its page.

    Raises:
        DataError: when no phase of the history ended in the window.
    """
    spec = load_soft_sensor(settings.impress_params)
    period, results = window_of(since, until), read_results(history, spec)
    columns = rigs.columns_needed(spec)
    month = results.window(period.since, period.until, columns)
    before = results.between(*rigs.before(period), columns)
    report = RigsReport(period, rigs.judge_rigs(month, before, period, spec, jobs), spec)
    return report, report.write(folder(settings) / f"rigs-{period.until:%Y%m%dT%H%M%S}")


def monitor_rig(
    settings: Settings, history: str, rig: str, since: str, until: str | None
) -> Report:
    """Compare one rig in a window of a history with what it did before, as `monitor_rigs` does.

    Args:
        history, since, until: see `monitor_history`.

    Raises:
        DataError: when no phase of the rig ended in the window, or before it.
    """
    spec = load_soft_sensor(settings.impress_params)
    period, results = window_of(since, until), read_results(history, spec)
    month, before = results.window(period.since, period.until), results.between(
        *rigs.before(period)
    )
    spec = rigs.sharing_rates(spec, len(rigs.names(month, before, spec=spec)))
    month, before = rigs.of_rig(month, rig, spec), rigs.of_rig(before, rig, spec)
    for rows, when in ((month, "in this time"), (before, f"in {rigs.REFERENCE_DAYS} days before")):
        if rows.empty:
            raise DataError(f"no phase of rig {rig} ended {when}: see `impress monitor --history`")
    version = str(results.manifest()["model_version"])
    evidence = rigs.evidence_of_rig(rig, month, before, period, version, spec)
    reports = folder(settings) / f"rig-{in_file_name(rig)}"
    verdict = judge(evidence, rigs.without_targets(spec))
    written: Report = write_report(verdict, evidence, spec, reports, settings.page_url)
    return written


def window_of(since: str, until: str | None) -> Period:
    """A window that a user has named, by default until now."""
    end = pd.Timestamp.now("UTC") if until is None else moment(until)
    return Period(moment(since), end, requested=True)


def folder(settings: Settings) -> Path:
    """Where reports on histories are."""
    return settings.artifacts / "reports" / "history"
