"""Study: which sensors are worth their price, as a table and a chart in artifacts/study/.

Run from a checkout: `python src/pipelines/study_pipeline.py`, or `impress study`.
"""

from __future__ import annotations

import logging

import pandas as pd

from src.components.backfill.training import opened
from src.components.trainer import explanation, fitting, sensor_study
from src.logger import job
from src.orchestration import flow, task
from src.pipelines.train_pipeline import prepare, production_params
from src.settings import Settings
from src.soft_sensor import load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def study(settings: Settings, folder: str = "Dataset", repeats: int = 3) -> pd.DataFrame:
    """Compare sets of sensors on a data set folder; see `sensor_study.compare_sets`."""
    spec = load_soft_sensor(settings.impress_params)
    params = production_params(settings, spec, needed=False)
    with opened(folder, spec, settings.artifacts / "converted") as data:
        table, _ = prepare(data, spec)
    importance = None
    if len(spec.sensors) > sensor_study.EVERY_SUBSET_UP_TO:
        bundle = fitting.assemble(table, params, spec)
        increases = explanation.importance(bundle, spec, repeats=3)
        importance = increases.groupby("sensor")["increase"].mean()
    sets = sensor_study.sensor_sets(spec, importance)
    logger.info("cross-validating %d sets of sensors, %d times each", len(sets), repeats)
    compared = compare(table, params, sets, repeats, spec)
    results = settings.artifacts / "study"
    results.mkdir(parents=True, exist_ok=True)
    compared.to_csv(results / "sensors.csv", index=False)
    sensor_study.pareto_chart(compared, results / "sensors.png")
    logger.info("sensors.csv and sensors.png are in %s", results)
    return compared


compare = task()(sensor_study.compare_sets)


if __name__ == "__main__":
    with job("study") as configured:
        study(configured)
