"""Predict: the inbox in, the ledger out, with the Production model; then pages and the letter.

Run from a checkout: `python src/pipelines/predict_pipeline.py`, or `impress predict`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from src.components.database.connection import connect
from src.components.database.journal import Journal
from src.components.inbox import retention
from src.components.inbox.due_features import due_features
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.inbox.transaction import Outcome, transaction
from src.components.lineage import code_version
from src.components.predictor.scoring import Served, score
from src.errors import advice
from src.logger import job
from src.metrics import publish_figures
from src.orchestration import flow, task
from src.pipelines.page_pipeline import publish_site
from src.progress import through
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from src.components.predictor.correction import Correction

logger = logging.getLogger(__name__)

COUNTED = ("scored", "kept", "waiting", "rejected", "purged")  # rows, in METRICS


@flow
def predict(
    settings: Settings, twins: bool = False, rescore: Window | None = None
) -> Outcome | None:
    """Score what is due, and remove raw rows whose retention time is over.

    Works on the test_ tables with `twins`; `rescore` are phases to score again. Returns what became
    of the rows, None when another run holds the inbox.
    """
    spec = load_soft_sensor(settings.impress_params)
    prefix = "test_" if twins else ""
    with connect(settings) as engine, hold(engine, prefix) as connection:
        journal = Journal(engine, spec, prefix)
        if connection is None:
            journal.note_skipped("predict", code_version(settings))
            return None
        with journal.run("predict", code_version(settings)) as run_id:
            inbox = Inbox(connection, spec, prefix)
            with transaction(inbox, run_id) as run:
                if due := run.take_stock(rescore):
                    with due_features(engine, inbox) as batches:
                        model = fetch_production(settings, spec)  # while PostgreSQL computes
                        correction = adapt(engine, model, spec, prefix)
                        for features in through(batches, "scoring phases", due):
                            run.archive(score(features, model, spec, correction))
                run.set_aside()
                outcome = run.complete(journal)
            purged = retention.purge(inbox, run_id, None if twins else settings.raw_archive)
    counts = {**asdict(outcome), "purged": purged}
    logger.info("%s; %d purged", outcome, purged, extra={"counts": counts})
    if not twins:
        rows = {f"rows_{name}": counts[name] for name in COUNTED}
        publish_figures(settings, "predict", "run", **rows)
        publish_site(settings)
        if outcome.scored:
            send_letter(settings, spec, run_id)
    return outcome


@task(retries=2)
def fetch_production(settings: Settings, spec: SoftSensor) -> Served:
    """The model in production."""
    from src.components.registry import cache, versions

    return cache.fetch_production(versions.Registry(settings, spec.name))


@task()
def adapt(engine: Engine, model: Served, spec: SoftSensor, prefix: str) -> Correction | None:
    """What the laboratory values of predicted phases change about predictions."""
    from src.components.adaptation import known

    return known.correction(engine, model, spec, prefix)


@task()
def send_letter(settings: Settings, spec: SoftSensor, run_id: int) -> None:
    """The letter of the week. What the run has done stands, whatever becomes of the letter."""
    if not settings.weekly_letter:
        return
    from src.components.weekly.letter import send_weekly

    try:
        with connect(settings) as engine:
            send_weekly(engine, run_id, spec, settings)
    except Exception as error:  # pylint: disable=broad-exception-caught  # see above
        logger.warning("the weekly letter was not sent: %s", advice(error) or repr(error))
        logger.info("traceback:", exc_info=True, extra={"file_only": True})


if __name__ == "__main__":
    with job("predict") as configured:
        predict(configured)
