"""Reports on drift, as records: from the journal of runs and the table of their tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from src.components.database.journal import BAD, Journal
from src.components.drift_reporter.status import Status
from src.components.page.source import Source

MONITOR = "monitor"  # in the column `pipeline`
REPORTS = 24


@dataclass(frozen=True)
class Finding:
    """What a report found, in its words.

    Attributes:
        sizes: by how much a sensor is off in each phase; empty where that is not known.
        culprit: title of the sensor that reads wrongly; empty where none is accused.
    """

    alarm: bool
    what: str
    advice: str
    sizes: str
    culprit: str

    @property
    def details(self) -> str:
        """What was found, without the sizes."""
        return self.what.removesuffix(f" ({self.sizes})")


@dataclass(frozen=True)
class Report:
    """A report on a month.

    Attributes:
        status: a `Status`.
        until: end of its newest phase, which is not when it was written.
        sensors: names of those at fault.
        accepted: whether a person has accepted the month as healthy.
        page: where its file was written; empty for one that is not known.
    """

    run_id: int
    status: str
    until: datetime
    sensors: tuple[str, ...]
    findings: tuple[Finding, ...]
    accepted: bool
    page: str

    @property
    def name(self) -> str:
        """Name of its page beside the pages."""
        return f"report-{self.run_id}.html"

    @property
    def healthy(self) -> bool:
        """Whether nothing was found, or a person says that all is well."""
        return self.accepted or self.status == Status.NO_DRIFT

    @property
    def alarm(self) -> bool:
        """Whether a sensor or the model is at fault."""
        return self.status == Status.ALARM and not self.accepted


def read_reports(source: Source, count: int = REPORTS) -> list[Report]:
    """The last completed reports, newest first."""
    runs = Journal(source.engine, source.spec).newest(MONITOR, count)
    return [
        report for run in runs if run["outcome"] not in BAD and (report := _report(run, source))
    ]


def newest_report(source: Source) -> Report | None:
    """The newest report; None before the first."""
    return next(iter(read_reports(source)), None)


def _report(run: Mapping[str, Any], source: Source) -> Report | None:
    """A run of the journal as a report; None where another writer has spoilt it."""
    details = run["details"]
    # A report of an earlier version of IMPRESS knows only until when it was looked.
    end = details.get("last_end", details.get("until"))
    until = pd.to_datetime(end, utc=True, errors="coerce")
    if pd.isna(until):
        return None
    known = {sensor.name for sensor in source.spec.sensors}
    sensors, findings = details.get("sensors"), details.get("findings")
    return Report(
        run_id=run["id"],
        status=str(run["outcome"]),
        until=until.to_pydatetime(),
        sensors=tuple(name for name in _list(sensors) if name in known),
        findings=tuple(_finding(each) for each in _list(findings) if isinstance(each, dict)),
        accepted=bool(details.get("accepted_at")),
        page=str(details.get("report", "")),
    )


def _finding(entry: Mapping[str, Any]) -> Finding:
    texts = [str(entry.get(name, "")) for name in ("what", "advice", "sizes", "culprit")]
    return Finding(entry.get("status") == Status.ALARM, *texts)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
