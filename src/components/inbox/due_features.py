"""Features of the due phases, computed on several connections that share one snapshot.

PostgreSQL computes the percentiles of a query on one core; a second connection uses a second one.
While the connections compute, the caller is free, first to fetch the model, then to score the
batches that are ready.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import Connection, Engine, text

from src.components.database.existing import sql_type
from src.components.database.tables import Tables
from src.components.inbox.states import Inbox, State
from src.components.inbox.stock import (
    DUE_PHASES,
    DUE_ROWS,
    FIRST_ROW,
    LAST_ROW,
    SHARE,
    STATE,
    STOCK,
)
from src.components.predictor.scoring import CLOCK_AHEAD
from src.components.transformation.features import features_query, typed_features
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

AHEAD = 8  # batches, at most, that wait for the model

# Batches; at the end of each connection None, or the error that ended it.
Batches = Queue["pd.DataFrame | BaseException | None"]
Share = dict[str, Any]  # experiments, phases, clocks, first_row, last_row, since, until


@contextmanager
def due_features(engine: Engine, inbox: Inbox) -> Iterator[Iterator[pd.DataFrame]]:
    """Start to compute the features of the due phases; yields the batches as they are ready.

    Args:
        inbox: its connection is in the transaction whose snapshot is shared, and has taken stock
            (`transaction.Run.take_stock`).

    Returns:
        Batches of what `features_query` gives, with a column CLOCK_AHEAD.
    """
    snapshot = inbox.connection.scalar(text("SELECT pg_export_snapshot()"))
    shares = _shares(inbox)
    batches: Batches = Queue(maxsize=AHEAD + len(shares))
    with ExitStack() as stack:
        connections = [stack.enter_context(engine.connect()) for _ in shares]
        readers = [_reader(connection, inbox, batches) for connection in connections]
        pool = stack.enter_context(ThreadPoolExecutor(len(shares)))
        reading = [
            pool.submit(reader.read, snapshot, share) for reader, share in zip(readers, shares)
        ]
        try:
            yield _until_all_have_ended(batches, len(shares))
        except BaseException:
            for reader in readers:
                reader.stop()
            while not all(future.done() for future in reading):
                with suppress(Empty):  # a reader may be waiting for room in the queue
                    batches.get(timeout=0.05)
            raise


def _shares(inbox: Inbox) -> list[Share]:
    """The due phases as they lie in the table, cut into one part for each connection."""
    experiment, phase = inbox.keys
    query = f"""
        SELECT array_agg({experiment}) AS experiments, array_agg({phase}) AS phases,
               array_agg({CLOCK_AHEAD}) AS clocks,
               min({FIRST_ROW})::text AS first_row, max({LAST_ROW})::text AS last_row,
               min(first_timestamp) AS since, max(last_timestamp) AS until
        FROM (SELECT *, ntile(:count) OVER (ORDER BY {FIRST_ROW}) AS {SHARE} FROM {STOCK}
              WHERE {STATE} = :due) AS due
        GROUP BY {SHARE}"""
    binds = {"count": inbox.spec.prediction.connections, "due": State.DUE}
    return [dict(row) for row in inbox.connection.execute(text(query), binds).mappings()]


def _until_all_have_ended(batches: Batches, readers: int) -> Iterator[pd.DataFrame]:
    while readers:
        item = batches.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            readers -= 1
        else:
            yield item


@dataclass(frozen=True)
class _Reader:
    """A connection that reads a share of the due phases."""

    connection: Connection
    spec: SoftSensor
    names: Tables
    rows: str  # SQL, see `_due_rows`
    batches: Batches
    raw: Any  # psycopg2's connection, which another thread may cancel
    stopped: Event = field(default_factory=Event)

    def read(self, snapshot: str, share: Share) -> None:
        """Put the features of a share into the queue, batch by batch, then how it ended."""
        end = None
        try:
            for batch in self._stream(snapshot, share):
                if self.stopped.is_set():
                    return
                self.batches.put(batch)
        except BaseException as error:  # pylint: disable=broad-exception-caught  # raised there
            end = error
        finally:
            self.batches.put(end)

    def _stream(self, snapshot: str, share: Share) -> Iterator[pd.DataFrame]:
        self.connection.execution_options(isolation_level="REPEATABLE READ")
        self.connection.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
        # It may be idle while the model is fetched.
        self.connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        self._view_due_rows(share)
        keys = ", ".join(f'"{key}"' for key in self.spec.columns.keys)
        query = f"""
            SELECT * FROM ({features_query(self.spec, DUE_ROWS)}) AS features
            JOIN {DUE_PHASES} USING ({keys})"""
        size = self.spec.prediction.batch
        rows = self.connection.execute(text(query), execution_options={"yield_per": size})
        names = list(rows.keys())
        for batch in rows.partitions(size):
            # Here and not before: PostgreSQL is at work while Python reads its modules.
            import pandas as pd

            frame = pd.DataFrame(map(tuple, batch), columns=names)
            yield typed_features(frame, self.spec)

    def _view_due_rows(self, share: Share) -> None:
        """A view of the share's rows, so that the features query stays as it is."""
        experiment, phase = self.spec.columns.keys
        kinds = [sql_type(self.names.online.c[key]) for key in (experiment, phase)]
        create = f"""
            CREATE TEMP TABLE {DUE_PHASES} ON COMMIT DROP AS
            SELECT * FROM unnest(
              CAST(:experiments AS {kinds[0]}[]), CAST(:phases AS {kinds[1]}[]),
              CAST(:clocks AS boolean[])
            ) AS due ("{experiment}", "{phase}", {CLOCK_AHEAD})"""
        self.connection.execute(text(create), share)
        self.connection.execute(text(f"ANALYZE {DUE_PHASES}"))
        self.connection.execute(text(f"CREATE TEMP VIEW {DUE_ROWS} AS {self.rows}"), share)

    def stop(self) -> None:
        """End what this connection is doing, when the caller wants no more of it."""
        self.stopped.set()
        with suppress(psycopg2.Error):  # a server that is gone has already ended it
            self.raw.cancel()


def _due_rows(inbox: Inbox) -> str:
    """SQL of the rows of a share.

    Only the block range in which they lie is read; of a partitioned table, that range of each
    partition that may have rows of their time.
    """
    columns = ", ".join(f'online."{name}"' for name in inbox.spec.required_columns)
    rows = f"""
        SELECT {columns} FROM ({inbox.rows()}) AS online
        JOIN {DUE_PHASES} USING ({", ".join(inbox.keys)})
        WHERE online.ctid BETWEEN CAST(:first_row AS tid) AND CAST(:last_row AS tid)"""
    if not inbox.online.is_partitioned:
        return rows
    timestamp = f'online."{inbox.spec.columns.timestamp}"'
    return f"{rows} AND ({timestamp} BETWEEN :since AND :until OR {timestamp} IS NULL)"


def _reader(connection: Connection, inbox: Inbox, batches: Batches) -> _Reader:
    raw = connection.connection.driver_connection
    return _Reader(connection, inbox.spec, inbox.names, _due_rows(inbox), batches, raw)
