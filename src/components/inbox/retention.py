"""Raw rows leave the inbox when the prediction made from them is old enough.

They go in batches, each a transaction of its own that removes whole phases and notes it in the
ledger: no lock is held for long, and a kill leaves no phase half removed.
"""

from __future__ import annotations

import logging
from collections import deque
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

logger = logging.getLogger(__name__)

BATCH = 100_000  # rows
PATIENCE = 5  # phases in a row that may fail before it is clear that the fault is not theirs

Batch = dict[str, Any]  # first, last (in the plan), n_phases, n_rows, first_row, last_row


def purge(inbox: Inbox, run_id: int, archive: str | None) -> int:
    """Remove rows whose prediction is older than the retention time.

    Args:
        inbox: has taken stock (`transaction.Run.take_stock`) and committed.
        run_id: the line of the journal that counts what was removed.
        archive: where the rows are written first, see `raw_archive.store`.

    Returns:
        The number of rows removed. A batch whose rows are no longer those that were counted stays
        for the next run.

    Raises:
        Exception: the first one, after all phases without a fault were removed. Phases are tried
            one by one when their batch has failed, until PATIENCE of them fail in a row.
    """
    removed = 0
    failures: list[Exception] = []
    in_a_row = 0
    batches = deque(_plan(inbox))
    while batches and in_a_row < PATIENCE:
        batch = batches.popleft()
        try:
            removed += _purge(inbox, batch, run_id, archive)
            in_a_row = 0
        except Exception as error:  # pylint: disable=broad-exception-caught  # raised below
            if inbox.connection.invalidated:
                raise
            if batch["n_phases"] > 1:
                batches.extendleft(reversed(_one_by_one(inbox, batch)))
                continue
            cause = str(error).split("\n", maxsplit=1)[0]
            logger.warning("%d rows of a phase stay: %s", batch["n_rows"], cause)
            failures.append(error)
            in_a_row += 1
    if failures:
        raise failures[0]
    return removed


def _purge(inbox: Inbox, batch: Batch, run_id: int, archive: str | None) -> int:
    """Remove the rows of a batch in one transaction; returns their number."""
    with inbox.connection.begin() as transaction:
        if archive:
            raw_archive.store(inbox, f"{PURGE_PLAN} AS s WHERE {_rows(inbox, batch)}", archive)
        if _remove(inbox, batch) != batch["n_rows"]:
            transaction.rollback()
            logger.warning(
                "%d rows stay: they have changed since they were counted", batch["n_rows"]
            )
            return 0
        _note(inbox, batch, run_id)
    return int(batch["n_rows"])


def _plan(inbox: Inbox) -> list[Batch]:
    """Expired phases in the order in which they lie in the table, cut into batches."""
    retention = inbox.spec.prediction.retention_days * 86400
    plan = f"""
        CREATE TEMP TABLE {PURGE_PLAN} AS
        SELECT *, row_number() OVER lying AS {PLACE},
          trunc((sum({N_ROWS}) OVER lying - 1) / :size) AS {BATCH_NUMBER}
        FROM {STOCK}
        WHERE ({STATE} = '{State.SCORED}' AND :retention = 0)
          OR ({STATE} = '{State.KEPT}'
              AND predicted_at <= now() - make_interval(secs => :retention))
        WINDOW lying AS (ORDER BY {FIRST_ROW}, {LAST_ROW} ROWS UNBOUNDED PRECEDING)"""
    with inbox.connection.begin():
        inbox.connection.execute(text(plan), {"size": BATCH, "retention": retention})
        return _batches(inbox, by=BATCH_NUMBER)


def _batches(inbox: Inbox, by: str, within: str = "true") -> list[Batch]:
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


def _one_by_one(inbox: Inbox, batch: Batch) -> list[Batch]:
    """Each phase of a batch as a batch of its own."""
    with inbox.connection.begin():
        return _batches(inbox, by=PLACE, within=_in_batch(batch))


def _in_batch(batch: Batch) -> str:
    """SQL condition: a phase of the plan belongs to this batch."""
    return f"{PLACE} BETWEEN {batch['first']} AND {batch['last']}"


def _rows(inbox: Inbox, batch: Batch) -> str:
    """SQL condition: a row t of the inbox belongs to a phase of this batch of the plan s.

    Only the block range in which they lie is read.
    """
    keys = [f'{inbox.online.read(key, "t")} = s."{key}"' for key in inbox.spec.columns.keys]
    first, last = (f"CAST('{batch[end]}' AS tid)" for end in ("first_row", "last_row"))
    places = f"t.ctid >= {first} AND t.ctid <= {last}"
    return " AND ".join((*keys, f"s.{_in_batch(batch)}", places))


def _remove(inbox: Inbox, batch: Batch) -> int:
    if inbox.online.is_foreign:
        return _remove_phase_by_phase(inbox, batch)
    delete = f'DELETE FROM "{inbox.names.online.name}" AS t USING {PURGE_PLAN} AS s'
    return int(inbox.connection.execute(text(f"{delete} WHERE {_rows(inbox, batch)}")).rowcount)


def _remove_phase_by_phase(inbox: Inbox, batch: Batch) -> int:
    """Remove rows of a foreign table, see `Inbox.same_phase`."""
    experiment, phase = inbox.keys
    phases = text(f"""
        SELECT {experiment} AS experiment, {phase} AS phase FROM {PURGE_PLAN}
        WHERE {_in_batch(batch)}""")
    delete = text(f'DELETE FROM "{inbox.names.online.name}" AS t WHERE {inbox.same_phase()}')
    before, removed = inbox.count(), 0
    for each in inbox.connection.execute(phases).mappings().all():
        removed += inbox.connection.execute(delete, dict(each)).rowcount
    inbox.require_removed(removed, before)
    return removed


def _note(inbox: Inbox, batch: Batch, run_id: int) -> None:
    """Note in the ledger that the rows are gone, and count them in the journal."""
    archived, runs = inbox.names.archived.name, inbox.names.runs.name
    same_phase = " AND ".join(f't."{key}" = s."{key}"' for key in inbox.spec.columns.keys)
    gone = f"""
        UPDATE "{archived}" AS t SET purged_at = now() FROM {PURGE_PLAN} AS s
        WHERE {same_phase} AND s.{_in_batch(batch)}"""
    inbox.connection.execute(text(gone))
    count = f"""
        UPDATE "{runs}" SET ended_at = clock_timestamp(), details = jsonb_set(
          details, '{{purged}}', to_jsonb((details->>'purged')::bigint + :n_rows))
        WHERE id = :run_id"""
    inbox.connection.execute(text(count), {"n_rows": batch["n_rows"], "run_id": run_id})
