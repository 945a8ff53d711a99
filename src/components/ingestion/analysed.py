"""Archived phases that the laboratory has analysed, as both were known at some moment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Select, and_, exists, func, select

from src.components.database.tables import (
    names_phase,
    newest_predictions,
    newest_values,
    read_rows,
    tables,
)
from src.components.transformation import censoring
from src.soft_sensor import FARTHEST_STAMP, SoftSensor

BEGINNING = pd.Timestamp(0, tz="UTC")  # nothing was archived or loaded before
ROUNDING = 1e-6  # of a sensor's range


def analysed(
    connection: Connection,
    spec: SoftSensor,
    until: pd.Timestamp,
    version: str | None = None,
    prefix: str = "",
) -> pd.DataFrame:
    """Archived phases with laboratory values, as both were known at `until`.

    Args:
        version: only predictions of this version of the model.
        prefix: of the tables.

    Returns:
        The ledger's columns of the newest prediction, laboratory values as `Target.measured`
        and `Target.censored`, and `loaded_at`, the arrival of the first value of the phase;
        oldest first.
    """
    keys = spec.columns.keys
    described = tables(spec, prefix)
    ledger, laboratory = described.archived, described.laboratory
    same_phase = and_(*(laboratory.c[key] == ledger.c[key] for key in keys))
    predictions = newest_predictions(ledger, spec).where(
        ledger.c.predicted_at <= until, exists().where(same_phase)
    )
    if version is not None:
        predictions = predictions.where(ledger.c.model_version == version)
    values = read_rows(connection, newest_values(laboratory, spec, until))
    # As another writer may leave them; `impress load` refuses or leaves out such values.
    targets = values[spec.target_names].replace([np.inf, -np.inf], np.nan)
    if spec.laboratory.missing_below is not None:
        targets = targets.mask(targets < spec.laboratory.missing_below)
    values[spec.target_names] = targets
    phase = [laboratory.c[key] for key in keys]
    loaded_at = laboratory.c.loaded_at
    arrival = select(*phase, func.min(loaded_at).label("loaded_at")).group_by(*phase)
    arrival = arrival.where(loaded_at.between(BEGINNING, until), names_phase(laboratory, spec))
    measured = censoring.means(values, spec).rename(
        columns={target.name: target.measured for target in spec.targets}
    )
    table = ledger_rows(connection, predictions)
    table = table[possible(table, spec)].merge(measured, on=keys)
    table = table.merge(read_rows(connection, arrival), on=keys)
    # The copy puts columns that came from several tables into one block of memory.
    return table.sort_values("loaded_at", kind="stable", ignore_index=True).copy()


def ledger_rows(connection: Connection, query: Select[Any]) -> pd.DataFrame:
    """Rows of the ledger, with NaN for an impossible time stamp."""
    rows = read_rows(connection, query)
    stamp = rows["last_timestamp"]
    near = (stamp - pd.Timestamp.now("UTC").timestamp()).abs() <= FARTHEST_STAMP
    return rows.assign(last_timestamp=stamp.where(near)).astype({"n_samples": "float64"})


def possible(rows: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Which rows have features that readings within the sensors' ranges can have, or none.

    Others were not computed by this params file, or another writer has left them.
    """
    found = pd.Series(True, index=rows.index)
    for sensor in spec.sensors:
        width = sensor.high - sensor.low
        for feature in spec.features_of(sensor):
            low, high = (0.0, width) if feature == sensor.spread else (sensor.low, sensor.high)
            values, margin = rows[feature], ROUNDING * width
            found &= values.between(low - margin, high + margin) | values.isna()
    return found
