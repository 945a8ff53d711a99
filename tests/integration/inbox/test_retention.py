"""Raw rows leave the inbox when they may, as whole phases, and first into the raw archive."""

from __future__ import annotations

import math
from pathlib import Path

import boto3
import duckdb
import pandas as pd
import pytest
from sqlalchemy import text

from src.components.inbox import purge_plan, rejected, retention
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.ingestion import data_set
from src.components.ingestion.load import load_sensor_rows
from tests.integration.workbench import Workbench


def test_rows_go_when_their_retention_time_is_over(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.add(2, 1, 40)
    bench.score()
    bench.execute(
        "UPDATE archived_data SET predicted_at = now() - interval '31 days' "
        "WHERE experimentnummer = 1"
    )
    bench.score()
    assert bench.purged == 100
    assert bench.table("online_data")["experimentnummer"].unique().tolist() == [2]
    ledger = bench.table("archived_data").set_index("experimentnummer")
    assert ledger["purged_at"].notna().to_dict() == {1: True, 2: False}
    assert [run["purged"] for run in bench.table("runs")["details"]] == [0, 100]


def test_without_a_retention_time_rows_go_at_once(bench: Workbench) -> None:
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    bench.add(1, 1, 10, vorschlagsnummer=-1)
    bench.add(2, 1, 30, age=0)
    outcome = bench.score()
    assert (outcome.scored, outcome.waiting, bench.purged) == (110, 30, 110)
    assert bench.table("online_data")["experimentnummer"].unique().tolist() == [2]


def test_late_rows_of_a_purged_phase_are_set_aside(bench: Workbench) -> None:
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    bench.score()
    bench.add(1, 1, 3)
    assert bench.score().rejected == 3
    assert bench.table("rejected_data")["reason"].unique().tolist() == ["late_after_purge"]
    assert len(bench.table("archived_data")) == 1


def test_a_phase_with_late_rows_is_scored_before_its_rows_go(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.score()
    bench.age(days=31)
    bench.add(1, 1, 10)
    assert bench.score().scored == 110
    assert bench.purged == 0
    assert bench.table("archived_data")["purged_at"].isna().all()


def test_many_phases_go_in_batches_of_whole_ones(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_plan, "BATCH", 25)
    bench.set(retention_days=0)
    for experiment in range(9):
        bench.add(experiment, 1, 10)
    bench.score()
    assert bench.purged == 90
    assert bench.table("online_data").empty
    times = bench.table("archived_data").groupby("purged_at")["experimentnummer"].count()
    assert 2 < len(times) < 9, "a transaction for each batch"


def test_phases_that_lie_apart_in_the_table_go_too(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_plan, "BATCH", 25)
    bench.set(retention_days=0)
    for _ in range(3):
        for experiment in range(9):
            bench.add(experiment, 1, 10)
    bench.score()
    assert bench.purged == 270
    assert bench.table("online_data").empty


def test_rows_that_changed_since_they_were_counted_stay(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    plan = retention._plan  # pylint: disable=protected-access  # the moment in between

    def plan_late(inbox: Inbox, phases: str) -> list[purge_plan.Batch]:
        batches = plan(inbox, phases)
        bench.execute("DELETE FROM online_data WHERE ctid = '(0,7)'")
        return batches

    monkeypatch.setattr(retention, "_plan", plan_late)
    bench.score()
    assert bench.purged == 0
    assert len(bench.table("online_data")) == 99
    monkeypatch.setattr(retention, "_plan", plan)
    assert bench.score().scored == 99
    assert bench.table("online_data").empty


def test_the_table_does_not_grow_with_the_weeks(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_plan, "BATCH", 2000)
    bench.set(retention_days=0)
    sizes = []
    for week in range(6):
        for experiment in range(10):
            bench.add(100 * week + experiment, 1, 1000)
        bench.score()
        assert bench.table("online_data").empty
        with bench.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("VACUUM online_data"))  # as autovacuum does
            sizes.append(connection.scalar(text("SELECT pg_relation_size('online_data')")))
    assert max(sizes) <= 1.1 * sizes[0] + 8192


def _files(root: str) -> dict[str, bytes]:
    if not root.startswith("s3://"):
        return {file.name: file.read_bytes() for file in Path(root).iterdir()}
    name, _, prefix = root.removeprefix("s3://").partition("/")
    objects = boto3.resource("s3").Bucket(name).objects.all()
    return {o.key.removeprefix(f"{prefix}/"): o.get()["Body"].read() for o in objects}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_rows_are_in_the_raw_archive_before_they_go(
    bench: Workbench, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    root = request.getfixturevalue("bucket") if kind == "bucket" else str(tmp_path / "a" / "raw")
    bench.raw_archive = f"{root}/?region=us-east-1" if kind == "bucket" else root
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    bench.add(1, 0, 50)
    bench.add(2, 1, 30, druck1=None)
    bench.add(2, 1, 3, druck1=float("nan"), truebung=float("inf"), vorschlagsnummer=-1)
    before = bench.table("online_data").drop(columns="arrived_at").astype("float64")
    bench.score()
    assert bench.table("online_data").empty
    files = _files(root)
    assert [name.rsplit("-", 1)[0] for name in sorted(files)] == ["1-0", "1-1", "2-1"]
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    archived = duckdb.connect().read_parquet(str(tmp_path / "*.parquet")).df()
    order = ["experimentnummer", "waschen", "timestamp"]
    pd.testing.assert_frame_equal(
        archived[before.columns].sort_values(order, ignore_index=True),
        before.sort_values(order, ignore_index=True),
        check_dtype=False,
    )


def test_a_repeated_purge_writes_the_same_files_again(bench: Workbench, tmp_path: Path) -> None:
    """As after a kill between the file and the commit."""
    bench.raw_archive = str(tmp_path / "raw")
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    bench.add(2, 1, 50)
    bench.execute("""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'no space' USING ERRCODE = 'disk_full'; END $$;
        CREATE TRIGGER fail BEFORE DELETE ON online_data EXECUTE FUNCTION fail()""")
    with pytest.raises(Exception, match="no space"):
        bench.score()
    first = _files(bench.raw_archive)
    bench.execute("DROP TRIGGER fail ON online_data")
    bench.score()
    assert len(first) == 2
    assert _files(bench.raw_archive) == first


def test_a_raw_archive_that_cannot_be_written_keeps_the_rows(
    bench: Workbench, tmp_path: Path
) -> None:
    (tmp_path / "raw").write_text("a file, no folder", encoding="utf-8")
    bench.raw_archive = str(tmp_path / "raw")
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    with pytest.raises(FileExistsError):
        bench.score()
    assert len(bench.table("online_data")) == 100
    assert len(bench.table("archived_data")) == 1, "the prediction was committed before"


def test_a_file_of_the_raw_archive_gives_the_features_again(
    bench: Workbench, tmp_path: Path
) -> None:
    bench.raw_archive = str(tmp_path)
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    bench.execute("UPDATE online_data SET ph = 4 + 2 * random()")
    bench.score()
    (file,) = tmp_path.glob("1-1-*.parquet")
    named = bench.spec.files.model_copy(update={"sensors": file.name})
    again = data_set.read_features(tmp_path, bench.spec.model_copy(update={"files": named}))
    ledger = bench.table("archived_data")[bench.spec.features]
    pd.testing.assert_frame_equal(again[bench.spec.features], ledger, rtol=1e-9)


def test_rows_of_the_raw_archive_can_be_loaded_and_scored_again(
    bench: Workbench, tmp_path: Path
) -> None:
    bench.raw_archive = str(tmp_path)
    bench.set(retention_days=0)
    bench.add(1, 1, 100, reserv1=0.1 + 0.2)
    before = bench.table("online_data").drop(columns="arrived_at")
    bench.score()
    (file,) = tmp_path.glob("1-1-*.parquet")
    assert load_sensor_rows(bench.engine, bench.spec, file) == 100
    after = bench.table("online_data").drop(columns="arrived_at")
    order = ["timestamp"]
    pd.testing.assert_frame_equal(
        after.sort_values(order, ignore_index=True), before.sort_values(order, ignore_index=True)
    )
    with hold(bench.engine) as connection:
        assert connection is not None
        assert rejected.replay(Inbox(connection, bench.spec), reopen=True) == 0
    assert bench.score(rescore=Window(-math.inf, math.inf)).scored == 100
