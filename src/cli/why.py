"""From a prediction back to what it was made from: rows, features, votes, model, data, code."""

from __future__ import annotations

import pandas as pd
from rich.markup import escape
from sqlalchemy import Double, Engine, select, text

from src.cli.console import console, show_table, stamp
from src.components.database.tables import NEWEST_FIRST, tables
from src.components.predictor.bundle import Bundle
from src.components.predictor.flags import describe
from src.components.registry.cache import fetch
from src.components.registry.versions import Registry
from src.components.trainer.explanation import shapley_values
from src.errors import DataError, ImpressError
from src.settings import Settings
from src.soft_sensor import SoftSensor


def show_why(engine: Engine, settings: Settings, spec: SoftSensor, experiment: str) -> None:
    """Print where the newest prediction of each phase of an experiment comes from.

    Raises:
        DataError: when nothing was predicted for it.
    """
    ledger = read_ledger(engine, spec, experiment)
    registry = Registry(settings, spec.name)
    for phase in spec.phases:
        rows = ledger[ledger[spec.columns.phase] == phase.value]
        if rows.empty:
            continue
        newest = rows.iloc[[0]].reset_index(drop=True)
        console.rule(f"[bold]experiment {escape(experiment)}, {phase.name}")
        _show_origin(newest.iloc[0], len(rows) - 1, engine, spec)
        try:
            bundle = fetch(registry, str(newest["model_version"].iloc[0]))
            bundle.check_contract(spec)
        except ImpressError as error:
            console.print(f"The votes of its members are not known: {error}", soft_wrap=True)
            bundle = None
        _show_targets(newest, bundle, spec)
        if bundle:
            _show_shares(newest, bundle, spec)
        _show_features(newest.iloc[0], bundle, spec)
        if bundle:
            _show_model(bundle)


def read_ledger(engine: Engine, spec: SoftSensor, experiment: str) -> pd.DataFrame:
    """All predictions of an experiment; of each phase the one that counts comes first."""
    archived = tables(spec).archived
    own = archived.c[spec.columns.experiment] == spec.experiment_key(experiment)
    query = select(archived).where(own)
    with engine.connect() as connection:
        ledger = pd.read_sql(query.order_by(text(NEWEST_FIRST)), connection)
    if ledger.empty:
        raise DataError(
            f"nothing was predicted for experiment {experiment}: see `impress status` and "
            "`impress rejected`"
        )
    numbers = [column.name for column in archived.columns if isinstance(column.type, Double)]
    return ledger.astype(dict.fromkeys(numbers, "float64"))


def _show_origin(row: pd.Series, older: int, engine: Engine, spec: SoftSensor) -> None:
    runs = tables(spec).runs
    line = select(runs.c.code_version).where(runs.c.id == _count(row["run_id"]))
    with engine.connect() as connection:
        code = connection.scalar(line) or "unknown"
    first, last = (stamp(row[f"{end}_timestamp"]) for end in ("first", "last"))
    rows = f"{_count(row['n_samples'])} valid rows, stamped {first} to {last} UTC"
    gone = row["purged_at"]
    raw = "still in the inbox" if pd.isna(gone) else f"removed {_moment(gone)}"
    console.print(f"from       {rows}; raw rows {raw}", soft_wrap=True)
    console.print(
        f"predicted  {_moment(row['predicted_at'])} by version {row['model_version']} in run "
        f"{_count(row['run_id'])}, code {code}",
        soft_wrap=True,
    )
    if older:
        console.print(f"supersedes {older} older prediction{'s' * (older > 1)} of this phase")
    console.print(f"verdict    {row['verdict'] or 'none: this phase is not judged'}")
    console.print(f"flags      {row['flags'] or 'none'}", soft_wrap=True)
    for code, meaning in describe(row["flags"] or "", spec).items():
        console.print(f"           {code}: {meaning}", soft_wrap=True)


def _count(value: float | None) -> int | None:
    """A whole number, None in rows that are older than its column."""
    return None if value is None or pd.isna(value) else int(value)


def _moment(moment: pd.Timestamp | None) -> str:
    return "at a time unknown" if pd.isna(moment) else f"{moment:%Y-%m-%d %H:%M} UTC"


def _show_targets(newest: pd.DataFrame, bundle: Bundle | None, spec: SoftSensor) -> None:
    row, names = newest.iloc[0], spec.target_names
    rows = [
        ["unit", *(target.unit for target in spec.targets)],
        ["predicted", *(f"{row[name]:.4g}" for name in names)],
        ["interval", *(f"{row[t.lower]:.4g} to {row[t.upper]:.4g}" for t in spec.targets)],
    ]
    if bundle:
        for member, vote in bundle.member_votes(newest, spec).items():
            weight = bundle.weights.loc[member]
            rows.append([member, *(f"{vote[n].iloc[0]:.4g} x {weight[n]:.2f}" for n in names)])
    heading = "targets" + (", and what each member says x its weight" if bundle else "")
    show_table(heading, ["", *(target.title for target in spec.targets)], rows)


def _show_shares(newest: pd.DataFrame, bundle: Bundle, spec: SoftSensor) -> None:
    """SHAP values of the sensors. A machine that only predicts has no shap."""
    phase = spec.columns.phase
    if not (bundle.reference[phase] == newest[phase].iloc[0]).any():
        console.print("What each sensor has moved is not known: this phase was not trained on.")
        return
    try:
        values = shapley_values(bundle, newest, spec)
    except ModuleNotFoundError:
        console.print("Install the extra `train` to see what each sensor has moved.")
        return
    usual = [
        "usual for this phase",
        *(f"{values[t]['usual']:.4g}" for t in spec.target_names),
    ]
    rows = [usual] + [
        [sensor.title, *(f"{values[t][sensor.name]:+.3g}" for t in spec.target_names)]
        for sensor in spec.sensors
    ]
    headers = ["", *(f"{target.title} [{target.unit}]" for target in spec.targets)]
    show_table("what each sensor has moved (SHAP); they sum to the prediction", headers, rows)


def _show_features(row: pd.Series, bundle: Bundle | None, spec: SoftSensor) -> None:
    known = pd.DataFrame(columns=spec.features, dtype=float)
    if bundle:
        same = bundle.reference[spec.columns.phase] == row[spec.columns.phase]
        known = bundle.reference.loc[same, spec.features]

    def cell(feature: str) -> str:
        beyond = row[feature] < known[feature].min() or row[feature] > known[feature].max()
        return f"{row[feature]:.4g}{'*' if beyond else ''}"

    rows = [
        [sensor.title, sensor.unit, *(cell(name) for name in spec.features_of(sensor))]
        for sensor in spec.sensors
    ]
    title = "features" + ("; * outside the range of the training rows of this phase" * bool(bundle))
    show_table(title, ["sensor", "unit", *spec.statistics], rows)


def _show_model(bundle: Bundle) -> None:
    made = bundle.origin
    libraries = ", ".join(f"{name} {version}" for name, version in made.libraries.items())
    rows = {
        "run": made.mlflow_run,
        "data": made.data_version,
        "code": made.code_version,
        "experiments": f"{len(made.experiments)} trained on",
        "libraries": libraries,
    }
    for name, value in rows.items():
        console.print(f"model {name:12s}{value}", soft_wrap=True)
