"""Predict: the inbox in, the ledger out, with the Production model.

Run from a checkout: `python src/pipelines/predict_pipeline.py`, or `impress predict`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from src.components.database.connection import connect
from src.components.database.journal import Journal
from src.components.inbox import retention, transaction
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.inbox.transaction import Outcome
from src.components.lineage import code_version
from src.logger import job
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

if TYPE_CHECKING:
    import pandas as pd

    from src.components.predictor.bundle import Bundle

logger = logging.getLogger(__name__)


@flow
def predict(twins: bool = False, rescore: Window | None = None) -> Outcome | None:
    """Score what is due and remove what was kept long enough.

    Args:
        twins: work on the test_ tables.
        rescore: phases to score again with the present model.

    Returns:
        What became of the rows, None when another run is at it.
    """
    settings = Settings()
    spec = load_soft_sensor(settings.impress_params)
    prefix = "test_" if twins else ""
    with connect(settings) as engine, hold(engine, prefix) as connection:
        journal = Journal(engine, spec, prefix)
        if connection is None:
            journal.note_skipped("predict", code_version(settings))
            logger.info("another run holds the inbox; nothing to do")
            return None
        journal.note_deaths("predict")
        with journal.run("predict", code_version(settings)) as run_id:
            inbox = Inbox(connection, spec, prefix)
            outcome = score(inbox, settings, journal, run_id, rescore)
            # Rows of a test are no part of the archive.
            purged = retention.purge(inbox, run_id, None if twins else settings.raw_archive)
    logger.info(
        "%d rows in = %d scored + %d kept + %d waiting + %d rejected; %d purged",
        *(outcome.rows, outcome.scored, outcome.kept, outcome.waiting, outcome.rejected),
        purged,
    )
    return outcome


@task()
def score(
    inbox: Inbox, settings: Settings, journal: Journal, run_id: int, rescore: Window | None
) -> Outcome:
    """The one transaction."""

    def fetch() -> tuple[transaction.Predict, str]:
        from src.components.predictor.bundle import add_flag

        bundle, version, cached = fetch_production(settings, inbox.spec)

        def predict_batch(features: pd.DataFrame) -> pd.DataFrame:
            predicted = bundle.predict(features, inbox.spec)
            return add_flag(predicted, "cached_model") if cached else predicted

        return predict_batch, version

    return transaction.score_inbox(inbox, fetch, journal, run_id, rescore)


@task(retries=2)
def fetch_production(settings: Settings, spec: SoftSensor) -> tuple[Bundle, str, bool]:
    """The Production bundle, its version, and whether it comes from the cache."""
    from src.components.registry.versions import Registry

    return Registry(settings, spec.name).fetch_production()


if __name__ == "__main__":
    with job("predict", Settings().logs):
        predict()
