"""What the columns of a Parquet file are, and SQL that reads them as params.yaml means them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pyarrow as pa

# SQL expressions of `required_columns`, in that order; they mean the same to DuckDB and Spark.
Layout = tuple[str, ...]

SECONDS = "impress_seconds"  # a function that each engine defines: Unix seconds of a TIMESTAMP


def layout(schema: pa.Schema, spec: SoftSensor) -> Layout:
    """How the rows of a file with this schema are read.

    A file without a column, or with text where numbers belong, is found here: an engine may read
    such a column as NULL, or fail in the middle of the work.

    Raises:
        ValueError: naming the column that is missing, doubled or of another type.
    """
    return tuple(_expression(name, schema, spec) for name in spec.required_columns)


def _expression(name: str, schema: pa.Schema, spec: SoftSensor) -> str:
    from pyarrow import types

    places = schema.get_all_field_indices(name)
    if len(places) != 1:
        raise ValueError(f"column {name} is {'missing' if not places else 'there twice'}")
    kind = schema.field(places[0]).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_null(kind):
        return f'CAST(NULL AS {_sql_type(name, spec)}) AS "{name}"'
    if name == spec.columns.timestamp and types.is_timestamp(kind):
        if kind.tz is None and spec.files.time_zone is not None:
            raise ValueError(
                f"column {name} holds times without a zone: convert them to UTC or to Unix seconds"
            )
        return f'{SECONDS}("{name}") AS "{name}"'
    expected = spec.key_types.get(name, float)
    if not _is(kind, expected):
        words = {int: "whole numbers", str: "text", float: "numbers"}[expected]
        raise ValueError(f"column {name} holds {kind} where {words} belong")
    return f'CAST("{name}" AS {_sql_type(name, spec)}) AS "{name}"'


def _sql_type(name: str, spec: SoftSensor) -> str:
    return {int: "BIGINT", str: "STRING", float: "DOUBLE"}[spec.key_types.get(name, float)]


def _is(kind: pa.DataType, expected: type) -> bool:
    from pyarrow import types

    if expected is str:
        return bool(types.is_string(kind) or types.is_large_string(kind))
    if expected is int:
        return bool(types.is_integer(kind)) and kind != "uint64"
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
