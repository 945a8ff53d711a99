"""What a history holds, before anything is computed: which rows are where, and what is broken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.components.backfill.convert import as_parquet, without_rig
from src.components.backfill.layout import layout
from src.components.backfill.rows import (
    Readable,
    Unreadable,
    database,
    exact_integers,
    first_line,
    rows_of,
    span,
)
from src.components.backfill.source import Source, SourceFile
from src.components.ingestion.cells import RIG_AND_EXPERIMENT
from src.errors import DataError
from src.progress import through
from src.soft_sensor import OF_RIG, SoftSensor

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow as pa

READERS = 8  # files whose footers are read at the same time


FILE, N_ROWS = "impress_file", "impress_rows"  # columns of the counts


@dataclass(frozen=True)
class Survey:
    """What a history holds.

    Attributes:
        counts: experiment, FILE (place among `files`) and N_ROWS, sorted by experiment.
        unreadable: files that are not among `files`.
        without_experiment: rows with an empty experiment, which belong to no unit.
    """

    source: Source
    files: tuple[Readable, ...]
    counts: pd.DataFrame
    unreadable: tuple[Unreadable, ...]
    without_experiment: int

    @property
    def rows(self) -> int:
        """Rows in readable files."""
        return int(self.counts[N_ROWS].sum()) + self.without_experiment

    @property
    def facts(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "source": self.source.address,
            "files": len(self.files),
            "unreadable": [str(fault) for fault in self.unreadable],
            "rows_without_experiment": self.without_experiment,
        }


def survey(source: Source, spec: SoftSensor, converted: Path) -> Survey:
    """Look at the footer and the experiments of every file.

    Args:
        converted: folder for CSV files as Parquet, which stay there for the next time.

    Raises:
        DataError: when no file can be read, or no row names an experiment.
    """
    files, faults = _read_footers(source, spec, converted)
    with database(source) as connection:
        files, damaged = _undamaged(connection, files, spec)
        faults += damaged
        if not files:
            raise DataError(f"no file can be read: {'; '.join(map(str, faults))}")
        counts = _counts(connection, files, spec)
        unreadable = [_with_gap(connection, fault, files, spec) for fault in faults]
    experiment = spec.columns.experiment
    empty = counts[experiment].isna()
    if empty.all():
        raise DataError(f"{source.address} holds no row that names an experiment")
    _refuse_unclear_rigs(counts.loc[~empty, experiment], spec)
    return Survey(
        source=source,
        files=tuple(files),
        counts=counts[~empty].astype({experiment: spec.key_types[experiment], N_ROWS: int}),
        unreadable=tuple(unreadable),
        without_experiment=int(counts.loc[empty, N_ROWS].sum()),
    )


def _refuse_unclear_rigs(experiments: pd.Series, spec: SoftSensor) -> None:
    """Refuse names of which nobody can tell what is the rig and what the experiment.

    Raises:
        DataError: naming one of them.
    """
    if spec.columns.rig is None:
        return
    unclear = experiments[~experiments.str.fullmatch(RIG_AND_EXPERIMENT)]
    if not unclear.empty:
        raise DataError(
            f"{unclear.iloc[0]!r} is not {spec.columns.rig}{OF_RIG}{spec.columns.experiment}: one "
            f"of them is empty or holds {OF_RIG}, which must not be in either"
        )


def _read_footers(
    source: Source, spec: SoftSensor, converted: Path
) -> tuple[list[Readable], list[Unreadable]]:
    read = partial(_read_footer, source=source, spec=spec, converted=converted)
    with ThreadPoolExecutor(READERS) as pool:
        one_by_one = ([each] for each in pool.map(read, source.files))
        found = [
            each for batch in through(one_by_one, "surveying", len(source.files)) for each in batch
        ]
    readable = [each for each in found if isinstance(each, Readable)]
    return readable, [each for each in found if isinstance(each, Unreadable)]


def _read_footer(
    file: SourceFile, source: Source, spec: SoftSensor, converted: Path
) -> Readable | Unreadable:
    from pyarrow import parquet

    try:
        if file.is_csv:
            path = str(as_parquet(file, source, spec, converted))
            return Readable(file, path, layout(parquet.read_schema(path), without_rig(spec)))
        with source.filesystem.open(file.path, "rb") as stream:
            return Readable(file, file.path, layout(parquet.read_schema(stream), spec))
    except (ValueError, OSError, DataError) as error:
        return Unreadable(file.path, first_line(error))


def _undamaged(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], spec: SoftSensor
) -> tuple[list[Readable], list[Unreadable]]:
    """The files whose experiments can be read, and those whose footer alone is right."""
    import duckdb

    readable, damaged = [], []
    for each in files:
        try:
            _counts(connection, [each], spec)
            readable.append(each)
        except (duckdb.Error, OSError) as error:
            damaged.append(Unreadable(each.file.path, first_line(error)))
    return readable, damaged


def _counts(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], spec: SoftSensor
) -> pd.DataFrame:
    """Rows by experiment and file; see `Survey.counts`, but with NULL for empty experiments."""
    import pandas as pd

    places = pd.DataFrame({"path": [each.path for each in files], FILE: range(len(files))})
    connection.register("places", places)
    query = f"""
        SELECT "{spec.columns.experiment}", {FILE}, count(*) AS {N_ROWS}
        FROM ({rows_of(files, [spec.columns.experiment], spec)}) JOIN places USING (path)
        GROUP BY ALL ORDER BY ALL"""
    counts: pd.DataFrame = (
        connection.sql(query).to_arrow_table().to_pandas(types_mapper=exact_integers)
    )
    return counts


def _with_gap(
    connection: duckdb.DuckDBPyConnection,
    fault: Unreadable,
    files: Sequence[Readable],
    spec: SoftSensor,
) -> Unreadable:
    """A fault with the time in which rows may be missing: between the files beside it."""
    before = [each for each in files if each.file.path < fault.path][-1:]
    after = [each for each in files if each.file.path > fault.path][:1]
    ends = [span(connection, each, spec)[1] for each in before] or [-math.inf]
    begins = [span(connection, each, spec)[0] for each in after] or [math.inf]
    beside = tuple(each.file.path for each in before + after)
    # Files that are not in the order of time may overlap.
    return replace(fault, beside=beside, begin=min(ends + begins), end=max(ends + begins))
