"""Odd phases in files of every kind that a historian may have written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from src.soft_sensor import SoftSensor
from tests.builders.history import odd_rows


def history_rows(spec: SoftSensor) -> list[pa.Table]:
    """The rows of each file with plain types; NULL beside NaN.

    Borders of files cut through phases.
    """
    rows = odd_rows(spec)
    size = -(-len(rows) // len(FILES))
    parts = [rows.iloc[begin : begin + size].copy() for begin in range(0, len(rows), size)]
    parts[1]["leitfaehigkeit"] = parts[1]["leitfaehigkeit"].round()
    parts[2]["druck1"] = np.nan
    return [
        _table(part, null_columns={"druck1"} if n == 2 else set()) for n, part in enumerate(parts)
    ]


def _table(rows: pd.DataFrame, null_columns: set[str]) -> pa.Table:
    """Rows of pandas; every second missing number is NULL, the others are NaN."""
    columns = {}
    for name, values in rows.items():
        if values.dtype == "Int64":
            columns[name] = pa.array(values, pa.int64())
            continue
        numbers = values.to_numpy(float)
        null = np.isnan(numbers) & (np.arange(len(numbers)) % 2 == 0)
        columns[name] = pa.array(numbers, mask=null | (name in null_columns))
    return pa.table(columns)


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)


def _moments(unit: str, zone: str | None) -> Callable[[pa.Table], pa.Table]:
    def convert(table: pa.Table) -> pa.Table:
        factor = {"us": 10**6, "ns": 10**9}[unit]
        whole = (table["timestamp"].to_numpy() * factor).round().astype("int64")
        return _with(table, "timestamp", pa.array(whole).cast(pa.timestamp(unit, zone)))

    return convert


def _whole_numbers(table: pa.Table) -> pa.Table:
    numbers = table["leitfaehigkeit"].to_pandas()
    whole = pa.array(numbers.where(np.isfinite(numbers)), pa.int32(), from_pandas=True)
    return _with(table, "leitfaehigkeit", whole)


def _no_type(table: pa.Table) -> pa.Table:
    return _with(table, "druck1", pa.nulls(len(table)))


def _small_keys(table: pa.Table) -> pa.Table:
    return _with(table, "waschen", table["waschen"].cast(pa.int8()))


# In the order of their rows.
FILES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "month=2025-12/part-0.parquet": lambda table: table,
    "month=2026-01/a [1].parquet": _whole_numbers,
    "month=2026-01/b.parquet": _no_type,
    "month=2026-01/c {x}.parquet": _moments("us", "UTC"),
    "month=2026-01/d.parquet": _moments("ns", None),
    "month=2026-02/part-0.parquet": _small_keys,
}


def write_history(spec: SoftSensor, folder: Path) -> None:
    """One file for each of FILES."""
    for table, (name, convert) in zip(history_rows(spec), FILES.items(), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(convert(table), folder / name, row_group_size=200)
