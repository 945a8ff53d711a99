"""Monitor: compare the predictions since the last report with the reference, and mail an alarm.

Run from a checkout: `python src/pipelines/monitor_pipeline.py`, or `impress monitor`.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from src.components.database.connection import connect
from src.components.database.journal import SKIPPED
from src.components.drift_reporter import gather, report
from src.components.drift_reporter.evidence import Evidence, Period
from src.components.drift_reporter.log import PIPELINE, MonitoringLog
from src.components.drift_reporter.report import Report
from src.components.drift_reporter.rigs import judge_rigs
from src.components.drift_reporter.rigs_page import RigsReport
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import Summary, summarise
from src.components.drift_reporter.verdict import Verdict, backtest, judge
from src.components.emailer import outbox
from src.components.emailer.letter import Letter, compose, message_id, picture_source
from src.components.lineage import code_version
from src.components.predictor.scoring import Served
from src.components.registry import cache
from src.components.registry.versions import Registry
from src.logger import job
from src.metrics import publish_figures
from src.orchestration import flow, task
from src.pipelines.page_pipeline import publish_site
from src.process import cores
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)

SEVERITY = {Status.NO_DRIFT: 0, Status.WATCH: 1, Status.ALARM: 2}  # in METRICS


@flow
def monitor(
    settings: Settings,
    since: str | None = None,
    until: str | None = None,
    always_mail: bool = False,
) -> str:
    """Report on what was archived since the last report, and mail an alarm.

    Args:
        since, until: another period (ISO 8601, UTC), whose report does not count as the last one.
        always_mail: send a message whatever the verdict.

    Returns:
        The verdict's status, or `skipped` when another report is under way.

    Raises:
        DataError: when nothing was archived in the period, or the reference is too small.
        DeliveryError: when a message could not be sent; it is kept, and the period stays due.
    """
    spec = load_soft_sensor(settings.impress_params)
    with connect(settings) as engine:
        log = MonitoringLog(engine, spec)
        with log.alone() as alone:
            if not alone:
                log.journal.note_skipped(PIPELINE, code_version(settings))
                return SKIPPED
            with log.journal.run(PIPELINE, code_version(settings)) as run_id:
                log.journal.note_sent(run_id, deliver_kept(settings))
                period = log.period(since, until)
                evidence = gather_for(period, log, settings)
                verdict, rigs = judge_month(evidence, log)
                written = write_report(
                    verdict, evidence, spec, settings.artifacts / "reports", settings.page_url, rigs
                )
                details = {"report": str(written.page)}
                if always_mail or (verdict.status == Status.ALARM and not period.requested):
                    details["mail"] = deliver(written, run_id, log, settings)
                # Last, in one transaction: a run that fails earlier is repeated as a whole.
                found = written.summary.findings
                log.complete(run_id, evidence, verdict, details, findings=found)
    if not period.requested:
        publish_figures(settings, PIPELINE, "run", verdict=SEVERITY.get(verdict.status))
    publish_site(settings)
    return verdict.status


def preview(settings: Settings, since: str | None = None, until: str | None = None) -> Summary:
    """What a report would say; nothing is written, mailed or recorded.

    Args:
        since, until: as of `monitor`.
    """
    spec = load_soft_sensor(settings.impress_params)
    with connect(settings) as engine:
        log = MonitoringLog(engine, spec)
        evidence = gather_for(log.period(since, until), log, settings)
        verdict, rigs = judge_month(evidence, log)
    summary = summarise(verdict, evidence, spec, backtest(evidence.reference, spec))
    return rigs.added_to(summary) if rigs else summary


def gather_for(period: Period, log: MonitoringLog, settings: Settings) -> Evidence:
    """What was archived in a period, and all that it is compared with."""
    month = gather.archived(log.engine, log.spec, period)
    model = fetch_production(settings, log.spec)
    return gather_evidence(log, period, month, model)


@task()
def judge_month(evidence: Evidence, log: MonitoringLog) -> tuple[Verdict, RigsReport | None]:
    """The verdict on a month, and where there are several rigs, that on each of them.

    An alarm of one rig is an alarm of the month.
    """
    verdict = judge(evidence, log.spec)
    if log.spec.columns.rig is None:
        return verdict, None
    month, period = evidence.month, evidence.period
    reference = gather.before_month(log.engine, log.spec, period, month)
    rigs = RigsReport(
        period, judge_rigs(month, reference, period, log.spec, jobs=cores()), log.spec
    )
    return (replace(verdict, status=Status.ALARM) if rigs.alarms else verdict), rigs


@task(retries=2)
def fetch_production(settings: Settings, spec: SoftSensor) -> Served:
    """The model in production, whose reference the month is compared with."""
    return cache.fetch_production(Registry(settings, spec.name))


@task()
def deliver(written: Report, run_id: int, log: MonitoringLog, settings: Settings) -> str:
    """Send the summary with its pictures, once for each period and verdict."""
    letter = Letter(
        key=written.key(f"{settings.db_hostname or 'embedded'}/{settings.db_name}", run_id),
        subject=written.summary.headline,
        text=written.summary.text(settings.page_url),
        html=written.summary.html(written.pictures, picture_source, settings.page_url),
        pictures=tuple(written.pictures),
        report=written.charts,
    )
    message = message_id(letter.key)
    if log.journal.was_sent(message):
        return "sent by an earlier run"
    destination = outbox.send(compose(letter, settings), settings)
    log.journal.note_sent(run_id, [message])
    return destination


deliver_kept = task()(outbox.deliver_kept)
gather_evidence = task()(gather.gather)
write_report = task()(report.write_report)


if __name__ == "__main__":
    with job("monitor") as configured:
        monitor(configured)
