"""Features of units by Spark SQL, on a cluster or on this machine.

One row comes back for each phase, so the model stays here: workers need neither Python nor the
packages of a bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import count
from typing import TYPE_CHECKING, Any

from src.components.backfill.layout import SECONDS
from src.components.backfill.units import Unit
from src.components.transformation.features import features_query
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

SETTINGS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.session.timeZone": "UTC",
}
CONNECT = "sc://"  # how the address of a Spark Connect server begins


@dataclass(frozen=True)
class Spark:
    """Computes a unit by one query of a session."""

    session: SparkSession
    spec: SoftSensor
    _numbers: Iterator[int]

    def features(self, unit: Unit) -> pa.Table:
        """See `Engine`."""
        experiment = self.spec.columns.experiment
        kinds = sorted({each.layout for each in unit.files})
        rows: DataFrame = reduce(lambda a, b: a.unionAll(b), (self._rows(unit, k) for k in kinds))
        view = f"history_{next(self._numbers)}"
        rows.where(rows[experiment].between(unit.first, unit.last)).createTempView(view)
        try:
            return self.session.sql(features_query(self.spec, view)).toArrow()
        finally:
            self.session.catalog.dropTempView(view)

    def _rows(self, unit: Unit, kind: tuple[str, ...]) -> DataFrame:
        paths = [_address(each.path) for each in unit.files if each.layout == kind]
        return self.session.read.parquet(*paths).selectExpr(*kind)

    def interrupt(self) -> None:
        """End all jobs of the session."""
        if hasattr(self.session, "interruptAll"):
            self.session.interruptAll()


@contextmanager
def spark(master: str, options: dict[str, str], spec: SoftSensor) -> Iterator[Spark]:
    """A session on a cluster.

    Args:
        master: sc://host:port of a Spark Connect server, or what Spark takes as a master:
            spark://..., local[*], yarn, k8s://...
        options: settings of the session, by name.
    """
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder.appName("impress backfill")
    builder = builder.remote(master) if master.startswith(CONNECT) else builder.master(master)
    for name, value in {**options, **SETTINGS}.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        session.sql(
            f"CREATE OR REPLACE TEMPORARY FUNCTION {SECONDS}(moment TIMESTAMP) RETURNS DOUBLE "
            "RETURN unix_micros(moment) / 1e6D"
        )
        yield Spark(session, spec, count())
    finally:
        session.stop()


def _address(path: str) -> str:
    """A path as Spark names it: S3 is read by Hadoop's own client."""
    return f"s3a{path[2:]}" if path.startswith("s3://") else path
