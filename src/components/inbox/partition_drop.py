"""Whole partitions leave the inbox at once, when all of their phases are past their retention time.

To drop a partition costs next to nothing, whatever it holds, and leaves no dead rows. What it holds
is counted under a lock that keeps writers out of this one partition. Then the whole table is needed
for a moment: it is taken when nobody uses it, and never waited for, as writers would have to wait
behind this run, or it and a writer for each other.
"""

from __future__ import annotations

import logging
import time

from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from src.components.inbox import purge_plan
from src.components.inbox.partitions import Partitions
from src.components.inbox.purge_plan import EXPIRED, Batch
from src.components.inbox.states import Inbox
from src.components.inbox.stock import N_HERE, N_ROWS, PARTITION_PHASES, PURGE_PLAN

logger = logging.getLogger(__name__)

PARTITION_WAIT = "10s"  # for an old partition, which hardly anybody writes to
ATTEMPTS = 100  # to find the table unused
PAUSE = 0.1  # s between two of them


def drop_expired(
    inbox: Inbox, partitions: Partitions, run_id: int, archive: str | None
) -> tuple[int, list[Exception]]:
    """Drop the partitions that hold nothing but rows of expired phases.

    Args:
        inbox, run_id, archive: as for `retention.purge`.

    Returns:
        The number of rows removed, and the errors of partitions that could not be dropped. One
        that others are using stays for the next run, and is no error.
    """
    removed = 0
    failures: list[Exception] = []
    for name in partitions.ranges:
        try:
            if _holds_expired_only(inbox, name):
                removed += _drop(inbox, name, run_id, archive)
        except Exception as error:  # pylint: disable=broad-exception-caught  # the caller raises it
            if inbox.connection.invalidated:
                raise
            if _is_locked(error):
                logger.warning("%s stays for the next run: others are using the table", name)
                continue
            cause = str(error).split("\n", maxsplit=1)[0]
            logger.warning("%s stays: %s", name, cause)
            failures.append(error)
    return removed, failures


def _holds_expired_only(inbox: Inbox, name: str) -> bool:
    """Whether a partition has rows, and all of them are of expired phases.

    Of one that must stay hardly anything is read: the first row of another phase decides.
    """
    known = f"SELECT FROM ({EXPIRED}) AS s WHERE {purge_plan.same_phase(inbox)}"
    query = f"""
        SELECT EXISTS (SELECT FROM {name})
          AND NOT EXISTS (SELECT FROM {name} AS t WHERE NOT EXISTS ({known}))"""
    with inbox.connection.begin():
        # For a first row the planner would compare each row with each phase.
        inbox.connection.execute(text("SET LOCAL enable_nestloop = off"))
        return bool(inbox.connection.scalar(text(query), purge_plan.binds(inbox)))


def _drop(inbox: Inbox, name: str, run_id: int, archive: str | None) -> int:
    """Remove the phases of a partition in one transaction; returns the number of their rows."""
    connection = inbox.connection
    with connection.begin() as transaction:
        # Before the first query: its snapshot then has every row of the partition.
        connection.execute(text(f"SET LOCAL lock_timeout = '{PARTITION_WAIT}'"))
        connection.execute(text(f"LOCK TABLE {name} IN SHARE MODE"))
        # Rows that a policy hides would go uncounted; with this they are an error.
        connection.execute(text("SET LOCAL row_security = off"))
        batches = _plan(inbox, name)
        if not (batches and _is_stored(inbox, batches, archive) and _delete_straddling(inbox)):
            transaction.rollback()
            logger.warning("%s stays: its rows have changed since they were counted", name)
            return 0
        whole = _together(batches)
        purge_plan.note(inbox, whole, run_id)
        _lock(connection, inbox.names.online.name)
        connection.execute(text(f"DROP TABLE {name}"))
    logger.info("dropped %s: %d rows", name, whole["n_rows"])
    return int(whole["n_rows"])


