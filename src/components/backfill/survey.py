"""What a history holds, before anything is computed: which rows are where, and what is broken."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
        files, counts, damaged = _counts(connection, files, spec)
        faults += damaged
        if not files:
            raise DataError(f"no file can be read: {'; '.join(map(str, faults))}")
        spans = _spans(connection, files, counts, spec) if faults else []
    unreadable = [_with_gap(fault, spans, spec) for fault in faults]
    experiment = spec.columns.experiment
    empty = counts[experiment].isna()
    if empty.all():
        raise DataError(f"{source.address} holds no row that names an experiment")
    _refuse_unclear_rigs(files, counts[~empty], spec)
    return Survey(
        source=source,
        files=tuple(files),
        counts=counts[~empty].astype({experiment: spec.key_types[experiment], N_ROWS: int}),
        unreadable=tuple(unreadable),
        without_experiment=int(counts.loc[empty, N_ROWS].sum()),
    )


def _refuse_unclear_rigs(files: Sequence[Readable], counts: pd.DataFrame, spec: SoftSensor) -> None:
    """Refuse names of which nobody can tell what is the rig and what the experiment.

    Raises:
        DataError: naming one of them, and its file.
    """
    if spec.columns.rig is None:
        return
    unclear = counts[~counts[spec.columns.experiment].str.fullmatch(RIG_AND_EXPERIMENT)]
    if not unclear.empty:
        experiment, file = unclear.iloc[0][[spec.columns.experiment, FILE]]
        raise DataError(
            f"{files[file].file.path}: {experiment!r} is not {spec.columns.rig}{OF_RIG}"
            f"{spec.columns.experiment}: one of them is empty or holds {OF_RIG}, which must not be "
            "in either"
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


def _counts(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Readable], spec: SoftSensor
) -> tuple[list[Readable], pd.DataFrame, list[Unreadable]]:
    """Rows by experiment and file.

    Returns:
        The files whose experiments can be read; their rows, see `Survey.counts`, but with NULL for
        empty experiments; and the files whose footer alone is right.
    """
    import duckdb
    import pandas as pd

    experiment = spec.columns.experiment
    readable, counts, damaged = list[Readable](), [], []
    for each in files:
        query = f"""
            SELECT "{experiment}", {len(readable)} AS {FILE}, count(*) AS {N_ROWS}
            FROM ({rows_of([each], [experiment], spec)}) GROUP BY 1"""
        try:
            table = connection.sql(query).to_arrow_table()
        except (duckdb.Error, OSError) as error:
            damaged.append(Unreadable(each.file.path, first_line(error)))
            continue
        readable.append(each)
        counts.append(table.to_pandas(types_mapper=exact_integers))
    if not readable:
        return [], pd.DataFrame(), damaged
    together = pd.concat(counts, ignore_index=True)
    return readable, together.sort_values([experiment, FILE], ignore_index=True), damaged


class _Span(NamedTuple):
    """When the rows of a file were recorded, in Unix seconds."""

    path: str
    begin: float
    end: float


def _spans(
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[Readable],
    counts: pd.DataFrame,
    spec: SoftSensor,
) -> list[_Span]:
    """Those of the files that hold rows, in the order of their paths."""
    places = sorted(counts[FILE].unique())
    return [
        _Span(files[place].file.path, *span(connection, files[place], spec)) for place in places
    ]


def _with_gap(fault: Unreadable, spans: list[_Span], spec: SoftSensor) -> Unreadable:
    """A fault with the time in which rows may be missing, and the files that have rows near it.

    That is the time between the files before and after it, in the order of their paths. Where files
    are recorded side by side, as with one for each rig and month, it is all the time of these two,
    up to the files that end before it and begin after it.
    """
    near = 60 * spec.prediction.settle_minutes
    place = bisect([each.path for each in spans], fault.path)
    before, after = spans[:place][-1:], spans[place:][:1]
    begin = before[0].end if before else -math.inf
    end = after[0].begin if after else math.inf
    side_by_side = any(
        each.begin + near < other.end and other.begin + near < each.end
        for each in (*before, *after)
        for other in spans
        if other is not each
    )
    if side_by_side:
        first = min(each.begin for each in before + after) if before else -math.inf
        last = max(each.end for each in before + after) if after else math.inf
        begin = max((each.end for each in spans if each.end <= first), default=-math.inf)
        end = min((each.begin for each in spans if each.begin >= last), default=math.inf)
    # Files that are not in the order of time may overlap.
    begin, end = min(begin, end), max(begin, end)
    beside = tuple(
        each.path for each in spans if each.begin <= end + near and begin - near <= each.end
    )
    return replace(fault, beside=beside, begin=begin, end=end)
