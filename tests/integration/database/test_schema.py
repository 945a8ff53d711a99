"""Tables that upgrade without losing a row, and files that load whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.database.schema import initialise
from src.components.ingestion.load import load_sensor_rows
from src.errors import DataError
from src.soft_sensor import SoftSensor


def _count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_initialising_twice_does_nothing_the_second_time(engine: Engine, spec: SoftSensor) -> None:
    assert not initialise(engine, spec)


def test_a_table_with_its_original_columns_is_upgraded_in_place(
    engine: Engine, spec: SoftSensor
) -> None:
    numbers = ", ".join(f"{name} double precision" for name in spec.features)
    targets = ", ".join(f"{name} double precision" for name in spec.target_names)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE archived_data CASCADE"))
        connection.execute(
            text(
                "CREATE TABLE archived_data "
                f"(experimentnummer int, waschen int, {targets}, {numbers})"
            )
        )
        connection.execute(
            text(
                "INSERT INTO archived_data (experimentnummer, waschen, ph_mean) VALUES (1, 1, 7.5)"
            )
        )
    done = initialise(engine, spec)
    assert "added archived_data.verdict" in done
    assert not initialise(engine, spec)
    with engine.connect() as connection:
        rows = pd.read_sql(text("SELECT * FROM archived_data"), connection)
        latest = pd.read_sql(text("SELECT * FROM latest_predictions"), connection)
    assert rows["ph_mean"].tolist() == [7.5]
    pd.testing.assert_frame_equal(latest, rows)
    assert rows[["verdict", "predicted_at", "n_samples"]].isna().all(axis=None)


def test_the_inbox_of_older_tables_gets_times_of_arrival(engine: Engine, spec: SoftSensor) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE online_data DROP COLUMN arrived_at"))
        connection.execute(text("INSERT INTO online_data (experimentnummer) VALUES (1)"))
    assert initialise(engine, spec) == ["added online_data.arrived_at"]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO online_data (experimentnummer) VALUES (1)"))
    assert _count(engine, "online_data WHERE arrived_at IS NOT NULL") == 2


def test_the_view_gets_the_columns_that_its_table_gets(engine: Engine, spec: SoftSensor) -> None:
    statistics = (*spec.statistics, "percentile90")
    more = spec.model_copy(update={"statistics": statistics})
    assert "renewed latest_predictions" in initialise(engine, more)
    assert not initialise(engine, more)
    assert _count(engine, "latest_predictions WHERE ph_percentile90 IS NULL") == 0


def test_a_file_loads_whole(engine: Engine, spec: SoftSensor, small_dataset: Path) -> None:
    rows = load_sensor_rows(engine, spec, small_dataset / "sensors.csv")
    assert rows == len(pd.read_csv(small_dataset / "sensors.csv", sep=";"))
    assert _count(engine, "online_data") == rows


@pytest.fixture(name="file")
def fixture_file(tmp_path: Path) -> Path:
    """A small sensor file whose last row is line 4."""
    file = tmp_path / "sensors.csv"
    file.write_text(
        "experimentnummer;timestamp;waschen;truebung;druck1;fluss1;ph;leitfaehigkeit\n"
        "1;1700000000;1;5;0.15;0.8;7.1;400\n"
        "1;1700000001;1;NaN;0.15;0.8;;400\n"
        "1;1700000002;1;5;0.15;0.8;7.1;400\n",
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("02;1;5;0.15;0.8;7.1", "02;1;5;0.15;0.8;7,1", "line 4, column ph: .*7,1.*nothing was"),
        ("02;1;5;0.15;0.8;7.1", "02;1;5;0.15;0.8", "line 4: .*missing data"),
        ("1700000002;1;", "1700000002;7;", r"line 4: .*waschen=7.*1 \(washing\)"),
        ("1;1700000002;1;", ";1700000002;1;", "line 4: experimentnummer=None"),
        (";leitfaehigkeit", "", "column leitfaehigkeit is missing"),
        (";leitfaehigkeit", ";leitwert", "columns leitwert are not in params.yaml"),
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
    pd.DataFrame({"experimentnummer": [1]}).head(0).to_parquet(file)
    with pytest.raises(DataError, match="rows.parquet is empty"):
        load_sensor_rows(engine, spec, file)


def test_times_come_in_utc_whatever_the_zone_of_the_server(engine: Engine) -> None:
    name = engine.url.database
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET timezone TO 'Europe/Berlin'"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT now()")).utcoffset().total_seconds() == 0


def test_twins_are_apart(engine: Engine, spec: SoftSensor, file: Path) -> None:
    load_sensor_rows(engine, spec, file, prefix="test_")
    assert (_count(engine, "online_data"), _count(engine, "test_online_data")) == (0, 3)
