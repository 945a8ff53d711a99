"""Sensor files load whole or not at all, once, and into tables as they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.ingestion.load import load_sensor_rows
from src.errors import DataError
from src.soft_sensor import SoftSensor


def _count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_a_file_loads_whole(engine: Engine, spec: SoftSensor, small_dataset: Path) -> None:
    rows = load_sensor_rows(engine, spec, small_dataset / "sensors.csv")
    assert rows == len(pd.read_csv(small_dataset / "sensors.csv", sep=";"))
    assert _count(engine, "online_data") == rows


@pytest.fixture(name="file")
def fixture_file(tmp_path: Path) -> Path:
    """A small sensor file whose last row is line 4."""
    file = tmp_path / "sensors.csv"
    file.write_text(
        "experimentnummer;timestamp;waschen;truebung;druck1;fluss1;ph;leitfaehigkeit;"
        "vorschlagsnummer\n"
        "1;1700000000;1;5;0.15;0.8;7.1;400;1\n"
        "1;1700000001;1;NaN;0.15;0.8;;400;1\n"
        "1;1700000002;1;5;0.15;0.8;7.1;400;1\n",
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("02;1;5;0.15;0.8;7.1", "02;1;5;0.15;0.8;7,1", "line 4, column ph: '7,1' has a decimal"),
        ("02;1;5;0.15;0.8;7.1;", "02;1;5;0.15;0.8;", "line 4: 8 cells where the header has 9"),
        ("1700000002;1;", "1700000002;7;", "line 4, column waschen: '7' is not among .*: 1, 0"),
        ("1;1700000002;1;", ";1700000002;1;", "line 4: experimentnummer is empty"),
        ("1;1700000002;1;", "1;;1;", "line 4: timestamp is empty"),
        (";leitfaehigkeit", "", "column leitfaehigkeit is missing"),
        (";leitfaehigkeit", ";leitwert", "column leitfaehigkeit is missing"),
        (";", ",", "not separated by ';'"),
    ],
)
def test_a_faulty_file_loads_not_at_all_and_says_where(
    engine: Engine, spec: SoftSensor, file: Path, old: str, new: str, complaint: str
) -> None:
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=complaint):
        load_sensor_rows(engine, spec, file)
    assert _count(engine, "online_data") == 0


def test_a_parquet_file_without_rows_or_sense_is_named(
    engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    file = tmp_path / "rows.parquet"
    with pytest.raises(DataError, match="rows.parquet not found"):
        load_sensor_rows(engine, spec, file)
    file.write_text("no parquet", encoding="utf-8")
    with pytest.raises(DataError, match="rows.parquet is not a Parquet file"):
        load_sensor_rows(engine, spec, file)
    pd.DataFrame(columns=list(spec.columns.online), dtype=float).to_parquet(file)
    with pytest.raises(DataError, match="rows.parquet is empty"):
        load_sensor_rows(engine, spec, file)


def test_twins_are_apart(engine: Engine, spec: SoftSensor, file: Path) -> None:
    load_sensor_rows(engine, spec, file, prefix="test_")
    assert (_count(engine, "online_data"), _count(engine, "test_online_data")) == (0, 3)


def test_the_same_file_is_loaded_twice_only_on_request(
    engine: Engine, spec: SoftSensor, file: Path, tmp_path: Path
) -> None:
    load_sensor_rows(engine, spec, file)
    copy = tmp_path / "copy.csv"
    copy.write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="copy.csv was loaded before, as sensors.csv by run"):
        load_sensor_rows(engine, spec, copy)
    assert _count(engine, "online_data") == 3
    load_sensor_rows(engine, spec, copy, prefix="test_")  # the twins have a journal of their own
    load_sensor_rows(engine, spec, copy, again=True)
    assert _count(engine, "online_data") == 6


def test_a_file_that_was_refused_can_be_loaded_later(
    engine: Engine, spec: SoftSensor, file: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE online_data ADD CHECK (ph < 7)"))
    with pytest.raises(Exception, match="violates check constraint"):
        load_sensor_rows(engine, spec, file)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE online_data DROP CONSTRAINT online_data_ph_check"))
    assert load_sensor_rows(engine, spec, file) == 3


@pytest.mark.parametrize(
    "change",
    [
        "ADD id bigserial PRIMARY KEY",
        "ADD line bigint",
        "ADD double_ph double precision GENERATED ALWAYS AS (2 * ph) STORED",
        "ALTER truebung TYPE integer",
        "ALTER truebung TYPE numeric",
        "ALTER truebung TYPE real",
        "ALTER waschen TYPE boolean USING waschen = 1",
        "ALTER timestamp TYPE bigint",
        "ALTER timestamp TYPE timestamptz USING to_timestamp(timestamp)",
        "ALTER timestamp TYPE timestamp USING to_timestamp(timestamp)",
        "ALTER experimentnummer TYPE integer",
    ],
)
def test_a_file_loads_into_a_table_as_it_is(
    engine: Engine, spec: SoftSensor, file: Path, change: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE online_data {change}"))
    assert load_sensor_rows(engine, spec, file) == 3
    seconds = (
        "CAST(extract(epoch FROM timestamp) AS float)" if "timestamp T" in change else "timestamp"
    )
    if "bigint" in change:
        seconds = "timestamp"
    query = f"SELECT CAST({seconds} AS float) FROM online_data ORDER BY 1"
    with engine.connect() as connection:
        stamps = connection.execute(text(query)).scalars().all()
        values = connection.execute(text("SELECT ph FROM online_data WHERE ph > 7"))
        assert len(values.all()) == 2
    assert stamps == [1700000000, 1700000001, 1700000002]


def test_a_column_of_whole_numbers_does_not_round(
    engine: Engine, spec: SoftSensor, file: Path
) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE online_data ALTER ph TYPE integer"))
    with pytest.raises(DataError, match='line 2: 7.1 does not fit .* ALTER TABLE "online_data"'):
        load_sensor_rows(engine, spec, file)
    assert _count(engine, "online_data") == 0


def test_a_sensor_in_another_unit_is_named(
    engine: Engine, spec: SoftSensor, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = file.read_text(encoding="utf-8")
    file.write_text(content.replace(";7.1;", ";7100;"), encoding="utf-8")
    load_sensor_rows(engine, spec, file)
    assert "all values of ph are outside 0 to 14 1, so they count as missing" in caplog.text
    assert "truebung" not in caplog.text


def test_stamps_in_the_hour_that_clocks_show_twice_are_named(
    engine: Engine, spec: SoftSensor, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = file.read_text(encoding="utf-8")
    for second, stamp in enumerate(("02:59:58", "02:59:59", "03:00:00")):
        content = content.replace(f"170000000{second}", f"2026-10-25T{stamp}")
    file.write_text(content, encoding="utf-8")
    files = spec.files.model_copy(update={"time_zone": "Europe/Berlin"})
    load_sensor_rows(engine, spec.model_copy(update={"files": files}), file)
    assert (
        "2 rows are stamped in the hour that the clocks of Europe/Berlin show twice" in caplog.text
    )
