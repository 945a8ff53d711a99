"""The journal of runs in the database, and the state of the system as it tells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, insert, select, text

from src.components.archive import status_query
from src.components.tables import tables
from src.soft_sensor import SoftSensor


@dataclass(frozen=True)
class Journal:
    """Runs of one installation."""

    engine: Engine
    sensor: SoftSensor

    def record(self, pipeline: str, **columns: Any) -> None:
        """Note a run that has ended now; `columns` are those of the table `runs`."""
        runs = tables(self.sensor).runs
        statement = insert(runs).values(pipeline=pipeline, ended_at=func.now(), **columns)
        with self.engine.begin() as connection:
            connection.execute(statement)

    def newest(self, pipeline: str, count: int = 5) -> list[dict[str, Any]]:
        """The last runs of a pipeline, newest first, as rows of the table `runs`."""
        runs = tables(self.sensor).runs
        query = select(runs).where(runs.c.pipeline == pipeline).order_by(runs.c.id.desc())
        with self.engine.connect() as connection:
            return [dict(run) for run in connection.execute(query.limit(count)).mappings()]

    def inbox(self) -> dict[str, int]:
        """Rows of the inbox by state (see `archive.status_query`), and of the rejected table."""
        names = tables(self.sensor)
        query = f"""
            SELECT state, sum(n_rows)::bigint
            FROM ({status_query(self.sensor, names)}) AS states GROUP BY state"""
        settle = {"settle": self.sensor.prediction.settle_minutes * 60}
        with self.engine.connect() as connection:
            states = {state: int(rows) for state, rows in connection.execute(text(query), settle)}
            rejected = connection.scalar(select(func.count()).select_from(names.rejected))
            archived = connection.scalar(select(func.count()).select_from(names.archived))
        return {**states, "rejected": int(rejected or 0), "predictions": int(archived or 0)}
