"""From a prediction back to what it was made from: rows, features, votes, model, data, code."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Double, Engine, select, text

from src.cli.console import show_line, show_rule, show_table, stamp
from src.cli.why_verdict import explained
from src.components.database.schema import require_fit
from src.components.database.tables import NEWEST_FIRST, tables
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import FROM, MODE, TO, VALUES
from src.components.predictor.flags import describe
from src.components.registry.cache import fetch
from src.components.registry.versions import Registry
from src.components.trainer.explanation import BASE_VALUE, shapley_values
from src.components.trainer.model_card import bias
from src.errors import DataError, ImpressError
from src.settings import Settings
from src.soft_sensor import Phase, SoftSensor


@dataclass(frozen=True)
class Prediction:
    """The newest prediction of a phase, and where it comes from.

    Attributes:
        row: its row of the ledger, a frame of one row.
        older: number of older predictions of the same phase.
        code_version: of the run that made it.
    """

    phase: Phase
    row: pd.DataFrame
    older: int
    code_version: str

    @property
    def values(self) -> pd.Series:
        """The row's values by column."""
        return self.row.iloc[0]


def show_why(engine: Engine, settings: Settings, spec: SoftSensor, experiment: str) -> None:
    """Print where the newest prediction of each phase of an experiment comes from.

    Raises:
        DataError: when nothing was predicted for it.
    """
    registry = Registry(settings, spec.name)
    for prediction in read_predictions(engine, spec, experiment):
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


def read_predictions(engine: Engine, spec: SoftSensor, experiment: str) -> list[Prediction]:
    """The newest prediction of each phase of an experiment.

    Raises:
        DataError: when there is none.
    """
    archived = tables(spec).archived
    own = archived.c[spec.columns.experiment] == spec.experiment_key(experiment)
    with engine.connect() as connection:
        require_fit(connection, [archived])
        query = select(archived).where(own).order_by(text(NEWEST_FIRST))
        ledger = pd.read_sql(query, connection)
        code_versions = _code_versions(connection, ledger["run_id"], spec)
    if ledger.empty:
        raise DataError(
            f"nothing was predicted for experiment {experiment}: see `impress status` and "
            "`impress rejected`"
        )
    numbers = [column.name for column in archived.columns if isinstance(column.type, Double)]
    ledger = ledger.astype(dict.fromkeys(numbers, "float64"))
    predictions = []
    for phase in spec.phases:
        rows = ledger[ledger[spec.columns.phase] == phase.value].reset_index(drop=True)
        if not rows.empty:
            code = code_versions.get(_whole(rows["run_id"].iloc[0])) or "unknown"
            predictions.append(Prediction(phase, rows.head(1), len(rows) - 1, code))
    return predictions


def _code_versions(
    connection: Connection, run_ids: pd.Series, spec: SoftSensor
) -> dict[int | None, str | None]:
    """Code version by run."""
    runs = tables(spec).runs
    query = select(runs.c.id, runs.c.code_version)
    own = query.where(runs.c.id.in_([int(run_id) for run_id in run_ids.dropna().unique()]))
    return {run.id: run.code_version for run in connection.execute(own)}


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
    run = f"run {_whole(row['run_id'])}, code {prediction.code_version}"
    show_line(
        f"from       {_whole(row['n_samples'])} valid rows, stamped {period}; raw rows {raw_rows}"
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
    count = _whole(row[VALUES])
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
    if verdict and bundle:
        for sentence in explained(prediction.row, bundle, spec):
            show_line(f"           {sentence}")


def _show_flags(prediction: Prediction, spec: SoftSensor) -> None:
    flags = prediction.values["flags"] or ""
    show_line(f"flags      {flags or 'none'}")
    for code, meaning in describe(flags, spec).items():
        show_line(f"           {code}: {meaning}")


def _whole(value: float | None) -> int | None:
    """A whole number, None in rows that are older than its column."""
    return None if value is None or pd.isna(value) else int(value)


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
        beyond = _beyond_training(prediction, bundle, spec)
    rows = []
    for sensor in spec.sensors:
        cells = []
        for name in spec.features_of(sensor):
            mark = "*" if name in beyond else ""
            cells.append(f"{prediction.values[name]:.4g}{mark}")
        rows.append([sensor.title, sensor.unit, *cells])
    show_table(heading, ["sensor", "unit", *spec.statistics], rows)


def _beyond_training(prediction: Prediction, bundle: Bundle, spec: SoftSensor) -> set[str]:
    """Features beyond the range of the training rows of the same phase."""
    same_phase = bundle.reference[spec.columns.phase] == prediction.phase.value
    trained = bundle.reference.loc[same_phase, spec.features]
    features = prediction.row[spec.features].iloc[0]
    beyond = (features < trained.min()) | (features > trained.max())
    return set(beyond.index[beyond])


def _show_model(bundle: Bundle) -> None:
    origin = bundle.origin
    libraries = ", ".join(f"{name} {version}" for name, version in origin.libraries.items())
    show_line(f"model run         {origin.mlflow_run}")
    show_line(f"model data        {origin.data_version}")
    show_line(f"model code        {origin.code_version}")
    show_line(f"model experiments {len(origin.experiments)} trained on")
    show_line(f"model libraries   {libraries}")
