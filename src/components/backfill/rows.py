"""Reading the rows of a history's Parquet files with DuckDB."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from src.components.backfill.layout import SECONDS, Layout
from src.components.backfill.source import Source, SourceFile
from src.components.ingestion.cells import file_literal
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

# The least and greatest value in a footer take no account of NaN; by default DuckDB concludes from
# them that there is none, and that a condition holds for all rows (duckdb/duckdb issue 25521).
READ = "filename = 'impress_path', hive_partitioning = false, can_have_nan = true"


@dataclass(frozen=True)
class Readable:
    """A file whose footer is right.

    Attributes:
        path: where its rows are: itself, or a copy of a CSV file as Parquet.
    """

    file: SourceFile
    path: str
    layout: Layout


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read, and when its rows may have been recorded.

    Attributes:
        beside: paths of the readable files that have rows near that time.
        begin, end: Unix seconds: between the rows of those.
    """

    path: str
    why: str
    beside: tuple[str, ...] = ()
    begin: float = -math.inf
    end: float = math.inf

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@contextmanager
def database(source: Source) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB database that can read the files of a history."""
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE MACRO {SECONDS}(moment) AS epoch(moment)")
        if source.is_remote:
            connection.register_filesystem(source.filesystem)
        yield connection


def rows_of(files: Sequence[Readable], columns: Sequence[str], spec: SoftSensor) -> str:
    """SQL for DuckDB: some of the required columns, and the path, of the rows of files, in order.

    Neighbours are read together where they have the same layout.
    """
    places = [spec.required_columns.index(name) for name in columns]
    parts = []
    for kind, alike in groupby(files, lambda each: each.layout):
        paths = ", ".join(file_literal(each.path) for each in alike)
        chosen = ", ".join(kind[place].expression for place in places)
        parts.append(f"SELECT {chosen}, impress_path AS path FROM read_parquet([{paths}], {READ})")
    return " UNION ALL ".join(parts)


def damaged_files(source: Source, files: Sequence[Readable], spec: SoftSensor) -> list[Unreadable]:
    """Those of some files whose footers are right, and whose rows cannot be read to their end.

    Returns:
        Each with the time of its own rows.
    """
    import duckdb

    found = []
    with database(source) as connection:
        for each in files:
            # Hashes: lowest and highest values would be taken from the footer.
            columns = ", ".join(f'max(hash("{name}"))' for name in spec.required_columns)
            rows = rows_of([each], spec.required_columns, spec)
            try:
                connection.execute(f"SELECT {columns} FROM ({rows})").fetchall()
            except (duckdb.Error, OSError) as error:
                begin, end = span(connection, each, spec)
                found.append(Unreadable(each.file.path, first_line(error), (), begin, end))
    return found


def span(
    connection: duckdb.DuckDBPyConnection, file: Readable, spec: SoftSensor
) -> tuple[float, float]:
    """First and last time stamp of a file; of all times where they cannot be read."""
    import duckdb

    stamp = f'"{spec.columns.timestamp}"'
    query = f"""
        SELECT min({stamp}), max({stamp})
        FROM ({rows_of([file], [spec.columns.timestamp], spec)}) WHERE isfinite({stamp})"""
    try:
        first, last = connection.execute(query).fetchall()[0]
    except (duckdb.Error, OSError):
        first = last = None
    return (-math.inf, math.inf) if first is None else (first, last)


def exact_integers(kind: pa.DataType) -> pd.Int64Dtype | None:
    """For `to_pandas`: whole numbers stay so beside NULL."""
    import pandas as pd

    return pd.Int64Dtype() if kind == "int64" else None


def first_line(error: Exception) -> str:
    """The line of a message that names the cause."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
