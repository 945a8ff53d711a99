"""The state of every phase in the inbox.

The ledger (`archived_data`) decides what is due, so running again is always safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, text

from src.components.database.tables import NEWEST_FIRST, Tables, tables
from src.components.inbox.stock import FIRST_ROW, LAST_ROW, N_ROWS, SCORED_FROM, STATE
from src.components.predictor.reasons import Reason
from src.components.predictor.scoring import CLOCK_AHEAD
from src.components.transformation.features import valid_rows
from src.soft_sensor import SoftSensor

CLOCK_TOLERANCE = 300  # s that a rig's clock may be ahead of the server's


class State(StrEnum):
    """What becomes of a phase whose rows stay in the inbox; a `Reason` takes them out of it.

    Rows in any other state stay where they are, and the run warns about them.
    """

    DUE = "due"  # to be scored by this run
    SCORED = "scored"  # by this run
    KEPT = "kept"  # scored by an earlier run from the same rows, until their retention time is over
    WAITING = "waiting"  # too recent to be complete


@dataclass(frozen=True)
class Window:
    """Phases whose newest row is stamped in [since, until), Unix seconds, are scored again."""

    since: float
    until: float


@dataclass(frozen=True)
class Inbox:
    """The inbox of one soft sensor as one connection sees it."""

    connection: Connection
    spec: SoftSensor
    prefix: str = ""

    @cached_property
    def names(self) -> Tables:
        """The tables it works on."""
        return tables(self.spec, self.prefix)

    @property
    def keys(self) -> tuple[str, str]:
        """The key columns, quoted for SQL: experiment and phase."""
        columns = self.spec.columns
        return f'"{columns.experiment}"', f'"{columns.phase}"'

    def states(self) -> str:
        """SQL that gives every phase of the inbox its state.

        Returns:
            Text of a query over the keys; N_ROWS and n_samples (all and valid ones);
            last_timestamp; arrived_at (of its newest row); CLOCK_AHEAD (whether that row is stamped
            later than it arrived); FIRST_ROW and LAST_ROW (where they lie in the table);
            predicted_at and SCORED_FROM (its valid rows) of the newest prediction; and STATE. Binds
            what `binds` gives.
        """
        experiment, phase = self.keys
        timestamp = f'"{self.spec.columns.timestamp}"'
        return f"""
        WITH inbox AS (
          SELECT {experiment}, {phase}, count(*) AS {N_ROWS},
                 count(*) FILTER (WHERE {valid_rows(self.spec)}) AS n_samples,
                 max({timestamp}) AS last_timestamp, max(arrived_at) AS arrived_at,
                 min(ctid) AS {FIRST_ROW}, max(ctid) AS {LAST_ROW}
          FROM "{self.names.online.name}" GROUP BY {experiment}, {phase}
        )
        SELECT inbox.*, ledger.predicted_at, ledger.n_samples AS {SCORED_FROM},
          last_timestamp > extract(epoch FROM arrived_at) + {CLOCK_TOLERANCE} AS {CLOCK_AHEAD},
          CASE
            WHEN {experiment} IS NULL THEN '{Reason.NO_EXPERIMENT}'
            WHEN {phase} IS NULL OR {phase} <> ALL(:phases) THEN '{Reason.UNKNOWN_PHASE}'
            WHEN ledger.purged_at IS NOT NULL THEN '{Reason.LATE_AFTER_PURGE}'
            WHEN last_timestamp > extract(epoch FROM now()) - :settle
              AND arrived_at > now() - make_interval(secs => :clock_limit) THEN '{State.WAITING}'
            WHEN inbox.n_samples = 0 THEN '{Reason.NO_VALID_ROWS}'
            -- With any other number of rows, late ones have come: the phase is due again.
            WHEN ledger.n_samples = inbox.n_samples
              AND (coalesce(last_timestamp, '-Infinity') >= :since
                AND (last_timestamp < :until OR :until = 'Infinity')) IS NOT TRUE
              THEN '{State.KEPT}'
            ELSE '{State.DUE}'
          END AS {STATE}
        FROM inbox LEFT JOIN LATERAL (
          SELECT n_samples, predicted_at, purged_at FROM "{self.names.archived.name}" AS a
          WHERE a.{experiment} = inbox.{experiment} AND a.{phase} = inbox.{phase}
          ORDER BY {NEWEST_FIRST} LIMIT 1
        ) AS ledger ON true"""

    def binds(self, rescore: Window | None = None) -> dict[str, Any]:
        """Values for the parameters of `states`."""
        rules = self.spec.prediction
        return {
            "phases": [phase.value for phase in self.spec.phases],
            "settle": rules.settle_minutes * 60,
            "clock_limit": rules.clock_limit_hours * 3600,
            "since": rescore.since if rescore else None,
            "until": rescore.until if rescore else None,
        }

    def counts(self) -> dict[str, int]:
        """Rows of the inbox by state, of the rejected table, and of the ledger."""
        query = f"""
            SELECT {STATE}, sum({N_ROWS})::bigint FROM ({self.states()}) AS s GROUP BY {STATE}"""
        counts = {state: int(n) for state, n in self.connection.execute(text(query), self.binds())}
        counts["rejected"] = self._count(self.names.rejected.name)
        counts["predictions"] = self._count(self.names.archived.name)
        return counts

    def _count(self, table: str) -> int:
        return int(self.connection.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0)

    def doubtful_clocks(self, count: int = 10) -> list[dict[str, Any]]:
        """Phases in the inbox whose newest row is stamped later than it arrived, newest first."""
        query = f"""
            SELECT * FROM ({self.states()}) AS s WHERE {CLOCK_AHEAD}
            ORDER BY {STATE} = '{State.WAITING}' DESC, arrived_at DESC LIMIT {count}"""
        return [dict(row) for row in self.connection.execute(text(query), self.binds()).mappings()]
