"""From the inbox into the ledger: what is due is scored once, what cannot be is set aside.

Everything that a run's scoring does becomes true in one commit or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from src.components.database.journal import Journal
from src.components.database.ledger import append
from src.components.inbox.states import Inbox, State, Window
from src.components.inbox.stock import N_ROWS, STATE, STOCK
from src.components.predictor.reasons import Reason

if TYPE_CHECKING:
    import pandas as pd

    from src.components.predictor.scoring import Scored

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """Rows of the inbox by what became of them; `rows` is the sum of the other four.

    `kept` rows were scored by an earlier run and stay until their retention time is over.
    """

    rows: int
    scored: int
    kept: int
    waiting: int
    rejected: int
    phases: int

    def __str__(self) -> str:
        """The balance of the rows."""
        return (
            f"{self.rows} rows in = {self.scored} scored + {self.kept} kept + "
            f"{self.waiting} waiting + {self.rejected} rejected"
        )


@dataclass
class Run:
    """The statements of one run, all in one transaction of one connection."""

    inbox: Inbox
    run_id: int
    model_version: str | None = None

    def take_stock(self, rescore: Window | None = None) -> int:
        """Note the state of every phase.

        Args:
            rescore: phases to score again though they were scored from the same rows.

        Returns:
            The number of due phases.
        """
        connection = self.inbox.connection
        create = f"CREATE TEMP TABLE {STOCK} AS {self.inbox.states()}"
        connection.execute(text(create), self.inbox.binds(rescore))
        connection.execute(text(f"ANALYZE {STOCK}"))
        count = text(f"SELECT count(*) FROM {STOCK} WHERE {STATE} = :due")
        due = int(connection.scalar(count, {"due": State.DUE}) or 0)
        if due:
            logger.info("%s: %d phases are due", self.inbox.names.online.name, due)
        return due

    def archive(self, scored: Scored) -> None:
        """Write predictions into the ledger, and note which phases have none and why."""
        self.model_version = scored.model_version
        self._note_refusals(scored.refused)
        if scored.ledger.empty:
            return
        now = self.inbox.connection.scalar(text("SELECT now()"))
        ledger = scored.ledger.assign(run_id=self.run_id, predicted_at=now)
        append(self.inbox.connection, self.inbox.names.archived, ledger, self.inbox.spec)

    def _note_refusals(self, refused: pd.DataFrame) -> None:
        experiment, phase = self.inbox.keys
        update = text(f"""
            UPDATE {STOCK} SET {STATE} = :reason
            WHERE {experiment} = :experiment AND {phase} = :phase""")
        rows = refused[[*self.inbox.spec.columns.keys, "reason"]].astype(object)
        for experiment_value, phase_value, reason in rows.itertuples(index=False):
            values = {"experiment": experiment_value, "phase": phase_value, "reason": reason}
            self.inbox.connection.execute(update, values)

    def set_aside(self) -> None:
        """Count what is still due as scored, and move the rows with a `Reason` to rejected_data."""
        connection = self.inbox.connection
        scored = text(f"UPDATE {STOCK} SET {STATE} = :scored WHERE {STATE} = :due")
        connection.execute(scored, {"scored": State.SCORED, "due": State.DUE})
        reasons = {"reasons": list(Reason)}
        if self.inbox.online.is_foreign:
            self._move_phase_by_phase()
            return
        is_empty = ", ".join(f"{key} IS NULL" for key in self.inbox.keys)
        refused = text(f"SELECT DISTINCT {is_empty} FROM {STOCK} WHERE {STATE} = ANY(:reasons)")
        own = [self.inbox.online.read(key, "t") for key in self.inbox.spec.columns.keys]
        for empty in connection.execute(refused, reasons).all():
            # An empty key equals nothing. IS NOT DISTINCT FROM would match it, but by comparing
            # every row with every phase.
            same_phase = " AND ".join(
                f"{value} IS NULL AND s.{key} IS NULL" if is_null else f"{value} = s.{key}"
                for value, key, is_null in zip(own, self.inbox.keys, empty)
            )
            rows = f"USING {STOCK} AS s WHERE {same_phase} AND s.{STATE} = ANY(:reasons)"
            move = text(self._move_rejected(rows, f"s.{STATE}"))
            connection.execute(move, {**reasons, "run_id": self.run_id})

    def _move_phase_by_phase(self) -> None:
        """Move rejected rows of a foreign table, see `Inbox.same_phase`."""
        experiment, phase = self.inbox.keys
        refused = text(f"""
            SELECT {experiment} AS experiment, {phase} AS phase, {STATE} AS reason FROM {STOCK}
            WHERE {STATE} = ANY(:reasons)""")
        connection = self.inbox.connection
        phases = connection.execute(refused, {"reasons": list(Reason)}).mappings().all()
        if not phases:
            return
        rows = f"WHERE {self.inbox.same_phase()}"
        move = text(self._move_rejected(rows, "CAST(:reason AS text)"))
        before, removed = self.inbox.count(), 0
        for each in phases:
            removed += connection.execute(move, {**each, "run_id": self.run_id}).rowcount
        self.inbox.require_removed(removed, before)

    def _move_rejected(self, rows: str, reason: str) -> str:
        """SQL that moves rows of the inbox.

        Args:
            rows: what follows "DELETE FROM online_data AS t" in SQL: which rows.
            reason: SQL of why.
        """
        names, columns = self.inbox.names, self.inbox.spec.columns.online
        listed = ", ".join(f'"{name}"' for name in columns)
        returned = ", ".join(f'{self.inbox.online.read(name, "t")} AS "{name}"' for name in columns)
        written = ", ".join(self.inbox.rejected.write(name) for name in columns)
        # A rig may have a column called reason; no column has a blank in its name.
        return f"""
            WITH moved AS (
              DELETE FROM "{names.online.name}" AS t {rows}
              RETURNING {returned}, {reason} AS "the reason"
            )
            INSERT INTO "{names.rejected.name}" ({listed}, reason, run_id)
            SELECT {written}, "the reason", :run_id FROM moved"""

    def complete(self, journal: Journal) -> Outcome:
        """Count the rows by what became of them, and complete the run's line in the journal."""
        outcome = self._outcome()
        journal.complete(
            self.inbox.connection,
            self.run_id,
            outcome="partial" if outcome.rejected else "done",
            model_version=self.model_version,
            details={**asdict(outcome), "purged": 0},
        )
        return outcome

    def _outcome(self) -> Outcome:
        query = text(f"SELECT {STATE}, sum({N_ROWS}), count(*) FROM {STOCK} GROUP BY {STATE}")
        rows: dict[str, int] = {}
        phases: dict[str, int] = {}
        for state, n_rows, n_phases in self.inbox.connection.execute(query):
            rows[state], phases[state] = int(n_rows), n_phases
        rejected = {reason: rows.pop(reason) for reason in Reason if reason in rows}
        for reason, count in rejected.items():
            logger.warning("%d rows rejected: %s", count, reason)
        scored, kept = rows.pop(State.SCORED, 0), rows.pop(State.KEPT, 0)
        waiting = rows.pop(State.WAITING, 0)
        for state, count in rows.items():
            logger.warning("%d rows stay in the inbox: their state %r is unknown", count, state)
            waiting += count
        total_rejected = sum(rejected.values())
        return Outcome(
            rows=scored + kept + waiting + total_rejected,
            scored=scored,
            kept=kept,
            waiting=waiting,
            rejected=total_rejected,
            phases=phases.get(State.SCORED, 0),
        )


@contextmanager
def transaction(inbox: Inbox, run_id: int) -> Iterator[Run]:
    """Begin the transaction of a run; it is committed at the end, and rolled back by any error.

    Args:
        inbox: its connection holds the inbox, see `hold`.
        run_id: the run's line in the journal.
    """
    with inbox.connection.begin():
        yield Run(inbox, run_id)
