"""Windows of the ledger: what was archived in one, before it, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import Engine, Select, case, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from src.components.database.tables import tables
from src.components.drift_reporter.checks import extremes
from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.soft_sensor import SoftSensor


@dataclass(frozen=True)
class Window:
    """Predictions archived after `since` (None: from the beginning) and by `until`.

    `asked_for` is a window of a user's own, whose report does not count as the last one.
    """

    since: pd.Timestamp | None
    until: pd.Timestamp
    asked_for: bool = False

    @property
    def words(self) -> str:
        """The window in words."""
        since = f"after {self.since:%Y-%m-%d %H:%M}" if self.since else "from the beginning"
        return f"{since} until {self.until:%Y-%m-%d %H:%M} UTC"


def read(engine: Engine, spec: SoftSensor, window: Window) -> pd.DataFrame:
    """The newest prediction of every phase that was archived in a window: rows of the ledger."""
    with engine.connect() as connection:
        return pd.read_sql(_newest(spec, window.since, window.until), connection)


def _newest(
    spec: SoftSensor, since: pd.Timestamp | None, until: pd.Timestamp | None
) -> Select[Any]:
    ledger = tables(spec).archived
    keys = [ledger.c[key] for key in spec.columns.keys]
    query = select(ledger).ext(distinct_on(*keys)).order_by(*keys, ledger.c.predicted_at.desc())
    if since is not None:
        query = query.where(ledger.c.predicted_at > since)
    return query.where(ledger.c.predicted_at <= until)


def before(engine: Engine, spec: SoftSensor, window: Window) -> dict[str, Any]:
    """The ledger before a window in numbers, all 0 where there is none.

    Returns:
        `experiments`, `days` from the first to the last phase, `last_timestamp` (Unix seconds),
        `judged` phases and how many of them were left `open`.
    """
    nothing = {"experiments": 0, "days": 0.0, "last_timestamp": 0.0, "judged": 0, "open": 0}
    if window.since is None:
        return nothing
    ledger = _newest(spec, None, window.since).subquery()
    first, last = func.min(ledger.c.first_timestamp), func.max(ledger.c.last_timestamp)
    query = select(
        func.count(ledger.c[spec.columns.experiment].distinct()).label("experiments"),
        ((last - first) / 86_400).label("days"),
        last.label("last_timestamp"),
        func.count(case((ledger.c.verdict != "", 1))).label("judged"),
        func.count(case((ledger.c.verdict == Judgement.UNCERTAIN, 1))).label("open"),
    )
    with engine.connect() as connection:
        found = dict(connection.execute(query).mappings().one())
    return found if found["experiments"] else nothing


def reference(
    engine: Engine, spec: SoftSensor, bundle: Bundle, healthy: list[Window]
) -> pd.DataFrame:
    """What a window is compared with.

    The training rows of a bundle with their out-of-fold predictions, and the rows of healthy
    windows, predicted by the bundle.

    Returns:
        Keys, last_timestamp, features, predictions, and of each sensor `<sensor>_out_of_bounds`
        and `<sensor>_outside_training`, 0 where not, one row a phase.
    """
    names = [sensor.name for sensor in spec.sensors]
    flags = [f"{name}_{flag}" for name in names for flag in ("out_of_bounds", "outside_training")]
    keys = spec.columns.keys
    columns = [*keys, "last_timestamp", *spec.features, *spec.target_names, *flags]
    trained = bundle.reference
    beyond = {
        f"{sensor.name}_outside_training": extremes(trained, spec.features_of(sensor), spec)
        for sensor in spec.sensors
    }
    parts = [pd.concat([trained, pd.DataFrame(beyond)], axis=1).reindex(columns=columns)]
    for window in healthy:
        month = read(engine, spec, window)
        said = month["flags"].fillna("").str.split(",")
        flagged = pd.DataFrame({flag: [flag in words for words in said] for flag in flags})
        month[spec.target_names] = bundle.values(month, spec)[spec.target_names]
        parts.append(pd.concat([month, flagged], axis=1)[columns])
    together = pd.concat(parts, ignore_index=True).drop_duplicates(keys, ignore_index=True)
    together[flags] = together[flags].astype(float).fillna(0)
    return together