def _is_stored(inbox: Inbox, batches: list[Batch], archive: str | None) -> bool:
    """Write the rows into the raw archive, if there is one.

    Returns:
        Whether it has them all. Rows that were moved since stock was taken are not found by their
        places, as many as there may be.
    """
    if archive is None:
        return True
    return all(purge_plan.store(inbox, batch, archive) == batch["n_rows"] for batch in batches)


def _plan(inbox: Inbox, name: str) -> list[Batch]:
    """Plan the removal of a partition's phases; no batches if one of them is not expired."""
    keys = inbox.spec.columns.keys
    own = ", ".join(f'{inbox.online.read(key, "t")} AS "{key}"' for key in keys)
    count = f"""
        CREATE TEMP TABLE {PARTITION_PHASES} ON COMMIT DROP AS
        SELECT {own}, count(*) AS {N_HERE} FROM {name} AS t GROUP BY 1, 2"""
    inbox.connection.execute(text(count))
    join = f"JOIN {PARTITION_PHASES} AS p USING ({', '.join(inbox.keys)})"
    batches = purge_plan.create(inbox, f"SELECT * FROM ({EXPIRED}) AS s {join}")
    there = inbox.connection.scalar(text(f"SELECT count(*) FROM {PARTITION_PHASES}"))
    return batches if there == sum(batch["n_phases"] for batch in batches) else []


def _together(batches: list[Batch]) -> Batch:
    """All batches of a plan as one."""
    first, last = batches[0]["first"], batches[-1]["last"]
    return {"first": first, "last": last, "n_rows": sum(batch["n_rows"] for batch in batches)}


def _delete_straddling(inbox: Inbox) -> bool:
    """Delete the rows of phases that lie in other partitions, too.

    Returns:
        Whether all rows of the plan are those that were counted when stock was taken.
    """
    straddles = f"{N_HERE} <> {N_ROWS}"
    expected = text(f"SELECT coalesce(sum({N_ROWS}), 0) FROM {PURGE_PLAN} WHERE {straddles}")
    n_rows = int(inbox.connection.scalar(expected) or 0)
    if not n_rows:
        return True
    timestamp = inbox.spec.columns.timestamp
    kind = inbox.online.columns[timestamp].type

    def bound(seconds: str) -> str:
        """A time as the column has it, so that only the partitions around it are read."""
        value = f"CAST({inbox.online.write(timestamp)} AS {kind})"
        phases = f'SELECT {seconds} AS "{timestamp}" FROM {PURGE_PLAN} WHERE {straddles}'
        return f"(SELECT {value} FROM ({phases}) AS phases)"

    first, last = bound("min(first_timestamp) - 1"), bound("max(last_timestamp) + 1")
    delete = f"""
        DELETE FROM "{inbox.names.online.name}" AS t USING {PURGE_PLAN} AS s
        WHERE {purge_plan.same_phase(inbox)} AND s.{straddles}
          AND (t."{timestamp}" BETWEEN {first} AND {last} OR t."{timestamp}" IS NULL)"""
    return inbox.connection.execute(text(delete)).rowcount == n_rows


def _lock(connection: Connection, table: str) -> None:
    """Take a table and its partitions for this transaction alone.

    Raises:
        OperationalError: when others use it whenever it is tried.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            with connection.begin_nested():
                _lock_at_once(connection, table)
            return
        except OperationalError as error:
            if not _is_locked(error):
                raise
        time.sleep(PAUSE)
    _lock_at_once(connection, table)


def _lock_at_once(connection: Connection, table: str) -> None:
    connection.execute(text(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE NOWAIT'))


def _is_locked(error: Exception) -> bool:
    """Whether PostgreSQL gave up waiting for a lock."""
    cause = error.orig if isinstance(error, OperationalError) else None
    return getattr(cause, "pgcode", None) == LOCK_NOT_AVAILABLE
