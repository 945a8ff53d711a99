"""Train: data set folder in, registered model version out.

Run from a checkout: `python src/pipelines/train_pipeline.py`, or `impress train`.
"""

from __future__ import annotations

import json
import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from src.components import dataset, evaluation, explanation, ingestion, trainer, transformation
from src.components.lineage import code_version, library_versions
from src.components.model_card import model_card
from src.components.predictor import Bundle
from src.components.registry import Registry
from src.errors import BundleRefused, NoModel
from src.logger import job
from src.orchestration import flow, task
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def train(
    folder: str = "Dataset", trials: int | None = None, retrain: bool = False, cold: bool = False
) -> str:
    """Train on a data set folder and register the model. Returns its version.

    Args:
        retrain: use the hyperparameters of the Production version as they are.
        cold: do not let the search begin with them.
    """
    settings = Settings()
    sensor = load_soft_sensor(settings.impress_params)
    start = trainer.DEFAULTS if cold else production_params(settings, sensor, needed=retrain)
    table = prepare(Path(folder), sensor)
    bundle = fit(table, 0 if retrain else trials or sensor.training.trials, start, sensor)
    return evaluate_and_register(bundle, table, Path(folder), settings, sensor)


@task(retries=2)
def production_params(
    settings: Settings, sensor: SoftSensor, needed: bool
) -> dict[str, trainer.Params]:
    """Hyperparameters of the Production version, the defaults where there is none.

    Raises:
        NoModel, BundleRefused: when they are `needed` and there is none that can be read.
    """
    registry = Registry(settings, sensor.name)
    try:
        if (production := registry.production()) is None:
            raise NoModel(f"no version of {sensor.name} is Production: train without --retrain")
        params = registry.fetch(str(production.version)).metadata["params"]
    except (NoModel, BundleRefused) as error:
        if needed:
            raise
        logger.info("beginning with the default hyperparameters: %s", error)
        return trainer.DEFAULTS
    logger.info("beginning with the hyperparameters of version %s", production.version)
    return {member: params.get(member, start) for member, start in trainer.DEFAULTS.items()}


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
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        libraries=library_versions(),
        experiments=sorted(training[sensor.columns.experiment].unique().tolist()),
        metrics=errors.to_dict("records"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        pages = Path(scratch)
        errors.to_csv(pages / "metrics.csv", index=False)
        evaluation.chart(predicted, holdout, sensor, pages / "predicted_against_measured.png")
        evaluation.regression_report(predicted, holdout, sensor, pages / "regression.html")
        importance = explanation.write_importance(bundle, sensor, pages)
        card = model_card(bundle, errors, importance, sensor)
        (pages / "model_card.md").write_text(card, encoding="utf-8")
        scores = evaluation.flat_metrics(errors)
        version = Registry(settings, sensor.name).log(bundle, scores, origin, pages)
    settings.artifacts.mkdir(parents=True, exist_ok=True)
    (settings.artifacts / "metrics.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    shown = errors.round(3).to_string(index=False)
    logger.info("version %s of %s; errors on the hold-out:\n%s", version, sensor.name, shown)
    return version


if __name__ == "__main__":
    with job("train", Settings().logs):
        train()
