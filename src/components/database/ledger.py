"""Reading the ledger: the newest prediction of each phase."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select

from src.components.database.schema import require_fit
from src.components.database.tables import newest_predictions, read_rows, tables
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd


def newest(
    engine: Engine,
    spec: SoftSensor,
    since: float,
    until: float,
    verdicts: Collection[str] | None = None,
) -> pd.DataFrame:
    """The newest prediction of each phase that ended in [since, until), in the order of the ends.

    Args:
        since, until: Unix seconds, of the rig's clock.
        verdicts: only these, by default all.

    Returns:
        Rows of the ledger.

    Raises:
        DataError: when the ledger cannot be used as it is.
    """
    archived = tables(spec).archived
    ledger = newest_predictions(archived, spec).subquery()
    query = select(ledger).where(ledger.c.last_timestamp >= since, ledger.c.last_timestamp < until)
    if verdicts is not None:
        query = query.where(ledger.c.verdict.in_(verdicts))
    order = ledger.c.last_timestamp, *(ledger.c[key] for key in spec.columns.keys)
    with engine.connect() as connection:
        require_fit(connection, [archived])
        return read_rows(connection, query.order_by(*order))
