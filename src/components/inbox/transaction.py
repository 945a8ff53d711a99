"""From the inbox into the ledger: what is due is scored once, what cannot be is set aside.

Everything that scoring does becomes true in one commit or not at all.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from src.components.database.connection import run_copy
from src.components.database.journal import Journal
from src.components.inbox.due_features import due_features
from src.components.inbox.states import Inbox, Window

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Predict = Callable[["pd.DataFrame"], "pd.DataFrame"]
Fetch = Callable[[], tuple[Predict, str]]

STAYING = ("scored", "kept", "waiting")  # states whose rows are left in the inbox


@dataclass(frozen=True)
class Outcome:
    """Rows of the inbox by what became of them; `rows` is the sum of the other four.

    `kept` rows were scored by an earlier run and wait for the end of their retention time.
    """

    rows: int
    scored: int
    kept: int
    waiting: int
    rejected: int
    phases: int


def score_inbox(
    inbox: Inbox, fetch: Fetch, journal: Journal, run_id: int, rescore: Window | None = None
) -> Outcome:
    """Score every due phase, set aside what cannot be scored, complete the run in the journal.

    Args:
        inbox: its connection holds the inbox, see `inbox.hold`; the states that the run left are in
            its temporary table `inbox_state`.
        fetch: gives the model's predict function (features of some phases to predictions, see
            `Bundle.predict`) and its version; called only when something is due.
        journal: has the run's line `run_id`; it is completed in the same transaction.
        rescore: phases to score again though they were scored from the same rows.

    Returns:
        What became of the rows.
    """
    with inbox.connection.begin():
        run = _Run(inbox, run_id)
        version = None
        if due := run.take_stock(rescore):
            logger.info("%s: %d phases are due", inbox.names.online.name, due)
            with due_features(journal.engine, inbox) as batches:
                predict, version = fetch()
                for features in batches:
                    run.archive(features, predict, version)
        run.set_aside()
        outcome = run.outcome()
        journal.complete(
            inbox.connection,
            run_id,
            outcome="partial" if outcome.rejected else "done",
            model_version=version,
            details={**asdict(outcome), "purged": 0},
        )
    return outcome


@dataclass(frozen=True)
class _Run:
    """One run's statements, all in one transaction of one connection."""

    inbox: Inbox
    run_id: int

    @property
    def _keys(self) -> tuple[str, str]:
        columns = self.inbox.spec.columns
        return f'"{columns.experiment}"', f'"{columns.phase}"'

    def take_stock(self, rescore: Window | None) -> int:
        """Note the state of every phase. Returns the number of due ones."""
        connection = self.inbox.connection
        create = f"CREATE TEMP TABLE inbox_state AS {self.inbox.states()}"
        connection.execute(text(create), self.inbox.binds(rescore))
        connection.execute(text("ANALYZE inbox_state"))
        due = connection.scalar(text("SELECT count(*) FROM inbox_state WHERE state = 'due'"))
        return int(due or 0)

    def archive(self, features: pd.DataFrame, predict: Predict, version: str) -> None:
        """Predict a batch into the ledger, but for phases from or for which nothing sound comes."""
        from src.components.predictor.bundle import add_flag, impossible

        spec, keys = self.inbox.spec, self.inbox.spec.columns.keys
        empty = features[spec.features].isna().all(axis=1)
        self._refuse(features.loc[empty, keys], "no_sensor_values")
        usable = features[~empty].reset_index(drop=True)
        if usable.empty:
            return
        predicted = predict(usable)
        ahead = usable["clock_ahead"].fillna(False).astype(bool)
        predicted = add_flag(predicted, "clock_ahead", ahead)
        reasons = impossible(predicted, spec)
        for reason in reasons[reasons != ""].unique():
            self._refuse(usable.loc[reasons == reason, keys], reason)
        known = [c.name for c in self.inbox.names.archived.columns if c.name in usable]
        ledger = usable[known].join(predicted)[reasons == ""]
        self._insert(ledger.assign(run_id=self.run_id, model_version=version))

    def _refuse(self, keys: pd.DataFrame, reason: str) -> None:
        """Note why some due phases cannot be scored."""
        experiment, phase = self._keys
        update = f"""
            UPDATE inbox_state SET state = :reason
            WHERE {experiment} = :experiment AND {phase} = :phase"""
        for experiment, phase in keys.astype(object).itertuples(index=False):
            values = {"reason": reason, "experiment": experiment, "phase": phase}
            self.inbox.connection.execute(text(update), values)

    def _insert(self, ledger: pd.DataFrame) -> None:
        """Copy predictions into the ledger, dated by the transaction that makes them true."""
        now = self.inbox.connection.scalar(text("SELECT now()"))
        ledger = ledger.assign(predicted_at=now)
        columns = ", ".join(f'"{name}"' for name in ledger.columns)
        # Empty words are words; only in columns of numbers they mean that there is none.
        words = ", ".join((*self._keys, "verdict", "flags"))
        copy = f"""COPY "{self.inbox.names.archived.name}" ({columns}) FROM STDIN
            WITH (FORMAT csv, FORCE_NOT_NULL ({words}))"""
        # With this end of a line both of its characters are quoted where they stand in a name.
        lines = io.StringIO(ledger.to_csv(index=False, header=False, lineterminator="\r\n"))
        run_copy(self.inbox.connection, copy, lines)

    def set_aside(self) -> None:
        """Move the rows that cannot be scored to the rejected table, with the reason."""
        connection, names = self.inbox.connection, self.inbox.names
        connection.execute(text("UPDATE inbox_state SET state = 'scored' WHERE state = 'due'"))
        experiment, phase = self._keys
        names_of = [f'"{name}"' for name in self.inbox.spec.columns.online]
        columns, moving = ", ".join(names_of), ", ".join(f"t.{name}" for name in names_of)
        equal = f"t.{experiment} = s.{experiment} AND t.{phase} = s.{phase}"
        # Rows with an empty key match nothing by "=", and what matches them compares all with all,
        # so it is kept for them alone.
        unknown = f"""(t.{experiment} IS NULL OR t.{phase} IS NULL)
            AND t.{experiment} IS NOT DISTINCT FROM s.{experiment}
            AND t.{phase} IS NOT DISTINCT FROM s.{phase}"""
        odd = "SELECT count(*) FROM inbox_state WHERE state <> ALL(:staying)"
        if not connection.scalar(text(odd), {"staying": list(STAYING)}):
            return
        for same in (equal, unknown):
            move = f"""
                WITH moved AS (
                  DELETE FROM "{names.online.name}" AS t USING inbox_state AS s
                  WHERE {same} AND s.state <> ALL(:staying)
                  RETURNING {moving}, s.state AS "why it is rejected"
                )
                INSERT INTO "{names.rejected.name}" ({columns}, reason, run_id)
                SELECT {columns}, "why it is rejected", :run_id FROM moved"""
            connection.execute(text(move), {"staying": list(STAYING), "run_id": self.run_id})

    def outcome(self) -> Outcome:
        """Count the rows by what became of them."""
        query = text("SELECT state, sum(n_rows), count(*) FROM inbox_state GROUP BY state")
        found = {
            state: (int(n), phases) for state, n, phases in self.inbox.connection.execute(query)
        }
        kept, _ = found.pop("kept", (0, 0))
        waiting, _ = found.pop("waiting", (0, 0))
        scored, phases = found.pop("scored", (0, 0))
        for reason, (count, _) in found.items():
            logger.warning("%d rows rejected: %s", count, reason)
        rejected = sum(count for count, _ in found.values())
        return Outcome(scored + kept + waiting + rejected, scored, kept, waiting, rejected, phases)
