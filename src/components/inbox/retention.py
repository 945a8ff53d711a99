"""Raw rows leave the inbox when the prediction made from them is old enough.

They go in batches, each a transaction of its own that removes whole phases and notes it in the
ledger: no lock is held for long, and a kill leaves no phase half removed.
"""

from __future__ import annotations

import logging
from collections import deque

from sqlalchemy import text

from src.components.inbox import partition_drop, partitions, purge_plan
from src.components.inbox.purge_plan import EXPIRED, Batch
from src.components.inbox.states import Inbox
from src.components.inbox.stock import PLACE, PURGE_PLAN

logger = logging.getLogger(__name__)

PATIENCE = 5  # phases in a row that may fail before it is clear that the fault is not theirs


def purge(inbox: Inbox, run_id: int, archive: str | None) -> int:
    """Remove rows whose prediction is older than the retention time.

    With `prediction.retention: partitions` rows stay until their whole partition may go; those
    that lie in none are removed as in a table without partitions.

    Args:
        inbox: has taken stock (`transaction.Run.take_stock`) and committed.
        run_id: the line of the journal that counts what was removed.
        archive: where the rows are written first, see `raw_archive.store`.

    Returns:
        The number of rows removed. A batch or partition whose rows are no longer those that were
        counted stays for the next run.

    Raises:
        Exception: the first one, after everything without a fault was removed. Phases are tried
            one by one when their batch has failed, until PATIENCE of them fail in a row.
    """
    removed, phases = 0, EXPIRED
    failures: list[Exception] = []
    if inbox.spec.prediction.retention == "partitions" and (found := _partitions(inbox)):
        removed, failures = partition_drop.drop_expired(inbox, found, run_id, archive)
        phases = partitions.of_no_range(inbox, found)
    deleted, others = _delete_phases(inbox, phases, run_id, archive)
    if failures := [*failures, *others]:
        raise failures[0]
    return removed + deleted


def _partitions(inbox: Inbox) -> partitions.Partitions | None:
    with inbox.connection.begin():
        found = partitions.find(inbox)
    if found is None:
        logger.warning("%s: %s", inbox.names.online.name, partitions.NONE)
    return found


def _delete_phases(
    inbox: Inbox, phases: str, run_id: int, archive: str | None
) -> tuple[int, list[Exception]]:
    """Delete the rows of phases; returns their number, and the errors of phases that stay."""
    removed, in_a_row = 0, 0
    failures: list[Exception] = []
    batches = deque(_plan(inbox, phases))
    while batches and in_a_row < PATIENCE:
        batch = batches.popleft()
        try:
            removed += _purge(inbox, batch, run_id, archive)
            in_a_row = 0
        except Exception as error:  # pylint: disable=broad-exception-caught  # raised by `purge`
            if inbox.connection.invalidated:
                raise
            if batch["n_phases"] > 1:
                batches.extendleft(reversed(_one_by_one(inbox, batch)))
                continue
            cause = str(error).split("\n", maxsplit=1)[0]
            logger.warning("%d rows of a phase stay: %s", batch["n_rows"], cause)
            failures.append(error)
            in_a_row += 1
    return removed, failures


def _plan(inbox: Inbox, phases: str) -> list[Batch]:
    with inbox.connection.begin():
        return purge_plan.create(inbox, phases)


def _one_by_one(inbox: Inbox, batch: Batch) -> list[Batch]:
    """Each phase of a batch as a batch of its own."""
    with inbox.connection.begin():
        return purge_plan.batches(inbox, by=PLACE, within=purge_plan.in_batch(batch))


def _purge(inbox: Inbox, batch: Batch, run_id: int, archive: str | None) -> int:
    """Remove the rows of a batch in one transaction; returns their number."""
    with inbox.connection.begin() as transaction:
        if archive:
            purge_plan.store(inbox, batch, archive)
        if _remove(inbox, batch) != batch["n_rows"]:
            transaction.rollback()
            logger.warning(
                "%d rows stay: they have changed since they were counted", batch["n_rows"]
            )
            return 0
        purge_plan.note(inbox, batch, run_id)
    return int(batch["n_rows"])


def _remove(inbox: Inbox, batch: Batch) -> int:
    if inbox.online.is_foreign:
        return _remove_phase_by_phase(inbox, batch)
    delete = f'DELETE FROM "{inbox.names.online.name}" AS t USING {PURGE_PLAN} AS s'
    condition = purge_plan.rows(inbox, batch)
    return int(inbox.connection.execute(text(f"{delete} WHERE {condition}")).rowcount)


def _remove_phase_by_phase(inbox: Inbox, batch: Batch) -> int:
    """Remove rows of a foreign table, see `Inbox.same_phase`."""
    experiment, phase = inbox.keys
    phases = text(f"""
        SELECT {experiment} AS experiment, {phase} AS phase FROM {PURGE_PLAN}
        WHERE {purge_plan.in_batch(batch)}""")
    delete = text(f'DELETE FROM "{inbox.names.online.name}" AS t WHERE {inbox.same_phase()}')
    before, removed = inbox.count(), 0
    for each in inbox.connection.execute(phases).mappings().all():
        removed += inbox.connection.execute(delete, dict(each)).rowcount
    inbox.require_removed(removed, before)
    return removed
