"""Monitor: predictions since the last report against the training rows, verdict by e-mail.

Run from a checkout: `python src/pipelines/monitor_pipeline.py`, or `impress monitor`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd

from src.components import database, drift_reporter, emailer
from src.components.drift_reporter import TOO_FEW, Verdict
from src.components.journal import Journal
from src.components.lineage import code_version
from src.components.predictor import Bundle
from src.components.registry import Registry
from src.errors import DataError
from src.logger import job
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def monitor() -> str:
    """Look at what was archived since the last report, write the report, mail the verdict.

    Returns:
        The verdict's status.

    Raises:
        DataError: when nothing was archived since then.
    """
    settings = Settings()
    sensor = load_soft_sensor(settings.impress_params)
    with database.connect(settings) as engine:
        journal = Journal(engine, sensor)
        journal.note_deaths("monitor")
        with journal.run("monitor", code_version(settings)) as run_id:
            return report_window(journal, run_id, settings, sensor)


def report_window(journal: Journal, run_id: int, settings: Settings, sensor: SoftSensor) -> str:
    """Look at one window. Returns the verdict's status."""
    since = drift_reporter.last_report(journal.engine, sensor)
    month, until = drift_reporter.read_window(journal.engine, sensor, since)
    if month.empty:
        raise DataError(f"nothing was archived since {since or 'ever'}: run `impress predict`")
    bundle, version, _ = fetch_production(settings, sensor)
    verdict = drift_reporter.check(month, bundle.reference, sensor)
    words = (
        f"Predictions archived since {since or 'the beginning'} until {until:%Y-%m-%d %H:%M}, "
        f"compared with the training rows of version {version}.\n"
        f"{drift_reporter.summary(verdict, month, sensor)}"
    )
    logger.info("%s", words)
    report = write_report(verdict, month, bundle, settings, sensor, until)
    mail = deliver(f"{sensor.name}: {verdict.status}", words, report, settings)
    # Last: a run that fails before is repeated as a whole, and its window with it.
    details = {
        "since": since.isoformat() if since else None,
        "until": until.isoformat(),
        "rows": len(month),
        "sensors": verdict.sensors,
        "report": str(report) if report else None,
        "mail": mail,
    }
    with journal.engine.begin() as connection:
        journal.complete(
            connection, run_id, outcome=verdict.status, model_version=version, details=details
        )
    return verdict.status


@task(retries=2)
def fetch_production(settings: Settings, sensor: SoftSensor) -> tuple[Bundle, str, bool]:
    """The Production bundle, whose reference is what monitoring compares with."""
    return Registry(settings, sensor.name).fetch_production()


@task()
def write_report(
    verdict: Verdict,
    month: pd.DataFrame,
    bundle: Bundle,
    settings: Settings,
    sensor: SoftSensor,
    until: pd.Timestamp,
) -> Path | None:
    """Evidently's page of the month, None when there were too few rows for one."""
    if verdict.status == TOO_FEW:
        return None
    report = settings.artifacts / "reports" / f"drift-{until:%Y%m%dT%H%M%S}.html"
    drift_reporter.write_report(verdict, month, bundle.reference, sensor, report)
    logger.info("report: %s", report)
    return report


@task()
def deliver(subject: str, words: str, report: Path | None, settings: Settings) -> str:
    """Send the verdict with the report attached. Returns where it went."""
    attachments = [report] if report else []
    return emailer.send(emailer.compose(settings, subject, words, attachments), settings)


if __name__ == "__main__":
    with job("monitor", Settings().logs):
        monitor()
