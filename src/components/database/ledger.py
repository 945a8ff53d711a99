"""The ledger: the newest prediction of each phase, and new ones."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, Table, select

from src.components.database.connection import run_copy
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


def append(connection: Connection, archived: Table, rows: pd.DataFrame, spec: SoftSensor) -> None:
    """Add rows to the ledger, in the transaction of the connection."""
    columns = ", ".join(f'"{name}"' for name in rows.columns)
    # Without this COPY would read the empty texts of these columns as NULL.
    texts = ", ".join((*(f'"{key}"' for key in spec.columns.keys), "verdict", "flags"))
    statement = f"""COPY "{archived.name}" ({columns}) FROM STDIN
        WITH (FORMAT csv, FORCE_NOT_NULL ({texts}))"""
    # With this line ending pandas quotes names that contain a carriage return, as COPY needs.
    lines = io.StringIO(rows.to_csv(index=False, header=False, lineterminator="\r\n"))
    run_copy(connection, statement, lines)
