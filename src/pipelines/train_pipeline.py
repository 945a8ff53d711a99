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

from src.components.backfill.training import DataSet, features_of_analysed, opened
from src.components.ingestion import data_set, dvc_data
from src.components.ingestion.account import Account, note_joined
from src.components.lineage import code_version, library_versions
from src.components.predictor.bundle import Bundle
from src.components.registry import cache
from src.components.registry.production import production
from src.components.registry.versions import Registry
from src.components.trainer import evaluation, explanation, fitting
from src.components.trainer.members import Params
from src.components.trainer.model_card import model_card
from src.components.trainer.verdict_figures import verdict_figures
from src.components.transformation import censoring
from src.components.transformation.training_table import (
    laboratory_targets,
    samples,
    training_table,
)
from src.errors import BundleRefused, NoModel, VersionLost
from src.files import write_whole
from src.logger import job
from src.orchestration import flow, task
from src.progress import step
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def train(
    settings: Settings,
    folder: str = "Dataset",
    trials: int | None = None,
    retrain: bool = False,
    cold: bool = False,
    accept_outliers: str | None = None,
) -> str:
    """Train on a data set and register the model.

    Args:
        folder: of the data set, or its address in an object store.
        trials: tuning trials per member, by default those of params.yaml.
        retrain: use the hyperparameters of the Production version and do not search.
        cold: start the search with the default hyperparameters, not with those of Production.
        accept_outliers: who says that values outside the range of their target are right, and why.

    Returns:
        The number of the new version.
    """
    spec = load_soft_sensor(settings.impress_params)
    start = fitting.DEFAULTS if cold else production_params(settings, spec, needed=retrain)
    with opened(folder, spec, settings.artifacts / "converted") as data:
        table, account = prepare(data, spec, accept_outliers is not None)
        data_version = version_of(data)
    searched = 0 if retrain else trials or spec.training.trials
    bundle = fit(table, searched, start, spec)
    version = evaluate_and_register(bundle, data_version, settings, spec, accept_outliers)
    account.log()
    return version


@task(retries=2)
def production_params(settings: Settings, spec: SoftSensor, needed: bool) -> dict[str, Params]:
    """Hyperparameters of the Production version, or the defaults if there is none.

    Raises:
        NoModel, BundleRefused: when they are `needed` and cannot be read.
    """
    registry = Registry(settings, spec.name)
    try:
        version = production(registry)
        if version is None:
            raise NoModel(f"no version of {spec.name} is Production: train without --retrain")
        params = cache.fetch(registry, version.number).origin.params
    except (NoModel, BundleRefused, VersionLost) as error:
        if needed:
            raise
        logger.info("beginning with the default hyperparameters: %s", error)
        return fitting.DEFAULTS
    logger.info("beginning with the hyperparameters of version %s", version.number)
    return {member: params.get(member, start) for member, start in fitting.DEFAULTS.items()}


@task()
def prepare(
    data: DataSet, spec: SoftSensor, accept_outliers: bool = False
) -> tuple[pd.DataFrame, Account]:
    """Sensor series and laboratory values to one table of phases, and what became of them."""
    account, folder = Account(), data.folder
    file = folder / spec.files.laboratory
    if data.history is None:
        features = data_set.read_features(folder, spec, account)
        laboratory = data_set.read_laboratory(file, spec, account, accept_outliers)
    else:
        laboratory = data_set.read_laboratory(file, spec, account, accept_outliers)
        features = features_of_analysed(data, laboratory, spec, account)
        features = data_set.with_archived(features, folder, spec, account)
    for count, values in censoring.counted(samples(laboratory, spec), spec):
        account.note(count, values)
    targets = laboratory_targets(laboratory, spec)
    groups = data_set.read_groups(folder, spec)
    table = training_table(features, targets, groups, spec)
    note_joined(account, features, targets, table, spec)
    return table, account


def version_of(data: DataSet) -> str:
    """A hash that names the version of a data set: DVC's, unless it has a history."""
    folder = dvc_data.version(data.folder)
    return folder if data.history_version is None else f"{folder}+{data.history_version}"


fit = task()(fitting.train)


@task(retries=2)
def evaluate_and_register(
    bundle: Bundle,
    data_version: str,
    settings: Settings,
    spec: SoftSensor,
    accepted_outliers: str | None = None,
) -> str:
    """Evaluate out of fold, draw charts, write the model card, and register it all.

    Returns:
        The number of the new version.
    """
    labels = bundle.labels(spec)
    predicted = bundle.out_of_fold(spec)
    errors = evaluation.metrics(predicted, labels, spec)
    origin = {"data_version": data_version, "code_version": code_version(settings)}
    bundle = bundle.with_origin(
        **origin,
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        libraries=library_versions(),
        experiments=sorted(bundle.reference[spec.columns.experiment].unique().tolist()),
        metrics=errors.to_dict("records"),
    )
    with tempfile.TemporaryDirectory() as scratch, step("evaluating"):
        pages = Path(scratch)
        errors.to_csv(pages / "metrics.csv", index=False)
        evaluation.chart(predicted, labels, spec, pages / "predicted_against_measured.png")
        evaluation.regression_report(predicted, labels, spec, pages / "regression.html")
        importance = explanation.write_importance(bundle, spec, pages)
        card = model_card(bundle, errors, importance, spec)
        (pages / "model_card.md").write_text(card, encoding="utf-8")
        scores = evaluation.flat_metrics(errors)
        tags = {**origin, "accepted_outliers": accepted_outliers} if accepted_outliers else origin
        version = Registry(settings, spec.name).log(bundle, scores, tags, pages)
    write_whole(settings.artifacts / "metrics.json", json.dumps(scores, indent=1).encode())
    logger.info("version %s of %s; errors on unseen experiments:", version, spec.name)
    _log_table(errors.round(3).to_string(index=False))
    _log_verdicts(bundle, spec)
    return version


def _log_verdicts(bundle: Bundle, spec: SoftSensor) -> None:
    """How the training phases would be judged, and what is promised."""
    figures = verdict_figures(bundle, spec)
    if figures is None:
        return
    logger.info("verdicts on the training phases, by what the laboratory says:")
    _log_table(figures.counts.to_string())
    for sentence in figures.sentences:
        logger.info("%s", sentence)


def _log_table(text: str) -> None:
    for line in text.splitlines():
        logger.info("%s", line)


if __name__ == "__main__":
    with job("train") as configured:
        train(configured)
