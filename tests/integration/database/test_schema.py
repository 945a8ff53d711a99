"""Tables that upgrade without losing a row."""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Engine, text

from src.components.database.schema import initialise
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


def test_times_come_in_utc_whatever_the_zone_of_the_server(engine: Engine) -> None:
    name = engine.url.database
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET timezone TO 'Europe/Berlin'"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT now()")).utcoffset().total_seconds() == 0
