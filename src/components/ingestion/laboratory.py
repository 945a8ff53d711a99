"""Laboratory values of archived phases, into the database as they arrive."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine, insert, select

from src.components.database.tables import newest_values, records, tables
from src.components.ingestion import data_set
from src.components.transformation.training_table import phase_means
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)


def load(engine: Engine, spec: SoftSensor, file: Path) -> dict[str, int]:
    """Insert the values of a laboratory file that the database does not have yet.

    A corrected value is inserted beside the old one and counts from then on. So a file that grows
    can be loaded again and again.

    Returns:
        How many phases are `new`, `corrected` and `known`, and how many of them are `unknown` to
        the ledger.

    Raises:
        DataError: when the file lacks a column, or holds text where a number belongs.
    """
    keys = spec.columns.keys
    described = tables(spec)
    ledger_keys = [described.archived.c[key] for key in keys]
    values = phase_means(data_set.read_laboratory(file, spec), spec)
    values = values.dropna(subset=spec.target_names, how="all")
    with engine.begin() as connection:
        before = pd.read_sql(newest_values(described.laboratory, spec), connection)
        new, corrected = _compare(values, before, spec)
        rows = values[new | corrected]
        if not rows.empty:
            connection.execute(insert(described.laboratory), records(rows))
        archived = pd.read_sql(select(*ledger_keys).distinct(), connection)
    not_archived = _without_match(values[keys], archived)
    if not not_archived.empty:
        experiments = not_archived[spec.columns.experiment].astype(str).unique()
        logger.warning(
            "%s: %d phases are not archived (experiments %s); their values wait for a prediction",
            file,
            len(not_archived),
            ", ".join(experiments[:5]),
        )
    return {
        "new": int(new.sum()),
        "corrected": int(corrected.sum()),
        "known": len(values) - len(rows),
        "unknown": len(not_archived),
    }


def _compare(
    values: pd.DataFrame, before: pd.DataFrame, spec: SoftSensor
) -> tuple[pd.Series, pd.Series]:
    """Which phases are new, and which have other values than before; two missing ones are equal."""
    keys, names = spec.columns.keys, spec.target_names
    both = values[keys].merge(before, on=keys, how="left", indicator=True)
    both.index = values.index
    new = both["_merge"] == "left_only"
    same = (both[names] == values[names]) | (both[names].isna() & values[names].isna())
    return new, ~new & ~same.all(axis=1)


def _without_match(keys: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of `keys` that are not among `others`."""
    both = keys.merge(others, on=list(keys), how="left", indicator=True)
    return both[both["_merge"] == "left_only"]
