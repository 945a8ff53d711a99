"""Laboratory values into the database as they come, and beside the predictions of their phases."""

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
        before = pd.read_sql(_newest(described.laboratory, spec), connection)
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
