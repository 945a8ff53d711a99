"""What the columns of a Parquet file are, and SQL that reads them as params.yaml means them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from src.soft_sensor import OF_RIG, SoftSensor

if TYPE_CHECKING:
    import pyarrow as pa


class Column(NamedTuple):
    """How a column is read.

    Attributes:
        expression: SQL that means the same to DuckDB and Spark.
        kind: its type in the file. Files with another one are not read by the same scan: DuckDB
            would convert them to the type in the first file, and round fractions to whole numbers.
    """

    expression: str
    kind: str


Layout = tuple[Column, ...]  # of `required_columns`, in that order

SECONDS = "impress_seconds"  # a function that each engine defines: Unix seconds of a TIMESTAMP


def layout(schema: pa.Schema, spec: SoftSensor) -> Layout:
    """How the rows of a file with this schema are read.

    A file without a column, or with text where numbers belong, is found here: an engine may read
    such a column as NULL, or fail in the middle of the work.

    Raises:
        ValueError: naming the column that is missing, doubled or of another type.
    """
    return tuple(_column(name, schema, spec) for name in spec.required_columns)


def _column(name: str, schema: pa.Schema, spec: SoftSensor) -> Column:
    kind, rig = _kind(name, schema), spec.columns.rig
    if name != spec.columns.experiment or rig is None:
        return Column(_expression(name, kind, spec), str(kind))
    of_rig = _kind(rig, schema)
    return Column(_of_rig(rig, of_rig, name, kind), f"{of_rig}, {kind}")


def _of_rig(rig: str, of_rig: pa.DataType, name: str, kind: pa.DataType) -> str:
    """RIG/EXPERIMENT, see `Columns.rig`; NULL where one of them is."""
    from pyarrow import types

    for column, its in ((rig, of_rig), (name, kind)):
        if not (_is(its, int) or _is(its, str) or types.is_null(its)):
            raise ValueError(f"column {column} holds {its} where whole numbers or text belong")
    texts = [f'trim(CAST("{column}" AS STRING))' for column in (rig, name)]
    return f"{texts[0]} || '{OF_RIG}' || {texts[1]} AS \"{name}\""


def _kind(name: str, schema: pa.Schema) -> pa.DataType:
    """The type of a column, of whose name engines do not distinguish upper and lower case."""
    from pyarrow import types

    if name not in schema.names:
        raise ValueError(f"column {name} is missing")
    if [each.casefold() for each in schema.names].count(name.casefold()) > 1:
        raise ValueError(f"column {name} is there twice")
    kind = schema.field(name).type
    return kind.value_type if types.is_dictionary(kind) else kind


def _expression(name: str, kind: pa.DataType, spec: SoftSensor) -> str:
    from pyarrow import types

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
    value = f'CAST("{name}" AS {_sql_type(name, spec)})'
    # Databases fill up text of a fixed length with spaces.
    return f'{f"trim({value})" if expected is str else value} AS "{name}"'


def _sql_type(name: str, spec: SoftSensor) -> str:
    return {int: "BIGINT", str: "STRING", float: "DOUBLE"}[spec.key_types.get(name, float)]


def _is(kind: pa.DataType, expected: type) -> bool:
    from pyarrow import types

    if expected is str:
        return bool(types.is_string(kind) or types.is_large_string(kind))
    if expected is int:
        return bool(types.is_integer(kind)) and kind != "uint64"
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))
