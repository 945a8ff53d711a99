"""What is to be done with a history, and what became of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from src.components.backfill.duckdb_engine import DuckDB
from src.components.backfill.engine import Engine
from src.components.backfill.source import Source
from src.components.backfill.spark_engine import spark
from src.components.backfill.survey import Survey
from src.components.backfill.units import Share
from src.components.backfill.work import Counts
from src.soft_sensor import SoftSensor

UNIT_ROWS = 5_000_000


@dataclass(frozen=True)
class Order:  # pylint: disable=too-many-instance-attributes  # the options of a command
    """What a user asks for.

    Attributes:
        source: folder, pattern or file; local or on S3.
        out: folder for the results; None for the ledger.
        version: of the model, by default the one in production.
        master: of Spark; None for DuckDB on this machine.
        spark: settings of the Spark session.
        unit_rows: about how many rows a unit has.
        jobs: units at a time.
        skip_unreadable: score phases although an unreadable file may hold more of their rows.
    """

    source: str
    out: str | None
    version: str | None = None
    master: str | None = None
    spark: dict[str, str] = field(default_factory=dict)
    unit_rows: int = UNIT_ROWS
    jobs: int = 1
    share: Share = Share()
    skip_unreadable: bool = False

    @property
    def engine_name(self) -> str:
        """What computes the features, for records."""
        return "duckdb" if self.master is None else "spark"

    def engine(self, source: Source, spec: SoftSensor) -> AbstractContextManager[Engine]:
        """What computes the features."""
        if self.master is None:
            return nullcontext(DuckDB(source, spec))
        return spark(self.master, self.spark, spec)


@dataclass(frozen=True)
class Summary:
    """What became of a history.

    Attributes:
        counts: of the units that this run has done.
        failures: why units of this run failed.
        units, missing: all units of the history, and those of them that are not there.
        skipped: whether files that cannot be read were to be skipped.
    """

    history: Survey
    counts: Counts
    failures: list[str]
    units: int
    missing: int
    skipped: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether a unit could not be done, or a file not be read that was not to be skipped."""
        return bool(self.failures or (self.history.unreadable and not self.skipped))

    def figures(self) -> dict[str, Any]:
        """For other programs."""
        return {
            **self.history.facts,
            "units": self.units,
            "missing": self.missing,
            **vars(self.counts),
            "failures": self.failures,
        }
