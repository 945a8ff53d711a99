"""The newest predictions as records, with the laboratory values that have come since."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pandas as pd
from sqlalchemy import Connection, select

from src.components.database.tables import (
    newest_predictions,
    newest_values,
    read_rows,
    tables,
)
from src.components.predictor.judgement import Judgement
from src.soft_sensor import FARTHEST_STAMP, Phase, SoftSensor, Target

LONGEST_KEY = 60  # characters of a key in the name of a page
DAY = 86_400  # s


@dataclass(frozen=True)
class Estimate:
    """What is known of one target, in its unit; NaN where nothing is."""

    target: Target
    value: float
    lower: float
    upper: float
    measured: float = math.nan

    @property
    def beyond(self) -> bool:
        """Whether the value breaks the target's limit."""
        limit = self.target.limit
        return limit is not None and limit.side * (self.value - limit.bound) > 0


@dataclass(frozen=True)
class Result:
    """The newest prediction of a phase.

    Attributes:
        ended: time stamp of its newest row; None for one that is no time.
        verdict: None for a phase that is not judged.
    """

    experiment: int | str
    phase: Phase
    ended: datetime | None
    verdict: Judgement | None
    flags: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    version: str

    @property
    def page(self) -> str:
        """Name of its page."""
        return page_name(self.experiment, self.phase.value)


def page_name(experiment: int | str, phase: int | str) -> str:
    """Name of the page of a phase: the keys, or their digest where they are long."""
    keys = [quote(str(key), safe="").replace("-", "%2D") for key in (experiment, phase)]
    if max(map(len, keys)) > LONGEST_KEY:
        return f"phase-{sha256('-'.join(keys).encode()).hexdigest()[:32]}.html"
    return f"phase-{'-'.join(keys)}.html"


def read_results(
    connection: Connection, spec: SoftSensor, since: float = -math.inf
) -> list[Result]:
    """The newest prediction of each phase that ended after `since` (Unix seconds), oldest first."""
    newest = newest_predictions(tables(spec).archived, spec).subquery()
    ends = [column for target in spec.targets for column in (target.lower, target.upper)]
    names = [*spec.columns.keys, *spec.target_names, *ends]
    names += ["last_timestamp", "verdict", "flags", "model_version"]
    query = select(*(newest.c[name] for name in names)).order_by(newest.c.last_timestamp)
    if since > -math.inf:
        query = query.where(newest.c.last_timestamp > since)
    rows = read_rows(connection, query)
    measured = read_rows(connection, newest_values(tables(spec).laboratory, spec))
    return as_results(rows, measured, spec)


def as_results(rows: pd.DataFrame, measured: pd.DataFrame, spec: SoftSensor) -> list[Result]:
    """Rows of the ledger as records.

    Args:
        measured: laboratory values; the mean of the samples of a phase counts.
    """
    mean = measured.groupby(spec.columns.keys)[spec.target_names].mean()
    known: dict[Any, dict[str, float]] = mean.to_dict("index")  # type: ignore[assignment]
    return [_result(row, known, spec) for row in rows.to_dict("records")]


def newest_end(connection: Connection, spec: SoftSensor, now: datetime) -> float | None:
    """When the newest phase ended (Unix seconds), without those that are dated into the future."""
    ledger = tables(spec).archived
    query = select(ledger.c.last_timestamp).where(
        ledger.c.last_timestamp.between(now.timestamp() - FARTHEST_STAMP, now.timestamp() + DAY)
    )
    newest = connection.scalar(query.order_by(ledger.c.last_timestamp.desc()).limit(1))
    return None if newest is None else float(newest)


def _result(
    row: Mapping[Any, Any], measured: Mapping[Any, dict[str, float]], spec: SoftSensor
) -> Result:
    keys = tuple(row[key] for key in spec.columns.keys)
    values = measured.get(keys, {})
    estimates = []
    for target in spec.targets:
        estimates.append(
            Estimate(
                target,
                value=float(row[target.name]),
                lower=float(row[target.lower]),
                upper=float(row[target.upper]),
                measured=values.get(target.name, math.nan),
            )
        )
    return Result(
        experiment=keys[0],
        phase=spec.phase(keys[1]),
        ended=moment(row["last_timestamp"]),
        verdict=judgement(row["verdict"]),
        flags=tuple(filter(None, (row["flags"] or "").split(","))),
        estimates=tuple(estimates),
        version=row["model_version"] or "",
    )


def judgement(verdict: str | None) -> Judgement | None:
    """A verdict of the ledger; None for an empty one, and for one that this version lacks."""
    return next((known for known in Judgement if known == verdict), None)


def moment(seconds: float) -> datetime | None:
    """A time stamp (Unix seconds) in UTC; None for one that is no time."""
    if pd.isna(seconds) or abs(seconds) > 10 * FARTHEST_STAMP:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def counted(results: Iterable[Result]) -> dict[Judgement, int]:
    """How many phases have each verdict."""
    counts = Counter(result.verdict for result in results)
    return {verdict: counts[verdict] for verdict in Judgement}


def thinned(results: Sequence[Result], place: int, slices: int) -> list[Result]:
    """Few of many results: in each slice of time the lowest, the middle and the highest value.

    Args:
        results: in the order of time.
        place: of the target.
    """
    if len(results) <= 3 * slices:
        return list(results)
    kept = list[Result]()
    for number in range(slices):
        own = results[number * len(results) // slices : (number + 1) * len(results) // slices]
        ordered = sorted(own, key=lambda result: result.estimates[place].value)
        chosen = {0, len(ordered) // 2, len(ordered) - 1}
        kept += sorted((ordered[n] for n in chosen), key=ended)
    return kept


def ended(result: Result) -> float:
    """When a phase ended (Unix seconds); NaN for a time that is none."""
    return result.ended.timestamp() if result.ended else math.nan
