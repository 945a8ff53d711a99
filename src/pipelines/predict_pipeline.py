"""Predict: the inbox in, the ledger out, with the Production model.

Run from a checkout: `python src/pipelines/predict_pipeline.py`, or `impress predict`.
"""

from __future__ import annotations

import logging

import pandas as pd
from sqlalchemy import Engine

from src.components import archive, database
from src.components.archive import Outcome
from src.components.lineage import code_version
from src.components.predictor import Bundle, add_flag
from src.components.registry import Registry
from src.logger import job
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def predict(twins: bool = False) -> Outcome | None:
    """Score what is due. `twins` works on the test_ tables.

    Returns:
        What became of the rows, None when another run is at it.
    """
    settings = Settings()
    sensor = load_soft_sensor(settings.impress_params)
    with database.connect(settings) as engine:
        outcome = score(engine, settings, sensor, "test_" if twins else "")
    if outcome is None:
        logger.info("another run holds the inbox; nothing to do")
    else:
        logger.info(
            "%d rows in = %d scored + %d kept + %d waiting + %d rejected; %d purged",
            *(outcome.rows, outcome.scored, outcome.kept, outcome.waiting, outcome.rejected),
            outcome.purged,
        )
    return outcome


@task()
def score(engine: Engine, settings: Settings, sensor: SoftSensor, prefix: str) -> Outcome | None:
    """The one transaction."""

    def fetch() -> tuple[archive.Predict, str]:
        bundle, version, cached = fetch_production(settings, sensor)

        def predict_batch(features: pd.DataFrame) -> pd.DataFrame:
            predicted = bundle.predict(features, sensor)
            return add_flag(predicted, "cached_model") if cached else predicted

        return predict_batch, version

    return archive.score_inbox(engine, sensor, fetch, code_version(settings), prefix)


@task(retries=2)
def fetch_production(settings: Settings, sensor: SoftSensor) -> tuple[Bundle, str, bool]:
    """The Production bundle, its version, and whether it comes from the cache."""
    return Registry(settings, sensor.name).fetch_production()


if __name__ == "__main__":
    with job("predict", Settings().logs):
        predict()
