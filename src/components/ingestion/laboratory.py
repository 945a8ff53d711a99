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
    """Put the values of a laboratory file into the database; what is known already stays as it is.

    A value that was corrected is kept beside the old one, and counts from now on. So a file that
    grows can be loaded again and again.

    Returns:
        How many phases are `new`, `corrected` and `known`, and how many of the file are `unknown`
        to the ledger.

    Raises:
        DataError: when the file lacks a column, or holds text where a number belongs.
    """
    keys, lab, ledger = spec.columns.keys, tables(spec).laboratory, tables(spec).archived
    values = phase_means(data_set.read_laboratory(file, spec), spec)
    values = values.dropna(subset=spec.target_names, how="all")
    with engine.begin() as connection:
        known = pd.read_sql(newest_values(lab, spec), connection)
        both = values.merge(known, on=keys, how="left", suffixes=("", "_known"), indicator=True)
        fresh = both["_merge"] == "left_only"
        before = both[[f"{name}_known" for name in spec.target_names]]
        same = before.set_axis(spec.target_names, axis=1).eq(both[spec.target_names])
        missing = before.isna().to_numpy() & both[spec.target_names].isna()
        corrected = ~fresh & ~(same | missing).all(axis=1)
        rows = both.loc[fresh | corrected, [*keys, *spec.target_names]]
        if len(rows):
            connection.execute(insert(lab), records(rows))
        archived = pd.read_sql(select(*(ledger.c[key] for key in keys)).distinct(), connection)
    strangers = values[keys].merge(archived, on=keys, how="left", indicator=True)
    strangers = strangers[strangers["_merge"] == "left_only"]
    counts = {"new": int(fresh.sum()), "corrected": int(corrected.sum())}
    counts |= {"known": len(both) - sum(counts.values()), "unknown": len(strangers)}
    if len(strangers):
        some = ", ".join(strangers[spec.columns.experiment].astype(str).unique()[:5])
        logger.warning(
            "%d phases of %s are not archived (experiments %s): their values wait for a prediction",
            len(strangers),
            file,
            some,
        )
    return counts
