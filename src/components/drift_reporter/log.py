"""What monitoring has looked at: windows of the ledger, verdicts, and months found healthy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from sqlalchemy import (
    DateTime,
    Engine,
    Table,
    and_,
    cast,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on

from src.components.database.journal import BAD, Journal
from src.components.database.locks import LOCK, REPORT_LOCK
from src.components.database.tables import Tables, records, tables
from src.components.drift_reporter.drift_tests import TOO_FEW
from src.components.drift_reporter.evidence import Window
from src.components.drift_reporter.verdict import Verdict
from src.errors import DataError
from src.soft_sensor import SoftSensor

PIPELINE = "monitor"
BEGINNING = pd.Timestamp(0, tz="UTC")  # before all reports


@dataclass(frozen=True)
class MonitoringLog:
    """The reports of one installation."""

    engine: Engine
    spec: SoftSensor

    @cached_property
    def _tables(self) -> Tables:
        return tables(self.spec)

    @cached_property
    def journal(self) -> Journal:
        """The journal whose runs of PIPELINE these are."""
        return Journal(self.engine, self.spec)

    @property
    def _runs(self) -> Table:
        return self.journal.runs

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other report is under way; none begins until the end."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            yield bool(connection.scalar(select(func.pg_try_advisory_lock(REPORT_LOCK))))

    def window(self, since: str | None = None, until: str | None = None) -> Window:
        """The window that a user asks for, by default from the last report until now."""
        asked_for = since is not None or until is not None
        if asked_for:
            start = moment(since) if since else None
        else:
            start = self._last_report()
        return Window(start, moment(until) if until else self._now(), asked_for)

    def _last_report(self) -> pd.Timestamp | None:
        """Until when the last report has looked, None before the first.

        A run that found too few rows was no report: its rows are looked at again with the next
        ones.
        """
        details = self._runs.c.details
        query = select(func.max(cast(details["until"].astext, DateTime(timezone=True)))).where(
            self._good, self._runs.c.outcome != TOO_FEW, details["asked_for"].astext == "false"
        )
        with self.engine.connect() as connection:
            until = connection.scalar(query)
        return pd.Timestamp(until) if until else None

    @property
    def _good(self) -> Any:
        return and_(self._runs.c.pipeline == PIPELINE, self._runs.c.outcome.not_in(BAD))

    def _now(self) -> pd.Timestamp:
        """The moment up to which all predictions are committed, by the server's clock.

        A prediction is dated by the start of its run. So this waits for a run that is under way,
        whose rows would otherwise be dated into a window that was already looked at.
        """
        with self.engine.connect() as connection:
            connection.execute(select(func.pg_advisory_lock(LOCK)))
            connection.commit()
            now = connection.execute(select(func.now())).scalar_one()
            # Given back before reading: a prediction that finds the lock taken does nothing.
            connection.execute(select(func.pg_advisory_unlock(LOCK)))
            return pd.Timestamp(now)

    def healthy(self, version: str, window: Window) -> list[Window]:
        """Earlier windows that a person found healthy while the same version was Production."""
        if window.since is None:
            return []
        details = self._runs.c.details
        query = (
            select(details["since"].astext, details["until"].astext)
            .where(self._good, details["accepted_at"].astext.is_not(None))
            .where(self._runs.c.model_version == version)
            .where(cast(details["until"].astext, DateTime(timezone=True)) <= window.since)
            .order_by(self._runs.c.id)
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Window(moment(since) if since else None, moment(until)) for since, until in rows]

    def accept(self, report: int | None, healthy: bool) -> str:
        """Note that a person found the window of a report healthy, or take that back.

        Args:
            report: id of the run, the newest report by default.

        Returns:
            What was done, in words.

        Raises:
            DataError: when there is no such report.
        """
        query = select(self._runs.c.id, self._runs.c.outcome, self._runs.c.details).where(
            self._good, self._runs.c.outcome != TOO_FEW
        )
        if report is not None:
            query = query.where(self._runs.c.id == report)
        with self.engine.begin() as connection:
            found = connection.execute(query.order_by(self._runs.c.id.desc()).limit(1)).first()
            if found is None:
                raise DataError(
                    f"there is no report {report or ''}: `impress status` lists the last ones"
                )
            details = {k: v for k, v in found.details.items() if k != "accepted_at"}
            if healthy:
                now = connection.execute(select(func.now())).scalar_one()
                details["accepted_at"] = now.isoformat()
            update = self._runs.update().where(self._runs.c.id == found.id)
            connection.execute(update.values(details=details))
        words = "counts as healthy from now on" if healthy else "counts as healthy no longer"
        return f"report {found.id} ({found.outcome}), until {found.details['until']}, {words}"

    def was_sent(self, message: str) -> bool:
        """Whether an earlier run has handed over the message of this id."""
        query = select(func.count()).where(
            self._runs.c.pipeline == PIPELINE, self._runs.c.details["sent"].contains([message])
        )
        with self.engine.connect() as connection:
            return bool(connection.scalar(query))

    def note_sent(self, run_id: int, messages: list[str]) -> None:
        """Note ids of messages at once, so that the note survives a run that is killed."""
        details = self._runs.c.details
        sent = func.coalesce(details["sent"], cast([], JSONB)).op("||")(cast(messages, JSONB))
        noted = details.op("||")(func.jsonb_build_object("sent", sent))
        with self.engine.begin() as connection:
            update = self._runs.update().where(self._runs.c.id == run_id)
            connection.execute(update.values(details=noted))

    def complete(
        self, run_id: int, window: Window, version: str, verdict: Verdict, details: dict[str, Any]
    ) -> None:
        """Keep a verdict with its tests, and count the window as reported, in one transaction."""
        ends = {
            "since": window.since.isoformat() if window.since else None,
            "until": window.until.isoformat(),
            "asked_for": window.asked_for,
        }
        noted = self._runs.c.details.op("||")(cast({**ends, **details}, JSONB))
        kept = [column.name for column in self._tables.monitoring_tests.columns]
        rows = verdict.tests.assign(run_id=run_id).reindex(columns=kept)
        with self.engine.begin() as connection:
            if len(rows):
                connection.execute(insert(self._tables.monitoring_tests), records(rows))
            self.journal.complete(
                connection, run_id, outcome=verdict.status, model_version=version, details=noted
            )

    def history(self, window: Window, count: int = 24) -> pd.DataFrame:
        """Tests of the last windows that ended before this one began, oldest first.

        Of each window the newest report.

        Returns:
            `until` and the columns of `monitoring_tests`.
        """
        kept, runs = self._tables.monitoring_tests, self._runs
        end = cast(runs.c.details["until"].astext, DateTime(timezone=True))
        newest = (
            select(runs.c.id, end.label("until"))
            .ext(distinct_on(end))
            .where(self._good, runs.c.outcome != TOO_FEW, end <= (window.since or BEGINNING))
            .order_by(end.desc(), runs.c.id.desc())
            .limit(count)
            .subquery()
        )
        query = select(newest.c.until, kept).join(newest, kept.c.run_id == newest.c.id)
        with self.engine.connect() as connection:
            table = pd.read_sql(query.order_by(newest.c.until, kept.c.p), connection)
        return table.assign(until=pd.to_datetime(table["until"], utc=True))


def moment(words: str) -> pd.Timestamp:
    """A moment in ISO 8601, in UTC where it names no zone."""
    found = pd.Timestamp(words)
    return found.tz_convert("UTC") if found.tzinfo else found.tz_localize("UTC")
