"""Which laboratory values count: those of phases that the Production version predicted soundly."""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Engine, func, select

from src.components.adaptation.replay import (
    State,
    errors,
    replay,
    usual_errors,
    with_predicted,
)
from src.components.ingestion.analysed import analysed
from src.components.ingestion.faulty_phases import is_faulty
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import Correction
from src.components.predictor.flags import DOUBTFUL, has_flag
from src.components.predictor.scoring import Served
from src.soft_sensor import SoftSensor


def correction(
    engine: Engine, model: Served, spec: SoftSensor, prefix: str = ""
) -> Correction | None:
    """What the laboratory values known now change; None with `adaptation: off`.

    Raises:
        BundleRefused: when the model was trained for another params file.
    """
    if spec.adaptation == "off":
        return None
    return state(engine, model, spec, prefix=prefix).correction(spec)


def state(
    engine: Engine,
    model: Served,
    spec: SoftSensor,
    as_of: pd.Timestamp | None = None,
    prefix: str = "",
) -> State:
    """The state of adaptation, by default as of now.

    Raises:
        BundleRefused: when the model was trained for another params file.
    """
    moment, rows = analysed_phases(engine, model, spec, as_of, prefix)
    return replay(known_errors(rows, spec), usual_errors(model.bundle, spec), spec, moment)


def analysed_phases(
    engine: Engine,
    model: Served,
    spec: SoftSensor,
    as_of: pd.Timestamp | None = None,
    prefix: str = "",
) -> tuple[pd.Timestamp, pd.DataFrame]:
    """The analysed phases that count at a moment, by default now; and that moment.

    Those in which monitor had found a sensor at fault do not count.

    Returns:
        See `analysed`.

    Raises:
        BundleRefused: when the model was trained for another params file.
    """
    model.bundle.check_contract(spec)
    with engine.connect() as connection:
        now = pd.Timestamp(connection.execute(select(func.now())).scalar_one())
        moment = now if as_of is None else as_of
        rows = analysed(connection, spec, moment, model.version, prefix)
    rows = rows[counts(rows, model.bundle, spec)]
    rows = rows[~is_faulty(rows, engine, spec, moment)]
    return moment, rows.reset_index(drop=True)


def counts(rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor) -> pd.Series:
    """Which analysed phases show how wrong a model is: not those that it was trained on.

    Nor those whose features are doubtful.

    Args:
        rows: see `analysed`.
    """
    keys = spec.columns.keys
    trained = pd.MultiIndex.from_frame(bundle.reference[keys])
    sound = ~pd.MultiIndex.from_frame(rows[keys]).isin(trained) & rows["last_timestamp"].notna()
    for flag in DOUBTFUL:
        sound &= ~has_flag(rows["flags"], flag)
    return pd.Series(sound, index=rows.index)


def known_errors(rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What `replay` needs to know of analysed phases: the errors of the model alone.

    Rows that are older than the columns of the correction have the model alone in the target's.
    """
    alone = pd.DataFrame(
        {target.name: rows[target.alone].fillna(rows[target.name]) for target in spec.targets}
    )
    off = with_predicted(errors(alone, rows, spec), alone, spec)
    return rows[[*spec.columns.keys, "last_timestamp"]].join(off)
