"""From a prediction back to what it was made from: rows, features, votes, model, data, code."""

from __future__ import annotations

from typing import Any

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
from src.components.predictor.correction import FROM, MODE, TO, VALUES
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
        for line in correction_words(prediction.values, spec):
            show_line(line)
        _show_verdict(prediction, bundle, spec)
        _show_flags(prediction, spec)
        _show_targets(prediction, bundle, spec)
        if bundle:
            _show_contributions(prediction, bundle, spec)
        _show_features(prediction, bundle, spec)
        if bundle:
            _show_model(bundle)


def traced(
    engine: Engine, settings: Settings, spec: SoftSensor, experiment: str
) -> list[dict[str, Any]]:
    """The same as a record for each phase, for other programs."""
    registry = Registry(settings, spec.name)
    return [
        _record(prediction, _fetch_bundle(registry, prediction, spec), spec)
        for prediction in read_predictions(engine, spec, spec.experiment_key(experiment))
    ]


def _record(prediction: Prediction, bundle: Bundle | None, spec: SoftSensor) -> dict[str, Any]:
    row = prediction.values
    record = {
        "phase": prediction.phase.name,
        "ledger": row.to_dict(),
        "code_version": prediction.code_version,
        "older_predictions": prediction.older,
        "flags": describe(row["flags"] or "", spec),
    }
    if bundle is None:
        return record
    trained = trained_range(bundle, prediction.phase, spec)
    votes = bundle.member_votes(prediction.row, spec)
    contributions, _ = _contributions(prediction, bundle, spec)
    return {
        **record,
        "verdict_reasons": _reasons(prediction, bundle, spec),
        "votes": {member: vote.iloc[0].to_dict() for member, vote in votes.items()},
        "weights": bundle.weights.T.to_dict(),
        "contributions": None if contributions is None else contributions.to_dict(),
        "outside_training": sorted(beyond_training(prediction, trained, spec)),
        "model": bundle.origin,
    }


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


def correction_words(row: pd.Series, spec: SoftSensor) -> list[str]:
    """How recent laboratory values have corrected a row of the ledger, in words.

    None of a row that was predicted without.
    """
    if pd.isna(row[MODE]):
        return []
    served = row[MODE] == "on"
    heading = "adapted   " if served else "shadow    "
    count = whole(row[VALUES])
    if not count:
        return [f"{heading} no laboratory value of this version yet: the model alone"]
    phases = "phase" if count == 1 else "phases"
    period = f"{row[FROM]:%Y-%m-%d} to {row[TO]:%Y-%m-%d}"
    would = "" if served else "would be "
    lines = [f"{heading} by the laboratory values of {count} {phases}, {period}"]
    for target in spec.targets:
        alone, adapted = row[target.alone], row[target.adapted]
        lines.append(
            f"           {target.title} {would}{adapted:.4g} {target.unit}, by the model alone "
            f"{alone:.4g}; interval x {row[target.widening]:.2f}"
        )
    return lines


def _show_verdict(prediction: Prediction, bundle: Bundle | None, spec: SoftSensor) -> None:
    verdict = prediction.values["verdict"]
    show_line(f"verdict    {verdict or 'none: this phase is not judged'}")
    for sentence in _reasons(prediction, bundle, spec):
        show_line(f"           {sentence}")


def _reasons(prediction: Prediction, bundle: Bundle | None, spec: SoftSensor) -> list[str]:
    """Why the verdict is what it is, as far as the model is known."""
    if not prediction.values["verdict"] or bundle is None:
        return []
    return VerdictReasons(bundle, spec).explained(prediction.row)


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
    if row[MODE] == "on":
        rows.insert(1, ["model alone", *(f"{row[target.alone]:.4g}" for target in spec.targets)])
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
    values, missing = _contributions(prediction, bundle, spec)
    if values is None:
        show_line(missing)
        return
    average = [f"{values[name][BASE_VALUE]:.4g}" for name in spec.target_names]
    rows = [["average of this phase", *average]]
    for sensor in spec.sensors:
        moved = [f"{values[name][sensor.name]:+.3g}" for name in spec.target_names]
        rows.append([sensor.title, *moved])
    headers = ["", *(f"{target.title} [{target.unit}]" for target in spec.targets)]
    show_table("contributions of the sensors (SHAP); they sum to the prediction", headers, rows)


def _contributions(
    prediction: Prediction, bundle: Bundle, spec: SoftSensor
) -> tuple[pd.DataFrame | None, str]:
    """SHAP values of the sensors, or why there are none: a machine that predicts lacks shap."""
    if not (bundle.reference[spec.columns.phase] == prediction.phase.value).any():
        return None, (
            "The contributions of the sensors are not known: this phase was not trained on."
        )
    try:
        return shapley_values(bundle, prediction.row, spec), ""
    except ModuleNotFoundError:
        return None, "Install the extra `train` to see the contributions of the sensors."


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
