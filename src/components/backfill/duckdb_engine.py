"""Features of units by DuckDB, on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.components.backfill.rows import database, rows_of
from src.components.backfill.source import Source
from src.components.backfill.units import Unit
from src.components.ingestion.cells import literal
from src.components.transformation.features import features_query
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


@dataclass(frozen=True)
class DuckDB:
    """Computes each unit on one core.

    Threads of one query would add the values of a phase in an order that differs from run to run,
    and so the last digits of means and deviations; units are computed side by side instead.
    """

    source: Source
    spec: SoftSensor
    _open: set[duckdb.DuckDBPyConnection] = field(default_factory=set)

    def features(self, unit: Unit) -> pa.Table:
        """See `Engine`; one core, and about 250 bytes of memory for each row of the unit."""
        experiment = self.spec.columns.experiment
        rows = rows_of(unit.files, self.spec.required_columns, self.spec)
        with database(self.source) as connection:
            self._open.add(connection)
            try:
                connection.execute("SET threads = 1")
                connection.execute(
                    f"CREATE VIEW history AS SELECT * FROM ({rows}) "
                    f'WHERE "{experiment}" {_chosen(unit)}'
                )
                return connection.sql(features_query(self.spec, "history")).to_arrow_table()
            finally:
                self._open.remove(connection)

    def interrupt(self) -> None:
        """End all queries."""
        for connection in list(self._open):
            connection.interrupt()


def _chosen(unit: Unit) -> str:
    """SQL: what follows the experiment in the condition that a row belongs to a unit."""
    if unit.only is None:
        return f"BETWEEN {literal(unit.first)} AND {literal(unit.last)}"
    return f"IN ({', '.join(literal(each) for each in unit.only)})"
