"""The log of reports: which periods were reported, with which verdict, and what was mailed.

It is kept in the journal of runs (`runs`) and in `monitoring_tests`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine, Table, cast, func, insert, select
from sqlalchemy.dialects.postgresql import JSONB

from src.components.database.connection import storable
from src.components.database.journal import BAD, Journal
from src.components.database.locks import LOCK, REPORT_LOCK
from src.components.database.tables import read_rows, records, tables
from src.components.drift_reporter.evidence import Earlier, Evidence, Period
from src.components.drift_reporter.findings import Finding
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict
from src.errors import DataError
from src.safe_text import safe
from src.soft_sensor import SoftSensor

PIPELINE = "monitor"
REPORTS = 24  # earlier ones that are looked back on


@dataclass(frozen=True)
class _Report:
    """A completed run, even if it had too few rows."""

    run_id: int
    outcome: str
    model_version: str | None
    period: Period
    details: dict[str, Any]

    @property
    def counts(self) -> bool:
        """Whether it counts as a report.

        With too few rows it does not, so the next one includes the rows, unless a person has
        accepted them as they are.
        """
        return self.outcome != Status.TOO_FEW or self.accepted

    @property
    def accepted(self) -> bool:
        """Whether a person has accepted the period as healthy."""
        return bool(self.details.get("accepted_at"))


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

    def _reports(self, connection: Connection) -> list[_Report]:
        """Completed runs, oldest first, without those whose period another writer has spoilt."""
        runs = self._runs
        query = (
            select(runs.c.id, runs.c.outcome, runs.c.model_version, runs.c.details)
            .where(runs.c.pipeline == PIPELINE, runs.c.outcome.not_in(BAD))
            .order_by(runs.c.id)
        )
        reports = []
        for run in connection.execute(query):
            period = _reported_period(run.details)
            if period is not None:
                reports.append(_Report(run.id, run.outcome, run.model_version, period, run.details))
        return reports

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
        tomorrow = connection.execute(select(func.now())).scalar_one() + timedelta(days=1)
        ends = [
            report.period.until
            for report in self._reports(connection)
            if report.counts and not report.period.requested
        ]
        # One that another writer has dated into the future would end all reporting until then.
        return max((end for end in ends if end < tomorrow), default=None)

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
            accepted = self._accepted(connection, period, version)
            return Earlier(
                accepted=[report.period for report in accepted],
                tests=self._earlier_tests(connection, period),
                alarms=[
                    report.period for report in accepted if report.outcome == Status.ALARM.value
                ],
            )

    def _accepted(self, connection: Connection, period: Period, version: str) -> list[_Report]:
        return [
            report
            for report in self._before(connection, period)
            if report.model_version == version and report.accepted
        ]

    def _before(self, connection: Connection, period: Period) -> list[_Report]:
        """Completed runs whose periods ended before this one began, oldest first."""
        since = period.since
        if since is None:
            return []
        return [report for report in self._reports(connection) if report.period.until <= since]

    def _earlier_tests(self, connection: Connection, period: Period) -> pd.DataFrame:
        """See `Earlier.tests`; for each period those of its newest report."""
        newest = {
            report.period.until: report.run_id
            for report in self._before(connection, period)
            if report.counts
        }
        last = sorted(newest)[-REPORTS:]
        run_ids = [newest[until] for until in last]
        query = select(self._tests).where(self._tests.c.run_id.in_(run_ids))
        table = read_rows(connection, query.order_by(self._tests.c.p))
        untils = {run_id: until for until, run_id in newest.items()}
        until = pd.to_datetime(table["run_id"].map(untils), utc=True)
        return table.assign(until=until).sort_values("until", kind="stable", ignore_index=True)

    def accept(self, report: int | None, healthy: bool) -> str:
        """Record that a person found the period of a report healthy, or withdraw that.

        Args:
            report: id of the run, the newest report by default.

        Returns:
            One line that says what was done.

        Raises:
            DataError: when there is no such report.
        """
        with self.engine.begin() as connection:
            reports = [each for each in self._reports(connection) if report in (None, each.run_id)]
            if not reports:
                raise DataError(
                    f"there is no report {report or ''}: `impress status` lists the last ones"
                )
            newest = reports[-1]
            details = {key: value for key, value in newest.details.items() if key != "accepted_at"}
            if healthy:
                now = connection.execute(select(func.now())).scalar_one()
                details["accepted_at"] = now.isoformat()
            update = self._runs.update().where(self._runs.c.id == newest.run_id)
            connection.execute(update.values(details=details))
        counts = "counts as healthy from now on" if healthy else "no longer counts as healthy"
        until = newest.period.until.isoformat()
        return f"report {newest.run_id} ({newest.outcome}), until {until}, {counts}"

    def complete(  # pylint: disable=too-many-arguments
        self,
        run_id: int,
        evidence: Evidence,
        verdict: Verdict,
        details: dict[str, str],
        *,
        findings: list[Finding],
    ) -> None:
        """Store a verdict with its tests, and mark the period as reported, in one transaction.

        Args:
            details: where the report and the message are; may quote a mail server.
            findings: the verdict in words, for the pages.
        """
        period = evidence.period
        own = {
            "since": period.since.isoformat() if period.since else None,
            "until": period.until.isoformat(),
            "last_end": evidence.last_end.isoformat(),
            "asked_for": period.requested,
            "rows": len(evidence.month),
            "sensors": verdict.sensors,
            "onsets": {
                name: onset.isoformat()
                for name, onset in verdict.onsets.items()
                if onset is not None and name in verdict.sensors
            },
        }
        stored = [column.name for column in self._tests.columns]
        rows = verdict.tests.assign(run_id=run_id).reindex(columns=stored)
        with self.engine.begin() as connection:
            safe_details = {
                name: storable(connection, safe(value)) for name, value in details.items()
            }
            worded = [
                {name: storable(connection, safe(text)) for name, text in finding.words.items()}
                for finding in findings
            ]
            all_details = {**own, **safe_details, "findings": worded}
            noted = self._runs.c.details.op("||")(cast(all_details, JSONB))
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


def _reported_period(details: Any) -> Period | None:
    """The period in the details of a run; None when it cannot be read."""
    if not isinstance(details, dict):
        return None
    since, until = details.get("since"), details.get("until")
    if not isinstance(until, str) or not isinstance(since, str | None):
        return None
    try:
        return Period(
            since=None if since is None else moment(since),
            until=moment(until),
            requested=details.get("asked_for") is not False,
        )
    except ValueError:  # not a time
        return None
