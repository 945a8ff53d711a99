"""One page that lists all rigs, those that need somebody first."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.findings import Finding, certainty
from src.components.drift_reporter.rigs import REFERENCE_DAYS, RigMonth
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import KINDS, PACKAGE, Summary
from src.components.emailer.page import BAD, GOOD, OPEN, render
from src.language import UNKNOWN, Language
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

SIGNS = {Status.ALARM: BAD, Status.NO_DRIFT: GOOD}  # the others are OPEN
PAGE = "rigs.html"
DETAILED = 50  # rigs in alarm whose findings are shown in full
NAMED = 5  # rigs in alarm that another report names


@dataclass(frozen=True)
class RigsReport:
    """A month of many rigs.

    Attributes:
        rigs: those that need somebody first.
    """

    period: Period
    rigs: list[RigMonth]
    spec: SoftSensor

    @property
    def alarms(self) -> list[RigMonth]:
        """Rigs in alarm."""
        return [rig for rig in self.rigs if rig.status == Status.ALARM]

    @property
    def headline(self) -> str:
        """How many rigs need somebody."""
        count = len(self.alarms)
        return Language(self.spec.language).say(
            (
                "{count:,} of {rigs:,} rigs needs somebody"
                if count == 1
                else "{count:,} of {rigs:,} rigs need somebody"
            ),
            count=count,
            rigs=len(self.rigs),
        )

    def added_to(self, summary: Summary) -> Summary:
        """A summary of all rigs together that begins with what is found here."""
        finding = self.finding()
        if finding is None:
            return summary
        return replace(summary, findings=[finding, *summary.findings])

    def finding(self) -> Finding | None:
        """What a report on all rigs together says of them; None where none is in alarm."""
        if not self.alarms:
            return None
        language = Language(self.spec.language)
        named = [f"{rig.rig or UNKNOWN}: {self.outcome(rig)}" for rig in self.alarms[:NAMED]]
        return Finding(
            status=Status.ALARM,
            what="; ".join([self.headline, *named]),
            certainty=certainty(self.spec.monitoring.alarm, language),
            advice=language.say(
                "Open {page} beside this report: for each of them it says what to do.", page=PAGE
            ),
        )

    def write(self, folder: Path) -> Path:
        """Write the page into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / PAGE
        file.write_text(self.html(), encoding="utf-8")
        logger.info("rigs: %s", file)
        return file

    def html(self) -> str:
        """The page."""
        language = Language(self.spec.language)
        return render(
            PACKAGE,
            "rigs.html.j2",
            language,
            report=self,
            kinds=KINDS,
            detailed=DETAILED,
            since=language.day(self.period.since) if self.period.since else "",
            until=language.day(self.period.until),
            days=REFERENCE_DAYS,
            chance=language.percent(self.spec.monitoring.alarm),
            rows=[self._row(rig, language) for rig in self.rigs],
        )

    def _row(self, rig: RigMonth, language: Language) -> tuple[str, ...]:
        def share(count: int) -> str:
            return language.percent(count / rig.judged) if rig.judged else ""

        return (
            f"{SIGNS.get(rig.status, OPEN)} {rig.rig or UNKNOWN}",
            self.outcome(rig),
            language.number(rig.phases),
            share(rig.not_clean),
            share(rig.uncertain),
        )

    def outcome(self, rig: RigMonth) -> str:
        """What became of a rig, in a few words."""
        language = Language(self.spec.language)
        if rig.is_silent:
            return language.say("silent: no phase, {before:,} before", before=rig.before)
        status = language.say(str(rig.status))
        if rig.sensors:
            return f"{status}: {', '.join(rig.sensors)}"
        return f"{status}: {rig.findings[0].what}" if rig.findings else status

    def figures(self) -> dict[str, Any]:
        """For other programs."""
        since = self.period.since
        return {
            "since": since.isoformat() if since else None,
            "until": self.period.until.isoformat(),
            "rigs": [{**asdict(rig), "silent": rig.is_silent} for rig in self.rigs],
        }
