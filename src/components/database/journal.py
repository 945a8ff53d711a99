"""The journal of runs, kept in the database so that it survives the container of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Engine, Table, cast, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import OperationalError

from src.components.database.connection import storable
from src.components.database.locks import LOAD_LOCK
from src.components.database.tables import tables
from src.process import numbered, stop_requested
from src.safe_text import safe
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

RUNNING, FAILED, DIED, SKIPPED = "running", "failed", "died", "skipped"
STOPPED = "stopped"  # asked to, by SIGTERM
LOAD, BACKFILL = "load", "backfill"  # in the column `pipeline`
BAD = (RUNNING, FAILED, DIED, SKIPPED, STOPPED)  # with any other outcome the run did its work


@dataclass(frozen=True)
class Journal:
    """Runs of one installation."""

    engine: Engine
    spec: SoftSensor
    prefix: str = ""

    @cached_property
    def runs(self) -> Table:
        """The table of runs."""
        return tables(self.spec, self.prefix).runs

    @contextmanager
    def run(self, pipeline: str, code_version: str) -> Iterator[int]:
        """Record a run from its start; yields its id.

        The run completes its row itself (see `complete`); one that raises is recorded as failed,
        or as stopped if it was asked to.
        Only one run of a pipeline is under way at a time, so earlier ones without an end were
        killed and are recorded as such.
        """
        self._note_deaths(pipeline)
        statement = insert(self.runs).values(
            pipeline=pipeline,
            started_at=func.clock_timestamp(),
            outcome=RUNNING,
            code_version=code_version,
        )
        with self.engine.begin() as connection:
            run_id = int(connection.execute(statement.returning(self.runs.c.id)).scalar_one())
        try:
            with numbered(run_id):
                yield run_id
        except BaseException as error:
            self._note_failure(run_id, error)
            raise

    def _note_failure(self, run_id: int, error: BaseException) -> None:
        # Only the first line, which names the cause: the rest may quote statements with values.
        cause = safe(f"{type(error).__name__}: {error}".splitlines()[0])[:300]
        outcome = STOPPED if stop_requested() else FAILED
        try:
            with self.engine.begin() as connection:
                error_object = func.jsonb_build_object("error", storable(connection, cause))
                details = self.runs.c.details.op("||")(error_object)
                self.complete(connection, run_id, outcome=outcome, details=details)
        except OperationalError:
            logger.warning(
                "the journal is unreachable: run %d is not recorded as %s", run_id, outcome
            )

    def complete(self, connection: Connection, run_id: int, **columns: Any) -> None:
        """Complete the row of a run that ends now; `columns` are those of the table `runs`."""
        statement = self.runs.update().where(self.runs.c.id == run_id)
        connection.execute(statement.values(ended_at=func.clock_timestamp(), **columns))

    def note_skipped(self, pipeline: str, code_version: str) -> None:
        """Record a run that left its work to another one."""
        statement = insert(self.runs).values(
            pipeline=pipeline,
            started_at=func.clock_timestamp(),
            ended_at=func.clock_timestamp(),
            outcome=SKIPPED,
            code_version=code_version,
        )
        with self.engine.begin() as connection:
            connection.execute(statement)
        logger.info("another run of %s is under way; nothing to do", pipeline)

    def load_of(self, connection: Connection, digest: str) -> dict[str, Any] | None:
        """The first load of a file with this SHA-256, None when there was none.

        No other file is loaded before the transaction of the connection ends.
        """
        connection.execute(select(func.pg_advisory_xact_lock(LOAD_LOCK + len(self.prefix))))
        same = (self.runs.c.pipeline == LOAD) & (self.runs.c.details["sha256"].astext == digest)
        query = select(self.runs).where(same).order_by(self.runs.c.id).limit(1)
        row = connection.execute(query).mappings().first()
        return dict(row) if row else None

    def note_load(self, connection: Connection, details: dict[str, Any]) -> None:
        """Record a file that is loaded in the transaction of the connection.

        Args:
            details: `sha256` and name (`file`) of the file, and what became of its rows.
        """
        statement = insert(self.runs).values(
            pipeline=LOAD,
            started_at=func.now(),
            ended_at=func.clock_timestamp(),
            outcome="done",
            details={**details, "file": storable(connection, details["file"])},
        )
        connection.execute(statement)

    def note_unit(self, connection: Connection, **columns: Any) -> int:
        """Record a unit of a history that is scored in the transaction of the connection.

        Args:
            columns: of the table `runs`; its details have the `unit`.

        Returns:
            The id of its line.
        """
        statement = insert(self.runs).values(
            pipeline=BACKFILL,
            started_at=func.now(),
            ended_at=func.clock_timestamp(),
            **columns,
        )
        return int(connection.execute(statement.returning(self.runs.c.id)).scalar_one())

    def units(self) -> set[str]:
        """Names of the units of histories that were scored."""
        good = (self.runs.c.pipeline == BACKFILL) & self.runs.c.outcome.not_in(BAD)
        query = select(self.runs.c.details["unit"].astext).where(good)
        with self.engine.connect() as connection:
            return set(connection.scalars(query))

    def was_sent(self, message: str) -> bool:
        """Whether a run has sent the message with this id."""
        query = select(func.count()).where(self.runs.c.details["sent"].contains([message]))
        with self.engine.connect() as connection:
            return bool(connection.scalar(query))

    def note_sent(self, run_id: int, messages: list[str]) -> None:
        """Record ids of messages at once, so that the record survives a run that is killed."""
        if not messages:
            return
        sent = func.coalesce(self.runs.c.details["sent"], cast([], JSONB)).op("||")
        noted = func.jsonb_build_object("sent", sent(cast(messages, JSONB)))
        self.add_details(run_id, noted)

    def add_details(self, run_id: int, details: Any) -> None:
        """Add an object (JSONB) to the details of a run, in a transaction of its own."""
        update = self.runs.update().where(self.runs.c.id == run_id)
        with self.engine.begin() as connection:
            connection.execute(update.values(details=self.runs.c.details.op("||")(details)))

    def _note_deaths(self, pipeline: str) -> None:
        """Record that runs without an end were killed.

        One that is still running overwrites this when it ends.
        """
        unfinished = (self.runs.c.pipeline == pipeline) & (self.runs.c.outcome == RUNNING)
        statement = self.runs.update().where(unfinished).values(outcome=DIED)
        with self.engine.begin() as connection:
            killed = connection.execute(statement).rowcount
        if killed:
            were_killed = "earlier run was killed" if killed == 1 else "earlier runs were killed"
            logger.warning("%d %s", killed, were_killed)

    def newest(self, pipeline: str, count: int = 5) -> list[dict[str, Any]]:
        """The last runs of a pipeline, newest first, as rows of the table `runs`."""
        query = select(self.runs).where(self.runs.c.pipeline == pipeline)
        newest_first = query.order_by(self.runs.c.id.desc()).limit(count)
        with self.engine.connect() as connection:
            runs = [dict(run) for run in connection.execute(newest_first).mappings()]
        for run in runs:
            if not isinstance(run["details"], dict):  # as only another writer leaves it
                run["details"] = {}
        return runs

    def age_of_last_good(self, pipeline: str) -> timedelta | None:
        """How long ago the last run that did its work ended, None when there was none."""
        good = (self.runs.c.pipeline == pipeline) & self.runs.c.outcome.not_in(BAD)
        ended = self.runs.c.ended_at.between("epoch", func.clock_timestamp())
        query = select(func.clock_timestamp() - func.max(self.runs.c.ended_at)).where(good, ended)
        with self.engine.connect() as connection:
            age: timedelta | None = connection.execute(query).scalar_one()
            return age
