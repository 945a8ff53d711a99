"""Laboratory values of archived phases: into the database as they come, and beside predictions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Select, Table, exists, func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on

from src.components.database.tables import records, tables
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
        known = pd.read_sql(_newest(lab, spec), connection)
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


def analysed(engine: Engine, spec: SoftSensor, until: pd.Timestamp) -> pd.DataFrame:
    """Archived phases with laboratory values, as both stood at `until`.

    Returns:
        The ledger's columns of the newest prediction, laboratory values as `<target>_measured`, and
        `loaded_at`, when the first value of the phase came; oldest first.
    """
    keys, names = spec.columns.keys, spec.target_names
    lab, ledger = tables(spec).laboratory, tables(spec).archived
    archived = [ledger.c[key] for key in keys]
    newest = select(ledger).ext(distinct_on(*archived)).where(ledger.c.predicted_at <= until)
    first = select(*(lab.c[key] for key in keys), func.min(lab.c.loaded_at).label("loaded_at"))
    with engine.connect() as connection:
        values = pd.read_sql(_newest(lab, spec).where(lab.c.loaded_at <= until), connection)
        came = pd.read_sql(first.group_by(*(lab.c[key] for key in keys)), connection)
        phases = pd.read_sql(newest.order_by(*archived, ledger.c.predicted_at.desc()), connection)
    values = values[[*keys, *names]].rename(columns={name: f"{name}_measured" for name in names})
    found = phases.merge(values, on=keys).merge(came, on=keys)
    return found.sort_values("loaded_at", kind="stable", ignore_index=True)


def words(engine: Engine, spec: SoftSensor, until: pd.Timestamp, compared: int) -> str:
    """How much the laboratory can tell: phases compared, days since the last value, strays."""
    lab, ledger = tables(spec).laboratory, tables(spec).archived
    keys = [lab.c[key] == ledger.c[key] for key in spec.columns.keys]
    stray = select(func.count()).where(lab.c.loaded_at <= until, ~exists().where(*keys))
    with engine.connect() as connection:
        last = connection.scalar(select(func.max(lab.c.loaded_at)).where(lab.c.loaded_at <= until))
        strays = connection.scalar(stray)
    if last is None:
        return (
            "No laboratory values have come: a change of the process that the sensors do not show "
            "cannot be seen. Load them with `impress load FILE --laboratory`."
        )
    days = (until - pd.Timestamp(last)).days
    said = (
        f"{compared} analysed phases were compared; the last laboratory value came {days} days ago."
    )
    return said + (f" {strays} values are of phases that are not archived." if strays else "")


def _newest(lab: Table, spec: SoftSensor) -> Select[Any]:
    """The laboratory values that count: of each phase those that came last."""
    keys = [lab.c[key] for key in spec.columns.keys]
    return select(lab).ext(distinct_on(*keys)).order_by(*keys, lab.c.loaded_at.desc())
