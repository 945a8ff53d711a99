"""Which phases are past their retention time, in batches of whole phases.

The plan is a temporary table of the connection that holds the inbox. A batch is a range of places
in it; the statements that remove and note its phases take their conditions from here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from src.components.inbox import raw_archive
from src.components.inbox.states import Inbox, State
from src.components.inbox.stock import (
    BATCH_NUMBER,
    FIRST_ROW,
    LAST_ROW,
    N_ROWS,
    PLACE,
    PURGE_PLAN,
    STATE,
    STOCK,
)

BATCH = 100_000  # rows

Batch = dict[str, Any]  # first, last (in the plan), n_phases, n_rows, first_row, last_row

EXPIRED = f"""
    SELECT * FROM {STOCK}
    WHERE ({STATE} = '{State.SCORED}' AND :retention = 0)
      OR ({STATE} = '{State.KEPT}' AND predicted_at <= now() - make_interval(secs => :retention))"""


def binds(inbox: Inbox) -> dict[str, float]:
    """Values for the parameters of EXPIRED."""
    return {"retention": inbox.spec.prediction.retention_days * 86400}


def create(inbox: Inbox, phases: str = EXPIRED) -> list[Batch]:
    """Put phases into the plan, in the order in which they lie in the table.

    Args:
        inbox: its connection is in a transaction.
        phases: SQL of a query that gives EXPIRED, or some of it with other columns beside.

    Returns:
        The batches that the plan is cut into.
    """
    plan = f"""
        CREATE TEMP TABLE {PURGE_PLAN} AS
        SELECT *, row_number() OVER lying AS {PLACE},
          trunc((sum({N_ROWS}) OVER lying - 1) / :size) AS {BATCH_NUMBER}
        FROM ({phases}) AS phases
        WINDOW lying AS (ORDER BY {FIRST_ROW}, {LAST_ROW} ROWS UNBOUNDED PRECEDING)"""
    inbox.connection.execute(text(f"DROP TABLE IF EXISTS pg_temp.{PURGE_PLAN}"))
    inbox.connection.execute(text(plan), {"size": BATCH, **binds(inbox)})
    return batches(inbox, by=BATCH_NUMBER)


def batches(inbox: Inbox, by: str, within: str = "true") -> list[Batch]:
    """The phases of the plan that have the same value of a column, in their order.

    Args:
        within: SQL condition: only these phases.
    """
    query = f"""
        SELECT min({PLACE}) AS first, max({PLACE}) AS last, count(*) AS n_phases,
               sum({N_ROWS})::bigint AS n_rows, min({FIRST_ROW})::text AS first_row,
               max({LAST_ROW})::text AS last_row
        FROM {PURGE_PLAN} WHERE {within} GROUP BY {by} ORDER BY {by}"""
    return [dict(row) for row in inbox.connection.execute(text(query)).mappings()]


def in_batch(batch: Batch) -> str:
    """SQL condition: a phase of the plan belongs to this batch."""
    return f"{PLACE} BETWEEN {batch['first']} AND {batch['last']}"


def same_phase(inbox: Inbox, other: str = "s") -> str:
    """SQL condition: a row t of the inbox belongs to a phase of another table."""
    keys = (f'{inbox.online.read(key, "t")} = {other}."{key}"' for key in inbox.spec.columns.keys)
    return " AND ".join(keys)


def rows(inbox: Inbox, batch: Batch) -> str:
    """SQL condition: a row t of the inbox belongs to a phase of this batch of the plan s.

    Only the block range in which they lie is read.
    """
    first, last = (f"CAST('{batch[end]}' AS tid)" for end in ("first_row", "last_row"))
    places = f"t.ctid >= {first} AND t.ctid <= {last}"
    return " AND ".join((same_phase(inbox), f"s.{in_batch(batch)}", places))


def store(inbox: Inbox, batch: Batch, archive: str) -> int:
    """Write the rows of a batch into the raw archive; returns how many rows there are."""
    return raw_archive.store(inbox, f"{PURGE_PLAN} AS s WHERE {rows(inbox, batch)}", archive)


def note(inbox: Inbox, batch: Batch, run_id: int) -> None:
    """Note in the ledger that the rows are gone, and count them in the journal."""
    archived, runs = inbox.names.archived.name, inbox.names.runs.name
    keys = " AND ".join(f't."{key}" = s."{key}"' for key in inbox.spec.columns.keys)
    gone = f"""
        UPDATE "{archived}" AS t SET purged_at = now() FROM {PURGE_PLAN} AS s
        WHERE {keys} AND s.{in_batch(batch)}"""
    inbox.connection.execute(text(gone))
    count = f"""
        UPDATE "{runs}" SET ended_at = clock_timestamp(), details = jsonb_set(
          details, '{{purged}}', to_jsonb((details->>'purged')::bigint + :n_rows))
        WHERE id = :run_id"""
    inbox.connection.execute(text(count), {"n_rows": batch["n_rows"], "run_id": run_id})
