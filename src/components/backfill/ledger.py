"""The ledger as the place for the results of a history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, func, select

from src.components.database.journal import FAILED, Journal
from src.components.database.ledger import append
from src.components.database.locks import BACKFILL_LOCK
from src.components.database.schema import require_fit
from src.components.database.tables import Tables, tables
from src.components.predictor.scoring import Scored
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Ledger:
    """Each unit is one transaction, with a line in the journal."""

    engine: Engine
    spec: SoftSensor

    @cached_property
    def _names(self) -> Tables:
        return tables(self.spec)

    @cached_property
    def journal(self) -> Journal:
        """The runs of the installation."""
        return Journal(self.engine, self.spec)

    @property
    def units(self) -> set[str]:
        """Names of the units that are there."""
        return self.journal.units()

    def write(
        self, name: str, scored: Scored, refused: pd.DataFrame, facts: dict[str, Any]
    ) -> None:
        """Add the phases of a unit that the same model has not predicted from as many rows.

        Args:
            refused: phases that were not scored.
            facts: for the journal.
        """
        with self.engine.begin() as connection:
            # Two workers that do the same unit must not both find that it is not there.
            connection.execute(select(func.pg_advisory_xact_lock(BACKFILL_LOCK)))
            if name in self.units:
                return
            require_fit(connection, [self._names.archived, self._names.runs])
            fresh = self._fresh(connection, scored.ledger)
            run_id = self.journal.note_unit(
                connection,
                outcome="done" if refused.empty else "partial",
                model_version=scored.model_version,
                code_version=facts["code_version"],
                details={"unit": name, "added": len(fresh), **facts},
            )
            if not fresh.empty:
                now = connection.scalar(select(func.now()))
                rows = fresh.assign(run_id=run_id, predicted_at=now)
                rows = rows.merge(
                    self._purged(connection, rows), how="left", on=self.spec.columns.keys
                )
                append(connection, self._names.archived, rows, self.spec)

    def _fresh(self, connection: Connection, scored: pd.DataFrame) -> pd.DataFrame:
        """Those phases that the same model has not predicted from as many rows."""
        import pandas as pd

        if scored.empty:
            return scored
        archived = self._names.archived
        same = [*self.spec.columns.keys, "n_samples", "model_version"]
        experiments = scored[self.spec.columns.experiment].unique().tolist()
        query = select(*(archived.c[name] for name in same)).where(
            archived.c[self.spec.columns.experiment].in_(experiments),
            archived.c["model_version"] == scored["model_version"].iloc[0],
            archived.c["n_samples"].is_not(None),
        )
        there = pd.DataFrame(connection.execute(query).all(), columns=same)
        known = pd.MultiIndex.from_frame(there)
        return scored[~pd.MultiIndex.from_frame(scored[same]).isin(known)]

    def _purged(self, connection: Connection, phases: pd.DataFrame) -> pd.DataFrame:
        """Keys and `purged_at` of phases whose rows have left the inbox: late ones stay late."""
        import pandas as pd

        archived, keys = self._names.archived, self.spec.columns.keys
        columns = [archived.c[key] for key in keys]
        experiments = phases[self.spec.columns.experiment].unique().tolist()
        query = (
            select(*columns, func.max(archived.c.purged_at))
            .where(archived.c[self.spec.columns.experiment].in_(experiments))
            .group_by(*columns)
            .having(func.max(archived.c.purged_at).is_not(None))
        )
        rows = connection.execute(query).all()
        return pd.DataFrame(rows, columns=[*keys, "purged_at"]).astype(
            {key: phases[key].dtype for key in keys}
        )

    def note_failure(self, name: str, facts: dict[str, Any]) -> None:
        """Record that a unit could not be done."""
        with self.engine.begin() as connection:
            self.journal.note_unit(
                connection,
                outcome=FAILED,
                code_version=facts["code_version"],
                details={"unit": name, **facts},
            )

    def close(self, names: Collection[str], facts: dict[str, Any]) -> None:
        """Nothing is left to do: the ledger keeps the predictions of earlier models, too."""
