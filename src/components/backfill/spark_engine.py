"""Features of units by Spark SQL, on a cluster or on this machine.

One row comes back for each phase, so the model stays here: workers need neither Python nor the
packages of a bundle.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import count
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from src.components.backfill.layout import SECONDS, Layout
from src.components.backfill.units import Unit
from src.components.transformation.features import features_query
from src.errors import SettingsError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

SETTINGS = {
    "spark.sql.ansi.enabled": "true",
    "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    "spark.sql.session.timeZone": "UTC",
    # Spark has no type for nanoseconds and would refuse a file with any.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
}
CONNECT = "sc://"  # how the address of a Spark Connect server begins
PORT = 15002  # of such a server, by default
TIMEOUT = 30.0  # s, for its answer


@dataclass(frozen=True)
class Spark:
    """Computes a unit by one query of a session."""

    session: SparkSession
    spec: SoftSensor
    _numbers: Iterator[int]

    def features(self, unit: Unit) -> pa.Table:
        """See `Engine`."""
        kinds = sorted({each.layout for each in unit.files})
        rows: DataFrame = reduce(lambda a, b: a.unionAll(b), (self._rows(unit, k) for k in kinds))
        experiment = rows[self.spec.columns.experiment]
        chosen = (
            experiment.between(unit.first, unit.last)
            if unit.only is None
            else experiment.isin(list(unit.only))
        )
        view = f"history_{next(self._numbers)}"
        rows.where(chosen).createTempView(view)
        try:
            return self.session.sql(features_query(self.spec, view)).toArrow()
        finally:
            self.session.catalog.dropTempView(view)

    def _rows(self, unit: Unit, kind: Layout) -> DataFrame:
        from pyspark.sql.functions import expr

        paths = [address_of(each.path) for each in unit.files if each.layout == kind]
        rows = self.session.read.parquet(*paths)
        stamp = self.spec.columns.timestamp
        place = self.spec.required_columns.index(stamp)
        if SECONDS in kind[place].expression and dict(rows.dtypes)[stamp] == "bigint":
            rows = rows.withColumn(stamp, expr(f'timestamp_micros("{stamp}" DIV 1000)'))
        return rows.selectExpr(*(each.expression for each in kind))

    def interrupt(self) -> None:
        """End all jobs of the session."""
        self.session.interruptAll()


@contextmanager
def spark(master: str, options: dict[str, str], spec: SoftSensor) -> Iterator[Spark]:
    """A session on a cluster.

    Args:
        master: sc://host:port of a Spark Connect server, or what Spark takes as a master:
            spark://..., local[*], yarn, k8s://...
        options: settings of the session, by name.

    Raises:
        SettingsError: when nothing answers at the address of a Spark Connect server.
    """
    from pyspark.sql import SparkSession

    builder: Any = SparkSession.builder.appName("impress backfill")
    with ExitStack() as scratch:
        if master.startswith(CONNECT):
            require_answer(master)
            builder = builder.remote(master)
        else:
            # Spark makes this folder, in the present one by default, although there are no tables.
            warehouse = scratch.enter_context(TemporaryDirectory(prefix="impress-spark-"))
            builder = builder.master(master).config("spark.sql.warehouse.dir", warehouse)
            builder = builder.config("spark.ui.showConsoleProgress", "false")
        for name, value in {**options, **SETTINGS}.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        scratch.callback(session.stop)
        session.sql(
            f"CREATE OR REPLACE TEMPORARY FUNCTION {SECONDS}(moment TIMESTAMP) RETURNS DOUBLE "
            "RETURN unix_micros(moment) / 1e6D"
        )
        yield Spark(session, spec, count())


def require_answer(master: str) -> None:
    """Raise SettingsError when nothing listens at the address of a Spark Connect server.

    Its client would try for ten minutes.
    """
    place = urlsplit(master)
    try:
        socket.create_connection((place.hostname or "", place.port or PORT), TIMEOUT).close()
    except OSError as error:
        raise SettingsError(
            f"no Spark Connect server answers at {place.netloc} ({error}): check --master, and "
            "that the server is running"
        ) from error


def address_of(path: str) -> str:
    """A path as Spark names it: S3 is read by Hadoop's own client, and some signs are patterns."""
    scheme, _, rest = path.rpartition("://")
    scheme = {"": "file", "s3": "s3a"}.get(scheme, scheme)
    return f"{scheme}://" + re.sub(r"([\\\[\]{}*?])", r"\\\1", rest)
