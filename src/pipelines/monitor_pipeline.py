"""Monitor: predictions since the last report against the reference, verdict by e-mail.

Run from a checkout: `python src/pipelines/monitor_pipeline.py`, or `impress monitor`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from src.components.database.connection import connect
from src.components.database.journal import SKIPPED
from src.components.drift_reporter import evidence, performance, report
from src.components.drift_reporter.drift_tests import ALARM
from src.components.drift_reporter.evidence import Window
from src.components.drift_reporter.findings import findings, notes
from src.components.drift_reporter.log import PIPELINE, MonitoringLog
from src.components.drift_reporter.report import Summary
from src.components.drift_reporter.verdict import Laboratory, backtest, judge
from src.components.emailer import outbox
from src.components.emailer.letter import Letter, compose, message_id
from src.components.ingestion import laboratory
from src.components.lineage import code_version
from src.components.predictor.bundle import Bundle
from src.components.predictor.scoring import Served
from src.components.registry import cache
from src.components.registry.versions import Registry
from src.errors import DataError
from src.logger import job
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def monitor(
    settings: Settings,
    since: str | None = None,
    until: str | None = None,
    always_mail: bool = False,
) -> str:
    """Look at what was archived since the last report, write the report, mail an alarm.

    Args:
        since, until: another window (ISO 8601, UTC), whose report does not count as the last one.
        always_mail: send a message whatever the verdict.

    Returns:
        The verdict's status, or `skipped` when another report is under way.

    Raises:
        DataError: when nothing was archived in the window, or the reference is too small.
        DeliveryError: when a message could not be sent; it is kept, and the window stays due.
    """
    spec = load_soft_sensor(settings.impress_params)
    with connect(settings) as engine:
        log = MonitoringLog(engine, spec)
        with log.alone() as alone:
            if not alone:
                log.journal.note_skipped(PIPELINE, code_version(settings))
                return SKIPPED
            with log.journal.run(PIPELINE, code_version(settings)) as run_id:
                deliver_kept(log, run_id, settings)
                window = log.window(since, until)
                return report_window(log, run_id, window, always_mail, settings)


def report_window(
    log: MonitoringLog, run_id: int, window: Window, always_mail: bool, settings: Settings
) -> str:
    """Look at one window. Returns the verdict's status."""
    engine, spec = log.engine, log.spec
    month = evidence.read(engine, spec, window)
    if month.empty:
        raise DataError(f"nothing was archived {window.words}: run `impress predict`")
    model = fetch_production(settings, spec)
    bundle, version = model.bundle, model.version
    bundle.check_contract(spec)
    # By the version that the reference is of, whichever it was that made the ledger's rows.
    month = month.assign(**bundle.values(month, spec))
    healthy = log.healthy(version, window)
    reference = evidence.reference(engine, spec, bundle, healthy)
    compared = compare_with_laboratory(log, bundle, window)
    earlier = log.history(window)
    before = evidence.before(engine, spec, window)
    verdict = judge(month, reference, before, compared, earlier, spec)
    summary = Summary(
        name=spec.name,
        verdict=verdict,
        titles=[
            sensor.title for n in verdict.sensors for sensor in spec.sensors if sensor.name == n
        ],
        findings=findings(verdict, reference, spec),
        about=[
            f"Predictions archived {window.words}.",
            f"Compared with {len(reference)} phases: those of the training of version {version} "
            f"and of {len(healthy)} report{'s' * (len(healthy) != 1)} accepted as healthy.",
        ],
        notes=[
            *notes(month, verdict, backtest(reference, spec), spec),
            laboratory.words(engine, spec, window.until, len(compared.recent)),
        ],
        performance=performance.figures(compared.recent, compared.known, spec),
    )
    logger.info("%s", summary.text())
    page, pictures = write_report(
        summary, (month, reference), window, earlier, spec, settings.artifacts / "reports"
    )
    sensors = verdict.sensors
    details: dict[str, Any] = {"rows": len(month), "sensors": sensors, "report": str(page)}
    if always_mail or (verdict.status == ALARM and not window.asked_for):
        details["mail"] = deliver(summary, page, pictures, window, log, run_id, settings)
    # Last, and at once: a run that fails before is repeated as a whole, and its window with it.
    log.complete(run_id, window, version, verdict, details)
    return verdict.status


@task(retries=2)
def fetch_production(settings: Settings, spec: SoftSensor) -> Served:
    """The model in production, whose reference is what monitoring compares with."""
    return cache.fetch_production(Registry(settings, spec.name))


@task()
def compare_with_laboratory(log: MonitoringLog, bundle: Bundle, window: Window) -> Laboratory:
    """Errors of Production on the laboratory values that have come since it was trained."""
    analysed = laboratory.analysed(log.engine, log.spec, window.until)
    values = performance.fresh_values(analysed, bundle, window.since, log.spec)
    names = {f"{name}_measured": name for name in log.spec.target_names}
    measured = values.drop(columns=log.spec.target_names).rename(columns=names)
    predicted = bundle.estimate(values, log.spec)
    return Laboratory(
        recent=performance.errors(predicted, measured, log.spec),
        known=performance.known_errors(bundle, log.spec),
    )


@task()
def write_report(
    summary: Summary,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    window: Window,
    earlier: pd.DataFrame,
    spec: SoftSensor,
    reports: Path,
) -> tuple[Path, dict[Path, str]]:
    """The page of the month and its pictures, which the message shows too."""
    folder = reports / f"drift-{window.until:%Y%m%dT%H%M%S}"
    now = summary.verdict.tests.assign(until=window.until)
    history = pd.concat([earlier, now]) if len(earlier) else now
    pictures = report.draw(summary.verdict, tables, history, spec, folder)
    page = folder / "report.html"
    report.write_report(summary, pictures, tables, spec, page)
    logger.info("report: %s", page)
    return page, pictures


@task()
def deliver(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # what to send, to whom
    summary: Summary,
    page: Path,
    pictures: dict[Path, str],
    window: Window,
    log: MonitoringLog,
    run_id: int,
    settings: Settings,
) -> str:
    """Send the summary with the report attached, once for each window and verdict."""
    place = f"{settings.db_hostname or 'embedded'}/{settings.db_name}"
    # A report that somebody asked for is sent as often as it is asked for.
    key = f"{place}: {summary.headline}, since {run_id if window.asked_for else window.since}"
    if log.was_sent(message_id(key)):
        return "sent by an earlier run"
    letter = Letter(
        key=key,
        subject=summary.headline,
        text=summary.text(),
        html=summary.html(pictures, lambda file: f"cid:{file.stem}"),
        pictures=tuple(pictures),
        report=page,
    )
    went = outbox.send(compose(letter, settings), settings)
    log.note_sent(run_id, [message_id(key)])
    return went


@task()
def deliver_kept(log: MonitoringLog, run_id: int, settings: Settings) -> None:
    """Send what earlier runs could not."""
    log.note_sent(run_id, outbox.send_kept(settings))


if __name__ == "__main__":
    environment = Settings()
    with job("monitor", environment.logs):
        monitor(environment)
