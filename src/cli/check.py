"""`impress check`: is everything in place before the first week, and at any time after?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Engine, text

from src.cli.console import stamp
from src.components.database import schema
from src.components.database.connection import connect, database_exists
from src.components.emailer import outbox
from src.components.inbox import partitions, raw_archive
from src.components.inbox.states import Inbox
from src.components.registry import cache
from src.components.registry.production import production
from src.components.registry.versions import Registry
from src.components.transformation.training_table import GROUP
from src.errors import advice
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)

SKEW = 60.0  # s between the clocks of this machine and of the database that count


class Grade(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line of the result.

    Attributes:
        subject: what was looked at.
        words: what was found, and for anything but OK what to do.
    """

    subject: str
    grade: Grade
    words: str


Findings = Iterator[tuple[Grade, str]]


def look(settings: Settings, data_set: Path) -> list[Finding]:
    """Look at everything that a run needs, whatever is wrong with the rest.

    Args:
        data_set: folder of the training data, which need not exist.
    """
    found = _look("params", lambda: _params(settings))
    checks: dict[str, Callable[[], Findings]] = {
        "mail": lambda: _mail(settings),
        "raw archive": lambda: _archive(settings),
    }
    if found[0].grade == Grade.OK:
        spec = load_soft_sensor(settings.impress_params)
        checks = {
            "database": lambda: _database(settings, spec),
            "registry": lambda: _registry(settings, spec),
            **checks,
            "data set": lambda: _data_set(data_set, settings, spec),
        }
    for subject, check in checks.items():
        found += _look(subject, check)
    return found


def _look(subject: str, check: Callable[[], Findings]) -> list[Finding]:
    """The findings of one check; an error is a fault, so that the other checks are made, too."""
    found = []
    try:
        for grade, words in check():
            found.append(Finding(subject, grade, words))
    except Exception as error:  # pylint: disable=broad-exception-caught  # it is what is looked for
        logger.info("traceback:", exc_info=True, extra={"file_only": True})
        line = advice(error) or f"{type(error).__name__}: {error}"
        found.append(Finding(subject, Grade.FAULT, line))
    return found


def _params(settings: Settings) -> Findings:
    spec = load_soft_sensor(settings.impress_params)
    yield Grade.OK, (
        f"{settings.impress_params}: {spec.name} with {len(spec.sensors)} sensors, "
        f"{len(spec.targets)} targets, {len(spec.phases)} phases"
    )


def _database(settings: Settings, spec: SoftSensor) -> Findings:
    if not database_exists(settings):
        yield Grade.WARNING, "there is none yet: set DB_HOSTNAME, or run `impress init`"
        return
    with connect(settings) as engine:
        with engine.connect() as connection:
            version = connection.scalar(text("SHOW server_version"))
            theirs = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())"))
        where = settings.db_hostname or "embedded"
        yield Grade.OK, f"PostgreSQL {version}, {where}"
        behind = datetime.now(UTC).timestamp() - float(theirs or 0)
        if abs(behind) > SKEW:
            yield Grade.WARNING, (
                f"its clock and that of this machine differ by {abs(behind):.0f} s: correct one"
            )
        yield from _tables(engine, spec)


def _tables(engine: Engine, spec: SoftSensor) -> Findings:
    faults = schema.misfits(engine, spec)
    yield from ((Grade.FAULT, fault) for fault in faults)
    if lacking := schema.missing(engine, spec):
        shown = ", ".join(lacking[:5]) + (" ..." if len(lacking) > 5 else "")
        yield Grade.WARNING, f"{shown} missing: run `impress init`"
    if faults or lacking:
        return
    with engine.connect() as connection:
        inbox = Inbox(connection, spec)
        counts = inbox.counts()
        ahead = inbox.doubtful_clocks()
        doubts = partitions.doubts(inbox)
    rows = sum(counts.values()) - counts["rejected"] - counts["predictions"]
    yield Grade.OK, f"all tables fit; {rows} rows in the inbox, {counts['predictions']} predictions"
    if ahead:
        newest = stamp(ahead[0]["last_timestamp"])
        yield Grade.WARNING, (
            f"rows are stamped {newest} and came before: correct the rig's clock or time zone"
        )
    if counts["rejected"]:
        yield Grade.WARNING, f"{counts['rejected']} rows are rejected: see `impress rejected`"
    yield from ((Grade.WARNING, doubt) for doubt in doubts)


def _registry(settings: Settings, spec: SoftSensor) -> Findings:
    registry = Registry(settings, spec.name)
    version = production(registry)
    if version is None:
        yield Grade.WARNING, (
            f"no version of {spec.name} is Production: run `impress train` and `impress promote`"
        )
        return
    cache.fetch(registry, version.number).check_contract(spec)
    yield Grade.OK, f"version {version.number} of {spec.name} is Production and fits params.yaml"


def _mail(settings: Settings) -> Findings:
    transport = outbox.choose(settings)
    try:
        transport.check()
    except (OSError, ValueError) as error:
        yield Grade.FAULT, (
            f"{transport.name} did not let us in ({type(error).__name__}: {error}): check "
            f"{transport.suspects(error)}"
        )
        return
    if transport.delivers:
        yield Grade.OK, f"{transport.name}, to {settings.email_recipient}"
    else:
        yield Grade.WARNING, (
            f"nobody is sent a mail, it goes to the {transport.name}: set SMTP_HOST"
        )


def _archive(settings: Settings) -> Findings:
    if settings.raw_archive is None:
        yield Grade.OK, "none: raw rows are removed after their retention time (RAW_ARCHIVE)"
        return
    raw_archive.check(settings.raw_archive)
    yield Grade.OK, f"{settings.raw_archive} can be written"


def _data_set(folder: Path, settings: Settings, spec: SoftSensor) -> Findings:
    if not folder.is_dir():
        yield Grade.OK, f"{folder} does not exist, and only training needs it"
        return
    from src.components.backfill.training import opened
    from src.components.predictor.risk import groups_needed
    from src.pipelines.train_pipeline import prepare

    with opened(str(folder), spec, settings.artifacts / "converted") as data:
        table, _ = prepare(data, spec)
    groups = table[GROUP].nunique()
    yield Grade.OK, f"{folder}: {len(table)} analysed phases of {groups} groups"
    coverage = spec.training.coverage
    if groups < groups_needed(1 - coverage):
        yield Grade.WARNING, (
            f"{groups} groups are too few for intervals that cover {coverage:.0%}, so they will "
            "reach over the whole range: have more experiments analysed"
        )
