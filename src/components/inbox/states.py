"""The state of every phase in the inbox.

The ledger (`archived_data`) decides what is due, so running again is always safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, text

from src.components.database.existing import Existing, sql_type
from src.components.database.schema import require_fit
from src.components.database.tables import NEWEST_FIRST, Tables, tables
from src.components.inbox.stock import (
    FIRST_ROW,
    LAST_ROW,
    N_ROWS,
    OVERFLOWS,
    SCORED_FROM,
    STATE,
)
from src.components.predictor.reasons import Reason
from src.components.predictor.scoring import CLOCK_AHEAD
from src.components.transformation.features import valid_rows
from src.errors import DataError
from src.soft_sensor import FARTHEST_STAMP, KEY_BYTES, SoftSensor

CLOCK_TOLERANCE = 300  # s that a rig's clock may be ahead of the server's
LARGEST_READING = 1e150  # PostgreSQL ends a query in which a sum of squares overflows


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

    @cached_property
    def _existing(self) -> dict[str, Existing]:
        """The tables as they are, by name.

        Raises:
            DataError: when one of them cannot be used as it is.
        """
        used = (self.names.online, self.names.archived, self.names.rejected)
        found = require_fit(self.connection, used)
        return {existing.table.name: existing for existing in found}

    @property
    def online(self) -> Existing:
        """The inbox as it is."""
        return self._existing[self.names.online.name]

    @property
    def rejected(self) -> Existing:
        """The rejected rows as they are."""
        return self._existing[self.names.rejected.name]

    def rows(self) -> str:
        """SQL that gives the rows of the inbox as params.yaml means them.

        Returns:
            Text of a query over `required_columns` in their declared types, arrived_at, and ctid,
            the place of a row in its table or partition.
        """
        columns = [f'{self.online.read(name)} AS "{name}"' for name in self.spec.required_columns]
        return f"""
          SELECT {", ".join(columns)},
                 CAST(arrived_at AS timestamp with time zone) AS arrived_at, ctid
          FROM "{self.names.online.name}\""""

    @property
    def keys(self) -> tuple[str, str]:
        """The key columns, quoted for SQL: experiment and phase."""
        columns = self.spec.columns
        return f'"{columns.experiment}"', f'"{columns.phase}"'

    def same_phase(self) -> str:
        """SQL condition: a row t of the inbox has the keys :experiment and :phase.

        For a foreign table: a join would make postgres_fdw delete by ctid, which on a server where
        the table is partitioned means a row of each partition. This condition goes there as it is.
        """
        own = []
        for key, bind in zip(self.spec.columns.keys, ("experiment", "phase")):
            value = f"CAST(:{bind} AS {sql_type(self.names.online.c[key])})"
            own.append(f"{self.online.read(key, 't')} IS NOT DISTINCT FROM {value}")
        return " AND ".join(own)

    def count(self) -> int:
        """The number of its rows."""
        return self._count(self.names.online.name)

    def require_removed(self, removed: int, before: int) -> None:
        """Refuse that more rows are gone than were asked for, see `same_phase`.

        Raises:
            DataError: which must end the transaction.
        """
        gone = before - self.count()
        if gone != removed:
            raise DataError(
                f"{self.names.online.name} is a foreign table, and {gone} of its rows went when "
                f"{removed} were removed: drop its triggers here, or let it name a table that is "
                "not partitioned; nothing was removed"
            )

    def states(self) -> str:
        """SQL that gives every phase of the inbox its state.

        Returns:
            Text of a query over the keys; N_ROWS and n_samples (all and valid ones);
            first_timestamp and last_timestamp; arrived_at (of its newest row; NULL where another
            writer has left none that is possible); OVERFLOWS; CLOCK_AHEAD (whether the newest row
            is stamped later than it arrived); FIRST_ROW and LAST_ROW; predicted_at and SCORED_FROM
            of the newest prediction; and STATE. Binds what `binds` gives.
        """
        experiment, phase = self.keys
        timestamp = f'"{self.spec.columns.timestamp}"'
        return f"""
        WITH inbox AS (
          SELECT {experiment}, {phase}, count(*) AS {N_ROWS},
                 count(*) FILTER (WHERE {valid_rows(self.spec)}) AS n_samples,
                 min({timestamp}) AS first_timestamp, max({timestamp}) AS last_timestamp,
                 max(arrived_at) FILTER (WHERE isfinite(arrived_at) AND arrived_at <= now())
                   AS arrived_at,
                 {self._overflows()} AS {OVERFLOWS},
                 min(ctid) AS {FIRST_ROW}, max(ctid) AS {LAST_ROW}
          FROM ({self.rows()}) AS online GROUP BY {experiment}, {phase}
        )
        SELECT inbox.*, ledger.predicted_at, ledger.n_samples AS {SCORED_FROM},
          last_timestamp > extract(epoch FROM arrived_at) + {CLOCK_TOLERANCE} AS {CLOCK_AHEAD},
          CASE
            WHEN {experiment} IS NULL THEN '{Reason.NO_EXPERIMENT}'
            {self._unusable_names()}
            WHEN {phase} IS NULL OR {phase} <> ALL(:phases) THEN '{Reason.UNKNOWN_PHASE}'
            WHEN ledger.purged_at IS NOT NULL THEN '{Reason.LATE_AFTER_PURGE}'
            -- In the order of PostgreSQL NaN comes after all numbers; NULL is not between any.
            WHEN (first_timestamp >= extract(epoch FROM now()) - {FARTHEST_STAMP}
              AND last_timestamp <= extract(epoch FROM now()) + {FARTHEST_STAMP}) IS NOT TRUE
              THEN '{Reason.IMPOSSIBLE_TIMESTAMP}'
            WHEN last_timestamp > extract(epoch FROM now()) - :settle
              AND coalesce(arrived_at > now() - make_interval(secs => :clock_limit),
                           last_timestamp <= extract(epoch FROM now())) THEN '{State.WAITING}'
            WHEN last_timestamp - first_timestamp > :reused_after THEN '{Reason.NUMBER_REUSED}'
            WHEN inbox.n_samples = 0 THEN '{Reason.NO_VALID_ROWS}'
            WHEN {OVERFLOWS} THEN '{Reason.INFINITE_FEATURES}'
            -- With any other number of rows, late ones have come: the phase is due again.
            WHEN ledger.n_samples = inbox.n_samples
              AND (last_timestamp >= :since AND last_timestamp < :until) IS NOT TRUE
              THEN '{State.KEPT}'
            ELSE '{State.DUE}'
          END AS {STATE}
        FROM inbox LEFT JOIN LATERAL (
          SELECT n_samples, predicted_at, purged_at FROM "{self.names.archived.name}" AS a
          WHERE a.{experiment} = inbox.{experiment} AND a.{phase} = inbox.{phase}
          ORDER BY {NEWEST_FIRST} LIMIT 1
        ) AS ledger ON true"""

    def _unusable_names(self) -> str:
        """Conditions for experiments that are named by text: those of `usable_key`.

        In UTF-8 the control characters are the bytes 00 to 1f, 7f, and c2 before 80 to 9f; they are
        looked for in hexadecimal digits, as a database may have another encoding.
        """
        if self.spec.columns.experiment_type != "text":
            return ""
        experiment = self.keys[0]
        name = f"convert_to({experiment}, 'UTF8')"
        return f"""
            WHEN {experiment} !~ '\\S' THEN '{Reason.NO_EXPERIMENT}'
            WHEN length({name}) > {KEY_BYTES}
              OR encode({name}, 'hex') ~ '^(..)*([01].|7f|c2[89])' THEN '{Reason.UNUSABLE_NAME}'"""

    def _overflows(self) -> str:
        """An aggregate: whether a phase has readings within their range that are too large."""
        large = [
            f'abs("{sensor.name}") > {LARGEST_READING} '
            f'AND "{sensor.name}" BETWEEN {sensor.low} AND {sensor.high}'
            for sensor in self.spec.sensors
            if max(-sensor.low, sensor.high) > LARGEST_READING
        ]
        return f"bool_or({' OR '.join(large)})" if large else "false"

    def binds(self, rescore: Window | None = None) -> dict[str, Any]:
        """Values for the parameters of `states`."""
        rules = self.spec.prediction
        reused_after = rules.reused_after_hours
        return {
            "phases": [phase.value for phase in self.spec.phases],
            "settle": rules.settle_minutes * 60,
            "clock_limit": rules.clock_limit_hours * 3600,
            "reused_after": None if reused_after is None else reused_after * 3600,
            "since": rescore.since if rescore else None,
            "until": rescore.until if rescore else None,
        }

    def counts(self, rescore: Window | None = None) -> dict[str, int]:
        """Rows of the inbox by state, of the rejected table, and of the ledger."""
        query = f"""
            SELECT {STATE}, sum({N_ROWS})::bigint FROM ({self.states()}) AS s GROUP BY {STATE}"""
        counts = {
            state: int(n) for state, n in self.connection.execute(text(query), self.binds(rescore))
        }
        counts["rejected"] = self._count(self.names.rejected.name)
        counts["predictions"] = self._count(self.names.archived.name)
        return counts

    def phase_counts(self) -> dict[str, int]:
        """Phases of the inbox by state."""
        query = f"SELECT {STATE}, count(*) FROM ({self.states()}) AS s GROUP BY {STATE}"
        return {state: int(n) for state, n in self.connection.execute(text(query), self.binds())}

    def _count(self, table: str) -> int:
        return int(self.connection.scalar(text(f'SELECT count(*) FROM "{table}"')) or 0)

    def doubtful_clocks(self, count: int = 10) -> list[dict[str, Any]]:
        """Phases in the inbox whose newest row is stamped later than it arrived, newest first."""
        query = f"""
            SELECT * FROM ({self.states()}) AS s WHERE {CLOCK_AHEAD}
            ORDER BY {STATE} = '{State.WAITING}' DESC, arrived_at DESC LIMIT {count}"""
        return [dict(row) for row in self.connection.execute(text(query), self.binds()).mappings()]
