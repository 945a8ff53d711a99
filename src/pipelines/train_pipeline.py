"""Train: data set folder in, registered model version out.

Run from a checkout: `python src/pipelines/train_pipeline.py`, or `impress train`.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path

import pandas as pd

from src.components import dataset, evaluation, ingestion, trainer, transformation
from src.components.lineage import code_version, library_versions
from src.components.predictor import Bundle
from src.components.registry import Registry
from src.logger import job
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def train(folder: str = "Dataset", trials: int | None = None) -> str:
    """Train on a data set folder and register the model. Returns its version."""
    settings = Settings()
    sensor = load_soft_sensor(settings.impress_params)
    table = prepare(Path(folder), sensor)
    bundle, params = fit(table, trials or sensor.training.trials, sensor)
    return evaluate_and_register(bundle, params, table, Path(folder), settings, sensor)


@task()
def prepare(folder: Path, sensor: SoftSensor) -> pd.DataFrame:
    """Sensor series and laboratory values to one table of phases."""
    features = ingestion.read_features(folder, sensor)
    laboratory = ingestion.read_laboratory(folder / sensor.files.laboratory, sensor)
    targets = transformation.laboratory_targets(laboratory, sensor)
    groups = ingestion.read_groups(folder, sensor)
    return transformation.training_table(features, targets, groups, sensor)


fit = task()(trainer.train)


@task(retries=2)
def evaluate_and_register(
    bundle: Bundle,
    params: dict[str, trainer.Params],
    table: pd.DataFrame,
    folder: Path,
    settings: Settings,
    sensor: SoftSensor,
) -> str:
    """Measure on the hold-out, write the pages, log and register everything."""
    training, holdout = table[~table["holdout"]], table[table["holdout"]].reset_index(drop=True)
    predicted = bundle.predict(holdout, sensor)
    errors = evaluation.metrics(predicted, holdout, training, sensor)
    origin = {"data_version": dataset.version(folder), "code_version": code_version(settings)}
    bundle = bundle.with_metadata(
        **origin,
        libraries=library_versions(),
        experiments=sorted(training[sensor.columns.experiment].unique().tolist()),
        metrics=errors.to_dict("records"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        pages = Path(scratch)
        errors.to_csv(pages / "metrics.csv", index=False)
        evaluation.charts(bundle, predicted, holdout, sensor, pages)
        evaluation.regression_report(predicted, holdout, sensor, pages / "regression.html")
        flat = {
            f"{m}_{key}": value for m, values in params.items() for key, value in values.items()
        }
        scores = evaluation.flat_metrics(errors)
        version = Registry(settings, sensor.name).log(bundle, flat, scores, origin, pages)
    settings.artifacts.mkdir(parents=True, exist_ok=True)
    (settings.artifacts / "metrics.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    shown = errors.round(3).to_string(index=False)
    logger.info("version %s of %s; errors on the hold-out:\n%s", version, sensor.name, shown)
    return version


if __name__ == "__main__":
    with job("train", Settings().logs):
        train()
