"""Which columns of a Parquet file can be read as params.yaml means them."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from src.components.backfill.layout import layout
from src.soft_sensor import SoftSensor


def _schema(spec: SoftSensor, **kinds: pa.DataType) -> pa.Schema:
    whole = spec.columns.keys
    usual = {n: pa.int64() if n in whole else pa.float64() for n in spec.required_columns}
    return pa.schema([*{**usual, **kinds}.items(), ("unused", pa.string())])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ph", pa.float32()),
        ("ph", pa.int16()),
        ("ph", pa.decimal128(10, 3)),
        ("ph", pa.null()),
        ("waschen", pa.uint8()),
        ("experimentnummer", pa.int32()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("timestamp", pa.timestamp("ms")),
        ("timestamp", pa.int64()),
    ],
)
def test_columns_may_have_any_type_that_holds_such_values(
    spec: SoftSensor, name: str, kind: pa.DataType
) -> None:
    columns = layout(_schema(spec, **{name: kind}), spec)
    assert len(columns) == len(spec.required_columns)
    place = spec.required_columns.index(name)
    assert columns[place].expression.endswith(f'AS "{name}"')


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("ph", pa.string(), "column ph holds string where numbers belong"),
        ("ph", pa.bool_(), "column ph holds bool where numbers belong"),
        ("experimentnummer", pa.float64(), "holds double where whole numbers belong"),
        ("experimentnummer", pa.uint64(), "holds uint64 where whole numbers belong"),
        ("timestamp", pa.string(), "column timestamp holds string where numbers belong"),
        ("timestamp", pa.date32(), "column timestamp holds date32"),
    ],
)
def test_others_are_named(spec: SoftSensor, name: str, kind: pa.DataType, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        layout(_schema(spec, **{name: kind}), spec)


def test_a_column_must_be_there_once(spec: SoftSensor) -> None:
    schema = _schema(spec)
    place = schema.get_field_index("ph")
    with pytest.raises(ValueError, match="column ph is missing"):
        layout(schema.remove(place), spec)
    with pytest.raises(ValueError, match="column ph is there twice"):
        layout(schema.append(schema.field(place)), spec)


def test_moments_without_a_zone_are_refused_where_files_have_local_times(spec: SoftSensor) -> None:
    files = spec.files.model_copy(update={"time_zone": "Europe/Berlin"})
    spec = spec.model_copy(update={"files": files})
    layout(_schema(spec, timestamp=pa.timestamp("us", "UTC")), spec)
    with pytest.raises(ValueError, match="times without a zone: convert them to UTC"):
        layout(_schema(spec, timestamp=pa.timestamp("us")), spec)


def _of_rigs(spec: SoftSensor) -> SoftSensor:
    columns = spec.columns.model_copy(update={"rig": "maschine", "experiment_type": "text"})
    return spec.model_copy(update={"columns": columns})


@pytest.mark.parametrize("kind", [pa.string(), pa.int16(), pa.dictionary(pa.int8(), pa.string())])
def test_an_experiment_is_that_of_a_rig(spec: SoftSensor, kind: pa.DataType) -> None:
    columns = layout(_schema(spec, maschine=kind), _of_rigs(spec))
    own = columns[spec.required_columns.index("experimentnummer")].expression
    rows = pa.table({"maschine": ["7", "8"], "experimentnummer": pa.array([1, None], pa.int64())})
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.sql(f"SELECT {own} FROM rows").fetchall()
    assert found == [("7/1",), (None,)]


def test_spaces_around_a_name_are_no_part_of_it(spec: SoftSensor) -> None:
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    of_texts = spec.model_copy(update={"columns": columns})
    kinds = layout(_schema(spec, experimentnummer=pa.string()), of_texts)
    own = kinds[spec.required_columns.index("experimentnummer")].expression
    with duckdb.connect() as connection:
        connection.register("rows", pa.table({"experimentnummer": ["A1  ", "A1", None]}))
        found = connection.sql(f"SELECT {own} FROM rows").fetchall()
    assert found == [("A1",), ("A1",), (None,)]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({}, "column maschine is missing"),
        ({"maschine": pa.float64()}, "column maschine holds double where whole numbers or text"),
        (
            {"maschine": pa.string(), "experimentnummer": pa.float64()},
            "column experimentnummer holds double where whole numbers or text",
        ),
    ],
)
def test_a_rig_must_be_named(spec: SoftSensor, kinds: dict[str, pa.DataType], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        layout(_schema(spec, **kinds), _of_rigs(spec))
