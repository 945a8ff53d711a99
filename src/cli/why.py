"""From a prediction back to what it was made from: rows, features, votes, model, data, code."""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Engine

from src.cli.console import show_line, show_rule, show_table, stamp
from src.components.page.trace import (
    Prediction,
    beyond_training,
    read_predictions,
    trained_range,
    whole,
)
from src.components.predictor.bundle import Bundle
from src.components.predictor.flags import describe
from src.components.registry.cache import fetch
from src.components.registry.versions import Registry
from src.components.trainer.explanation import BASE_VALUE, shapley_values
from src.components.trainer.model_card import bias
from src.components.trainer.verdict_reasons import VerdictReasons
from src.errors import DataError, ImpressError
from src.settings import Settings
from src.soft_sensor import SoftSensor


def show_why(engine: Engine, settings: Settings, spec: SoftSensor, experiment: str) -> None:
    """Print where the newest prediction of each phase of an experiment comes from.

    Raises:
        DataError: when nothing was predicted for it.
    """
    registry = Registry(settings, spec.name)
    predictions = read_predictions(engine, spec, spec.experiment_key(experiment))
    if not predictions:
        raise DataError(
            f"nothing was predicted for experiment {experiment}: see `impress status` and "
            "`impress rejected`"
        )
    for prediction in predictions:
        show_rule(f"experiment {experiment}, {prediction.phase.name}")
        _show_origin(prediction)
        bundle = _fetch_bundle(registry, prediction, spec)
        _show_verdict(prediction, bundle, spec)
        _show_flags(prediction, spec)
        _show_targets(prediction, bundle, spec)
        if bundle:
            _show_contributions(prediction, bundle, spec)
        _show_features(prediction, bundle, spec)
        if bundle:
            _show_model(bundle)


def _fetch_bundle(registry: Registry, prediction: Prediction, spec: SoftSensor) -> Bundle | None:
    """The model that predicted; None, with a line that says why, when it cannot be used."""
    try:
        bundle = fetch(registry, str(prediction.values["model_version"]))
        bundle.check_contract(spec)
    except ImpressError as error:
        show_line(f"The votes of its members are not known: {error}")
        return None
    return bundle


def _show_origin(prediction: Prediction) -> None:
    row = prediction.values
    period = f"{stamp(row['first_timestamp'])} to {stamp(row['last_timestamp'])} UTC"
    purged = row["purged_at"]
    raw_rows = "still in the inbox" if pd.isna(purged) else f"removed {_moment(purged)}"
    run = f"run {whole(row['run_id'])}, code {prediction.code_version}"
    show_line(
        f"from       {whole(row['n_samples'])} valid rows, stamped {period}; raw rows {raw_rows}"
    )
    show_line(
        f"predicted  {_moment(row['predicted_at'])} by version {row['model_version']} in {run}"
    )
    if prediction.older:
        plural = "prediction" if prediction.older == 1 else "predictions"
        show_line(f"supersedes {prediction.older} older {plural} of this phase")


def _show_verdict(prediction: Prediction, bundle: Bundle | None, spec: SoftSensor) -> None:
    verdict = prediction.values["verdict"]
    show_line(f"verdict    {verdict or 'none: this phase is not judged'}")
    if verdict and bundle:
        for sentence in VerdictReasons(bundle, spec).explained(prediction.row):
            show_line(f"           {sentence}")


def _show_flags(prediction: Prediction, spec: SoftSensor) -> None:
    flags = prediction.values["flags"] or ""
    show_line(f"flags      {flags or 'none'}")
    for code, meaning in describe(flags, spec).items():
        show_line(f"           {code}: {meaning}")


def _moment(moment: pd.Timestamp | None) -> str:
    return "at an unknown time" if pd.isna(moment) else f"{moment:%Y-%m-%d %H:%M} UTC"


def _show_targets(prediction: Prediction, bundle: Bundle | None, spec: SoftSensor) -> None:
    row = prediction.values
    intervals = [f"{row[target.lower]:.4g} to {row[target.upper]:.4g}" for target in spec.targets]
    rows = [
        ["unit", *(target.unit for target in spec.targets)],
        ["predicted", *(f"{row[target.name]:.4g}" for target in spec.targets)],
        ["interval", *intervals],
    ]
    heading = "targets"
    if bundle:
        heading = "targets, and the prediction of each member x its weight"
        for member, votes in bundle.member_votes(prediction.row, spec).items():
            cells = []
            for name in spec.target_names:
                cells.append(f"{votes[name].iloc[0]:.4g} x {bundle.weights[name][member]:.2f}")
            rows.append([member, *cells])
    show_table(heading, ["", *(target.title for target in spec.targets)], rows)
    if bundle:
        for line in bundle.origin.metrics:
            target = spec.target(line["target"])
            if line["phase"] == prediction.phase.name and (sentence := bias(line, target)):
                show_line(f"usually, {sentence}")


def _show_contributions(prediction: Prediction, bundle: Bundle, spec: SoftSensor) -> None:
    """SHAP values of the sensors. A machine that only predicts has no shap."""
    if not (bundle.reference[spec.columns.phase] == prediction.phase.value).any():
        show_line("The contributions of the sensors are not known: this phase was not trained on.")
        return
    try:
        values = shapley_values(bundle, prediction.row, spec)
    except ModuleNotFoundError:
        show_line("Install the extra `train` to see the contributions of the sensors.")
        return
    average = [f"{values[name][BASE_VALUE]:.4g}" for name in spec.target_names]
    rows = [["average of this phase", *average]]
    for sensor in spec.sensors:
        moved = [f"{values[name][sensor.name]:+.3g}" for name in spec.target_names]
        rows.append([sensor.title, *moved])
    headers = ["", *(f"{target.title} [{target.unit}]" for target in spec.targets)]
    show_table("contributions of the sensors (SHAP); they sum to the prediction", headers, rows)


def _show_features(prediction: Prediction, bundle: Bundle | None, spec: SoftSensor) -> None:
    heading = "features"
    beyond = set[str]()
    if bundle:
        heading = "features; * outside the range of the training rows of this phase"
        trained = trained_range(bundle, prediction.phase, spec)
        beyond = beyond_training(prediction, trained, spec)
    rows = []
    for sensor in spec.sensors:
        cells = []
        for name in spec.features_of(sensor):
            mark = "*" if name in beyond else ""
            cells.append(f"{prediction.values[name]:.4g}{mark}")
        rows.append([sensor.title, sensor.unit, *cells])
    show_table(heading, ["sensor", "unit", *spec.statistics], rows)


def _show_model(bundle: Bundle) -> None:
    origin = bundle.origin
    libraries = ", ".join(f"{name} {version}" for name, version in origin.libraries.items())
    show_line(f"model run         {origin.mlflow_run}")
    show_line(f"model data        {origin.data_version}")
    show_line(f"model code        {origin.code_version}")
    show_line(f"model experiments {len(origin.experiments)} trained on")
    show_line(f"model libraries   {libraries}")
