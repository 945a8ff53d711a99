"""Tables that upgrade without losing a row."""

from __future__ import annotations

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from src.components.database.journal import Journal
from src.components.database.schema import initialise, misfits, missing
from src.components.database.tables import tables
from src.errors import advice
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


def test_settings_of_the_role_or_the_database_change_no_number_and_no_time(
    engine: Engine, spec: SoftSensor
) -> None:
    settings = ("IntervalStyle = iso_8601", "extra_float_digits = -15", "DateStyle = 'SQL'")
    with engine.begin() as connection:
        for setting in settings:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} SET {setting}"))
        connection.execute(
            text(
                "INSERT INTO runs (pipeline, outcome, started_at, ended_at) "
                "VALUES ('predict', 'done', now(), now() - interval '26 hours')"
            )
        )
    age = Journal(engine, spec).age_of_last_good("predict")
    assert age is not None and age.days == 1
    with engine.connect() as connection:
        number, time = connection.execute(text("SELECT 0.1::float8 + 0.2, now()::timestamp")).one()
    assert number == 0.1 + 0.2
    assert time.utcoffset().total_seconds() == 0


MISFITS = [
    ("online_data", "ph", "text"),
    ("online_data", "ph", "date"),
    ("online_data", "reserv1", "varchar(8)"),
    ("online_data", "timestamp", "real"),
    ("online_data", "timestamp", "date"),
    ("online_data", "timestamp", "text"),
    ("online_data", "experimentnummer", "text"),
    ("online_data", "experimentnummer", "double precision"),
    ("online_data", "waschen", "char(1)"),
    ("online_data", "arrived_at", "double precision"),
    ("online_data", "arrived_at", "date"),
    ("rejected_data", "waschen", "text"),
    ("rejected_data", "run_id", "text"),
    ("archived_data", "experimentnummer", "numeric"),
    ("archived_data", "waschen", "boolean"),
    ("archived_data", "flags", "char(40)"),
    ("archived_data", "ph_mean", "integer"),
    ("archived_data", "last_timestamp", "real"),
    ("archived_data", "last_timestamp", "timestamp"),
    ("archived_data", "predicted_at", "bigint"),
    ("laboratory_data", "anionischetenside", "text"),
    ("laboratory_data", "loaded_at", "text"),
    ("runs", "details", "text"),
    ("monitoring_tests", "p", "text"),
    ("test_online_data", "ph", "text"),
]


def test_every_misfit_is_named_with_a_statement_that_works(
    engine: Engine, spec: SoftSensor
) -> None:
    for table, column, kind in MISFITS:
        with engine.begin() as connection:
            connection.execute(text("DROP VIEW latest_predictions"))
            connection.execute(text(f'ALTER TABLE {table} ALTER COLUMN "{column}" DROP DEFAULT'))
            change = f'ALTER TABLE {table} ALTER COLUMN "{column}" TYPE {kind} USING NULL'
            connection.execute(text(change))
        initialise(engine, spec)
        faults = misfits(engine, spec)
        assert faults[0].startswith(f"{table}.{column} is "), (kind, faults)
        while faults:  # of a time, the default is missing, too
            with engine.begin() as connection:
                connection.execute(text(faults[0].partition(": ")[2]))
            faults = misfits(engine, spec)
        if table == "archived_data":
            assert missing(engine, spec) == ["latest_predictions"]
        initialise(engine, spec)
        assert not missing(engine, spec)


def test_something_else_by_the_name_of_the_view_is_called_by_its_name(
    engine: Engine, spec: SoftSensor
) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW latest_predictions"))
        connection.execute(text("CREATE TABLE latest_predictions (x int)"))
    with pytest.raises(ProgrammingError) as caught:
        initialise(engine, spec)
    assert "something else has the name" in str(advice(caught.value))


def test_tables_in_another_schema_of_the_search_path_are_found(
    engine: Engine, spec: SoftSensor
) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA rig"))
        for name in vars(tables(spec)).values():
            connection.execute(text(f"ALTER TABLE {name} SET SCHEMA rig"))
        connection.execute(text("ALTER VIEW latest_predictions SET SCHEMA rig"))
        path = f"ALTER DATABASE {engine.url.database} SET search_path TO public, rig"
        connection.execute(text(path))
    assert not initialise(engine, spec)
    assert not missing(engine, spec) and not misfits(engine, spec)
