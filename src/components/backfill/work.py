"""One unit: from its features to its results, or to the reason why there are none."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from src.components.backfill.admission import admit
from src.components.backfill.engine import Engine, features_of
from src.components.backfill.rows import damaged_files, first_line
from src.components.backfill.survey import FILE, N_ROWS, Survey
from src.components.backfill.units import Unit
from src.components.predictor.scoring import MAY_LACK_ROWS, Scored, Served, score
from src.errors import DataError
from src.progress import step
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

logger = logging.getLogger(__name__)


class Target(Protocol):
    """Where results go; a unit is there as a whole or not at all."""

    @property
    def units(self) -> set[str]:
        """Names of the units that are there."""

    def write(
        self, name: str, scored: Scored, refused: pd.DataFrame, facts: dict[str, Any]
    ) -> None:
        """Write the results of a unit; `facts` are for its record."""

    def note_failure(self, name: str, facts: dict[str, Any]) -> None:
        """Record that a unit could not be done."""

    def close(self, names: Collection[str], facts: dict[str, Any]) -> None:
        """All of these units are there, and no others count."""


@dataclass(frozen=True)
class Counts:
    """What became of the rows of units.

    Attributes:
        rows: all: those of phases that were scored (`scored_rows`) and refused (`refused_rows`),
            those in damaged files (`unread_rows`), and the others, which the rig has marked as
            invalid.
        phases: scored ones.
        refused: phases without a prediction, by reason.
        damaged: files that were skipped as they cannot be read to their end, and why.
    """

    rows: int = 0
    scored_rows: int = 0
    refused_rows: int = 0
    unread_rows: int = 0
    phases: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        invalid = self.rows - self.scored_rows - self.refused_rows - self.unread_rows
        unread = f"{self.unread_rows:,} in damaged files + " if self.unread_rows else ""
        return (
            f"{self.rows:,} rows = {self.scored_rows:,} scored + {self.refused_rows:,} refused + "
            f"{unread}{invalid:,} invalid; {self.phases:,} phases scored"
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            rows=self.rows + other.rows,
            scored_rows=self.scored_rows + other.scored_rows,
            refused_rows=self.refused_rows + other.refused_rows,
            unread_rows=self.unread_rows + other.unread_rows,
            phases=self.phases + other.phases,
            refused=dict(Counter(self.refused) + Counter(other.refused)),
            damaged=sorted({*self.damaged, *other.damaged}),
        )


@dataclass(frozen=True)
class Work:
    """What all units of a history have in common.

    Attributes:
        facts: about the run, for the records of its units.
        skip_unreadable: score phases although an unreadable file may hold more of their rows; they
            get a flag.
    """

    history: Survey
    engine: Engine
    model: Served
    spec: SoftSensor
    facts: dict[str, Any]
    skip_unreadable: bool = False

    def do(self, units: Sequence[Unit], target: Target, jobs: int) -> tuple[Counts, list[str]]:
        """Do the units that are not there.

        A unit that fails is recorded, and the next one begins.

        Args:
            jobs: units at a time.

        Returns:
            What became of their rows, and why units failed.
        """
        there = target.units
        todo = [unit for unit in units if unit.name not in there]
        rows = sum(unit.rows for unit in todo)
        logger.info("%d units are to be done, %d are there", len(todo), len(units) - len(todo))
        counts, failures = Counts(), []
        with step("scoring rows", rows) as advance:
            for unit, table in features_of(self.engine, todo, jobs):
                try:
                    counts += self._do(unit, table, target)
                except Exception as error:  # pylint: disable=broad-exception-caught  # see above
                    failures.append(f"experiments {unit.first} to {unit.last}: {first_line(error)}")
                    logger.error("%s", failures[-1])
                    logger.info("traceback:", exc_info=True, extra={"file_only": True})
                    failure = {**unit.made_from, **self.facts, "error": first_line(error)}
                    target.note_failure(unit.name, failure)
                advance(unit.rows)
        return counts, failures

    def _do(self, unit: Unit, table: pa.Table | Exception, target: Target) -> Counts:
        scored, refused, counts = self._score(unit, table)
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        record = {**unit.made_from, **self.facts, **asdict(counts), "ended_at": ended}
        target.write(unit.name, scored, refused, record)
        logger.info("experiments %s to %s: %s", unit.first, unit.last, counts)
        return counts

    def _score(
        self, unit: Unit, table: pa.Table | Exception
    ) -> tuple[Scored, pd.DataFrame, Counts]:
        """Score a unit.

        Args:
            table: its features, or the error that they ended with.

        Returns:
            What was scored; keys, n_samples and `reason` of the other phases; and the counts.

        Raises:
            DataError: when one of its files cannot be read.
        """
        import pandas as pd

        rows, damaged = unit.rows, list[str]()
        if isinstance(table, Exception):
            whole, unit = unit, self._without_damaged(unit, table)
            damaged = [str(gap) for gap in unit.gaps[len(whole.gaps) :]]
            if not unit.files:
                nothing = pd.DataFrame(columns=[*self.spec.columns.keys, "reason"])
                scored = Scored(self.model.version, nothing, nothing)
                return scored, nothing, Counts(rows=rows, unread_rows=rows, damaged=damaged)
            table = self.engine.features(unit)
        features, refused = admit(table, unit, self.spec)
        if not self.skip_unreadable and features[MAY_LACK_ROWS].any():
            raise DataError(f"{_words(unit)}: repair it, or use --skip-unreadable")
        scored = score(features, self.model, self.spec)
        sizes = features[[*self.spec.columns.keys, "n_samples"]]
        unsound = scored.refused.merge(sizes, on=self.spec.columns.keys)
        refused = pd.concat([refused, unsound[refused.columns]], ignore_index=True)
        counts = Counts(
            rows=rows,
            unread_rows=rows - unit.rows,
            scored_rows=int(scored.ledger["n_samples"].sum()) if len(scored.ledger) else 0,
            refused_rows=int(refused["n_samples"].sum()),
            phases=len(scored.ledger),
            refused={str(key): int(n) for key, n in refused["reason"].value_counts().items()},
            damaged=damaged,
        )
        return scored, refused, counts

    def _without_damaged(self, unit: Unit, error: Exception) -> Unit:
        """A unit that failed, without those of its files that cannot be read to their end.

        Raises:
            DataError: when there are such files and they may not be skipped.
            Exception: the error, when there are none.
        """
        broken = damaged_files(self.history.source, unit.files, self.spec)
        if not broken:
            raise error
        beside = replace(unit, gaps=(*unit.gaps, *broken))
        if not self.skip_unreadable:
            raise DataError(f"{_words(beside)}: repair it, or use --skip-unreadable") from error
        for each in broken:
            logger.warning("skipped: %s", each)
        paths = {each.path for each in broken}
        files = tuple(each for each in unit.files if each.file.path not in paths)
        counts = self.history.counts
        places = [
            place for place, each in enumerate(self.history.files) if each.file.path not in paths
        ]
        inside = counts[self.spec.columns.experiment].between(unit.first, unit.last)
        rows = int(counts.loc[inside & counts[FILE].isin(places), N_ROWS].sum())
        return replace(beside, files=files, rows=rows)


def _words(unit: Unit) -> str:
    return "; ".join(f"{gap.path} cannot be read ({gap.why})" for gap in unit.gaps)
