"""The log of reports: which periods were reported, with which verdict, and what was mailed.

It is kept in the journal of runs (`runs`) and in `monitoring_tests`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from sqlalchemy import (
    ColumnElement,
    Connection,
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

from src.components.database.connection import storable
from src.components.database.journal import BAD, Journal
from src.components.database.locks import LOCK, REPORT_LOCK
from src.components.database.tables import records, tables
from src.components.drift_reporter.evidence import Earlier, Evidence, Period
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict
from src.errors import DataError
from src.safe_text import safe
from src.soft_sensor import SoftSensor

PIPELINE = "monitor"
BEGINNING = pd.Timestamp(0, tz="UTC")  # before all reports
REPORTS = 24  # earlier ones that are looked back on


@dataclass(frozen=True)
class MonitoringLog:
    """The reports of one installation."""

    engine: Engine
    spec: SoftSensor

    @cached_property
    def journal(self) -> Journal:
        """The journal, in which each report is a run of PIPELINE."""
        return Journal(self.engine, self.spec)

    @property
    def _runs(self) -> Table:
        return self.journal.runs

    @cached_property
    def _tests(self) -> Table:
        return tables(self.spec).monitoring_tests

    @property
    def _completed(self) -> ColumnElement[bool]:
        """Runs that were completed, even if they had too few rows."""
        return and_(self._runs.c.pipeline == PIPELINE, self._runs.c.outcome.not_in(BAD))

    @property
    def _reported(self) -> ColumnElement[bool]:
        """Runs that count as a report. With too few rows, the next report includes the rows."""
        return and_(self._completed, self._runs.c.outcome != Status.TOO_FEW)

    @property
    def _until(self) -> ColumnElement[Any]:
        """The end of a run's period."""
        return cast(self._runs.c.details["until"].astext, DateTime(timezone=True))

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other report is under way; none can begin until the end."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            yield bool(connection.scalar(select(func.pg_try_advisory_lock(REPORT_LOCK))))

    def period(self, since: str | None = None, until: str | None = None) -> Period:
        """The period that a user requests (ISO 8601), by default from the last report until now."""
        if since is None and until is None:
            with self.engine.connect() as connection:
                return Period(self._last_report(connection), self._now(connection))
        if until is None:
            with self.engine.connect() as connection:
                end = self._now(connection)
        else:
            end = moment(until)
        return Period(moment(since) if since else None, end, requested=True)

    def _last_report(self, connection: Connection) -> pd.Timestamp | None:
        """The end of the last scheduled report, None before the first."""
        scheduled = self._runs.c.details["asked_for"].astext == "false"
        until = connection.scalar(select(func.max(self._until)).where(self._reported, scheduled))
        return pd.Timestamp(until) if until else None

    def _now(self, connection: Connection) -> pd.Timestamp:
        """The moment up to which all predictions are committed, by the server's clock.

        A prediction is dated by the start of its run. So this waits for a run that is under way,
        whose rows would otherwise be dated into a period that was already reported.
        """
        connection.execute(select(func.pg_advisory_lock(LOCK)))
        connection.commit()
        now = connection.execute(select(func.now())).scalar_one()
        # Released before reading: a prediction that finds the lock taken does nothing.
        connection.execute(select(func.pg_advisory_unlock(LOCK)))
        return pd.Timestamp(now)

    def earlier(self, period: Period, version: str) -> Earlier:
        """Reports whose periods ended before this one began.

        Args:
            version: periods count as healthy only if it was Production when they were reported.
        """
        with self.engine.connect() as connection:
            return Earlier(
                accepted=self._accepted(connection, period, version),
                tests=self._earlier_tests(connection, period),
            )

    def _accepted(self, connection: Connection, period: Period, version: str) -> list[Period]:
        if period.since is None:
            return []
        details = self._runs.c.details
        query = (
            select(details["since"].astext, details["until"].astext)
            .where(self._completed, self._runs.c.model_version == version)
            .where(details["accepted_at"].astext.is_not(None))
            .where(self._until <= period.since)
            .order_by(self._runs.c.id)
        )
        rows = connection.execute(query).all()
        return [Period(moment(since) if since else None, moment(until)) for since, until in rows]

    def _earlier_tests(self, connection: Connection, period: Period) -> pd.DataFrame:
        """See `Earlier.tests`; for each period those of its newest report."""
        newest = (
            select(self._runs.c.id, self._until.label("until"))
            .ext(distinct_on(self._until))
            .where(self._reported, self._until <= (period.since or BEGINNING))
            .order_by(self._until.desc(), self._runs.c.id.desc())
            .limit(REPORTS)
            .subquery()
        )
        query = (
            select(newest.c.until, self._tests)
            .join(newest, self._tests.c.run_id == newest.c.id)
            .order_by(newest.c.until, self._tests.c.p)
        )
        table = pd.read_sql(query, connection)
        return table.assign(until=pd.to_datetime(table["until"], utc=True))

    def accept(self, report: int | None, healthy: bool) -> str:
        """Record that a person found the period of a report healthy, or withdraw that.

        Args:
            report: id of the run, the newest report by default.

        Returns:
            One line that says what was done.

        Raises:
            DataError: when there is no such report.
        """
        runs = self._runs
        query = select(runs.c.id, runs.c.outcome, runs.c.details).where(self._reported)
        if report is not None:
            query = query.where(runs.c.id == report)
        with self.engine.begin() as connection:
            run = connection.execute(query.order_by(runs.c.id.desc()).limit(1)).first()
            if run is None:
                raise DataError(
                    f"there is no report {report or ''}: `impress status` lists the last ones"
                )
            details = {key: value for key, value in run.details.items() if key != "accepted_at"}
            if healthy:
                now = connection.execute(select(func.now())).scalar_one()
                details["accepted_at"] = now.isoformat()
            update = runs.update().where(runs.c.id == run.id)
            connection.execute(update.values(details=details))
        counts = "counts as healthy from now on" if healthy else "no longer counts as healthy"
        return f"report {run.id} ({run.outcome}), until {run.details['until']}, {counts}"

    def was_sent(self, message: str) -> bool:
        """Whether an earlier run has sent the message with this id."""
        query = select(func.count()).where(
            self._runs.c.pipeline == PIPELINE, self._runs.c.details["sent"].contains([message])
        )
        with self.engine.connect() as connection:
            return bool(connection.scalar(query))

    def note_sent(self, run_id: int, messages: list[str]) -> None:
        """Record ids of messages at once, so that the record survives a run that is killed."""
        details = self._runs.c.details
        sent = func.coalesce(details["sent"], cast([], JSONB)).op("||")(cast(messages, JSONB))
        noted = details.op("||")(func.jsonb_build_object("sent", sent))
        with self.engine.begin() as connection:
            update = self._runs.update().where(self._runs.c.id == run_id)
            connection.execute(update.values(details=noted))

    def complete(
        self, run_id: int, evidence: Evidence, verdict: Verdict, details: dict[str, str]
    ) -> None:
        """Store a verdict with its tests, and mark the period as reported, in one transaction.

        Args:
            details: where the report and the message are; may quote a mail server.
        """
        period = evidence.period
        own = {
            "since": period.since.isoformat() if period.since else None,
            "until": period.until.isoformat(),
            "asked_for": period.requested,
            "rows": len(evidence.month),
            "sensors": verdict.sensors,
        }
        stored = [column.name for column in self._tests.columns]
        rows = verdict.tests.assign(run_id=run_id).reindex(columns=stored)
        with self.engine.begin() as connection:
            safe_details = {
                name: storable(connection, safe(value)) for name, value in details.items()
            }
            noted = self._runs.c.details.op("||")(cast({**own, **safe_details}, JSONB))
            if len(rows):
                connection.execute(insert(self._tests), records(rows))
            self.journal.complete(
                connection,
                run_id,
                outcome=verdict.status,
                model_version=evidence.version,
                details=noted,
            )


def moment(iso: str) -> pd.Timestamp:
    """A moment in ISO 8601, in UTC where it names no time zone."""
    stamp = pd.Timestamp(iso)
    return stamp.tz_convert("UTC") if stamp.tzinfo else stamp.tz_localize("UTC")
