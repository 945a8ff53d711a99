"""Which weeks have had their letter. It is kept in the details of runs, in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from src.components.database.connection import storable
from src.components.database.journal import Journal
from src.components.database.locks import LETTER_LOCK
from src.safe_text import safe


@dataclass(frozen=True)
class LetterLog:
    """The weekly letters of one installation."""

    journal: Journal

    def claim(self, run_id: int, week: str, message: str) -> bool:
        """Claim the letter of a week before it is sent; False when another run has done so.

        A run that is killed keeps its claim, so that nobody gets the letter twice.

        Args:
            week: by ISO 8601, as 2026-W48.
            message: its Message-ID, which a run may have found in the outbox and sent.
        """
        runs = self.journal.runs
        of_week = runs.c.details["letter"]["week"].astext == week
        sent = runs.c.details["sent"].contains([message])
        taken = select(func.count()).select_from(runs).where(of_week | sent)
        claimed = runs.c.details.op("||")(cast({"letter": {"week": week}}, JSONB))
        with self.journal.engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(LETTER_LOCK)))
            if connection.scalar(taken):
                return False
            connection.execute(runs.update().where(runs.c.id == run_id).values(details=claimed))
        return True

    def release(self, run_id: int) -> None:
        """Give the claim back: the letter was not sent."""
        runs = self.journal.runs
        without = runs.c.details.op("-")("letter")
        with self.journal.engine.begin() as connection:
            connection.execute(runs.update().where(runs.c.id == run_id).values(details=without))

    def note_sent(self, run_id: int, week: str, destination: str) -> None:
        """Record where the letter went."""
        with self.journal.engine.connect() as connection:
            words = storable(connection, safe(destination))
        self.journal.add_details(run_id, cast({"letter": {"week": week, "to": words}}, JSONB))

    def last_sent(self) -> datetime | None:
        """The start of the last run that sent a letter; None before the first."""
        runs = self.journal.runs
        sent = runs.c.details["letter"]["to"].astext.is_not(None)
        query = select(func.max(runs.c.started_at)).where(sent)
        with self.journal.engine.connect() as connection:
            started: datetime | None = connection.scalar(query)
        return started
