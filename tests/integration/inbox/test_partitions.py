"""With `retention: partitions` a partition goes when every phase in it may go, and never before."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from src.components.database.schema import initialise, misfits
from src.components.inbox import partition_drop, partitions
from src.components.inbox.states import Inbox
from src.components.inbox.transaction import Outcome
from tests.conftest import ROOT
from tests.integration.workbench import Workbench
from tests.processes import wait_for

DAY = 86400
SETTLED = 7200  # s
# How many days ago partitions begin and end. A name may need quotes, and look like a parameter.
PARTITIONS = {'"the: first"': (9, 6), "second": (6, 3), "third": (3, 0)}
FIRST, SECOND, THIRD = (sum(days) / 2 * DAY for days in PARTITIONS.values())  # s ago, inside them
BORDER = SETTLED + 6 * DAY  # s ago: between the first and the second
BOUNDS = {  # by type of the timestamp, Unix seconds as its value
    "double precision": "{0}",
    "bigint": "{0}",
    "numeric": "{0}",
    "timestamp with time zone": "to_timestamp({0})",
    "timestamp without time zone": "to_timestamp({0}) AT TIME ZONE 'UTC'",
}


def _partition(bench: Workbench, kind: str = "double precision", default: bool = True) -> None:
    """Give an empty inbox partitions, as Documentation/large-inbox.md does."""
    now = time.time()
    statements = [
        f'ALTER TABLE online_data ALTER COLUMN "timestamp" TYPE {kind} USING NULL',
        "ALTER TABLE online_data RENAME TO online_data_before",
        "CREATE TABLE online_data (LIKE online_data_before INCLUDING DEFAULTS) "
        'PARTITION BY RANGE ("timestamp")',
        "DROP TABLE online_data_before",
    ]
    for name, days in PARTITIONS.items():
        first, last = (BOUNDS[kind].format(int(now - SETTLED - each * DAY)) for each in days)
        quoted = name.replace(":", "\\:")
        statements.append(
            f"CREATE TABLE {quoted} PARTITION OF online_data FOR VALUES FROM ({first}) TO ({last})"
        )
    if default:
        statements.append("CREATE TABLE others PARTITION OF online_data DEFAULT")
    for statement in statements:
        bench.execute(statement)


@pytest.fixture(name="parted")
def fixture_parted(bench: Workbench) -> Workbench:
    """An empty inbox in partitions, which are dropped when their time is over."""
    _partition(bench)
    bench.set(retention="partitions")
    return bench


def _expire(bench: Workbench, *experiments: int) -> None:
    """Let the retention time of experiments be over, by default of all."""
    which = f"experimentnummer = ANY('{{{', '.join(map(str, experiments))}}}')"
    bench.execute(
        "UPDATE archived_data SET predicted_at = predicted_at - interval '31 days' "
        f"WHERE {which if experiments else 'true'}"
    )


def _there(bench: Workbench) -> list[str]:
    """The partitions that there are, without the default one."""
    query = """
        SELECT CAST(CAST(inhrelid AS regclass) AS text) AS name FROM pg_inherits
        WHERE inhparent = to_regclass('online_data') ORDER BY inhrelid"""
    return [name for name in bench.table(f"({query}) AS q")["name"] if name != "others"]


def _rows(bench: Workbench) -> dict[int, int]:
    """Rows of the inbox by experiment."""
    return dict(Counter(bench.table("online_data")["experimentnummer"]))


def _purged(bench: Workbench) -> set[int]:
    """Experiments whose rows are gone, by the ledger."""
    ledger = bench.table("archived_data")
    return set(ledger.loc[ledger["purged_at"].notna(), "experimentnummer"])


def test_a_partition_goes_when_all_of_its_phases_may(parted: Workbench) -> None:
    parted.add(1, 1, 100, age=FIRST)
    parted.add(1, 0, 50, age=FIRST)
    parted.add(2, 1, 30, age=SECOND)
    parted.add(3, 1, 20, age=SECOND)
    parted.add(4, 1, 10, age=THIRD)
    parted.score()
    _expire(parted, 1, 2)
    parted.score()
    assert parted.purged == 150
    assert _there(parted) == ["second", "third"]
    assert _rows(parted) == {2: 30, 3: 20, 4: 10}, "a phase stays as long as its partition"
    assert _purged(parted) == {1}
    assert [run["purged"] for run in parted.table("runs")["details"]] == [0, 150]
    _expire(parted, 3)
    parted.score()
    assert (parted.purged, _there(parted), _purged(parted)) == (50, ["third"], {1, 2, 3})


def test_without_a_retention_time_partitions_go_at_once(parted: Workbench) -> None:
    parted.set(retention_days=0)
    parted.add(1, 1, 100, age=FIRST)
    parted.add(2, 1, 100, age=60)
    assert parted.score().scored == 100
    assert (parted.purged, _there(parted)) == (100, ["second", "third"])


@pytest.mark.parametrize("kind", BOUNDS)
def test_a_phase_that_lies_across_a_border_goes_as_a_whole(bench: Workbench, kind: str) -> None:
    _partition(bench, kind)
    bench.set(retention="partitions")
    for experiment, age in ((1, FIRST), (2, BORDER - 50), (3, SECOND)):
        stamp = BOUNDS[kind].format(f"(extract(epoch FROM now()) - {age} - n)")
        bench.execute(
            "INSERT INTO online_data (experimentnummer, waschen, ph, timestamp) "
            f"SELECT {experiment}, 1, 5, {stamp} FROM generate_series(1, 100) n"
        )
    bench.score()
    _expire(bench, 1)
    bench.score()
    assert (bench.purged, _rows(bench)) == (0, {1: 100, 2: 100, 3: 100})
    _expire(bench, 2)
    bench.score()
    assert (bench.purged, _rows(bench)) == (200, {3: 100})
    assert (_there(bench), _purged(bench)) == (["second", "third"], {1, 2})
    assert bench.score().rows == 100


@pytest.mark.parametrize(
    ("experiment", "ages"),
    [(1, [FIRST]), (5, [FIRST, 0]), (6, [FIRST])],
    ids=["late row", "waiting phase", "phase without prediction"],
)
def test_what_may_not_go_keeps_its_partition(
    parted: Workbench, experiment: int, ages: list[float]
) -> None:
    parted.add(1, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    for age in ages:
        parted.add(experiment, 1, 1, age=age)
    rows = 100 + len(ages)
    assert parted.score().rows == rows
    assert (parted.purged, len(parted.table("online_data"))) == (0, rows)
    assert len(_there(parted)) == 3 and not _purged(parted)


def test_rows_without_a_time_are_scored_with_their_phase(parted: Workbench) -> None:
    """They lie in the default partition, the others in two more."""
    parted.add(1, 1, 100, age=BORDER - 50, ph=5)
    parted.execute(
        "INSERT INTO online_data (experimentnummer, waschen, ph) "
        "SELECT 1, 1, 8 FROM generate_series(1, 50)"
    )
    parted.add(2, 1, 10, age=THIRD)
    assert parted.score().scored == 160
    ledger = parted.table("archived_data").set_index("experimentnummer")
    assert (ledger["n_samples"][1], ledger["ph_mean"][1]) == (150, pytest.approx(6))
    _expire(parted, 1)
    parted.score()
    assert (parted.purged, _rows(parted)) == (150, {2: 10})


def test_rows_that_are_set_aside_do_not_keep_it(parted: Workbench) -> None:
    parted.add(1, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    parted.add(None, 1, 7, age=FIRST)
    assert parted.score().rejected == 7
    assert (parted.purged, _there(parted)) == (100, ["second", "third"])


def test_late_rows_of_a_dropped_partition_are_accepted_and_set_aside(parted: Workbench) -> None:
    parted.add(1, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    parted.score()
    parted.add(1, 1, 3, age=FIRST)
    assert parted.score().rejected == 3
    assert parted.table("rejected_data")["reason"].unique().tolist() == ["late_after_purge"]


def test_rows_without_a_partition_are_deleted_when_they_may(parted: Workbench) -> None:
    parted.add(1, 1, 100, age=20 * DAY)
    parted.add(2, 1, 60, age=SETTLED + 9 * DAY - 30)  # across the border of the first
    parted.add(3, 1, 50, age=FIRST)
    parted.score()
    _expire(parted, 1, 2)
    parted.score()
    assert (parted.purged, _rows(parted)) == (160, {3: 50})
    assert (len(_there(parted)), _purged(parted)) == (3, {1, 2})


@pytest.mark.parametrize("build", ["one table", "no default", "by list"])
def test_rows_are_deleted_where_no_partition_may_be_dropped(
    bench: Workbench, build: str, caplog: pytest.LogCaptureFixture
) -> None:
    if build == "no default":
        _partition(bench, default=False)
    if build == "by list":
        bench.execute("ALTER TABLE online_data RENAME TO before")
        bench.execute(
            "CREATE TABLE online_data (LIKE before INCLUDING DEFAULTS) PARTITION BY LIST (waschen)"
        )
        bench.execute("CREATE TABLE others PARTITION OF online_data DEFAULT")
    bench.set(retention="partitions")
    bench.add(1, 1, 100, age=FIRST)
    bench.score()
    _expire(bench)
    bench.score()
    assert bench.purged == 100
    assert "rows are deleted instead" in caplog.text
    assert len(_there(bench)) == (3 if build == "no default" else 0)


def test_the_page_partitions_a_table_that_is_there(bench: Workbench) -> None:
    page = (ROOT / "Documentation" / "large-inbox.md").read_text(encoding="utf-8")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = today + timedelta(days=7 - today.weekday())
    border = int(monday.timestamp())
    page = page.replace("20260309", f"{monday:%Y%m%d}")
    page = page.replace("1773014400", str(border)).replace("1773619200", str(border + 7 * DAY))
    check, cut, weeks, move, show = re.findall("```sql\n(.*?)```", page, re.DOTALL)

    bench.add(1, 1, 100)
    with bench.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        psql = connection.connection.cursor()
        psql.execute(check)
        psql.execute(cut)
        bench.add(2, 1, 3, age=time.time() - border - 60)
        psql.execute(move)
        psql.execute(weeks)
        psql.execute(weeks)
        psql.execute(show)
        names = [row[0] for row in psql.fetchall()]
    assert len(names) == 10 and names[:2] == ["online_data_before", "online_data_default"]
    assert not initialise(bench.engine, bench.spec) and not misfits(bench.engine, bench.spec)
    bench.set(retention="partitions")
    assert not _doubts(bench)
    outcome = bench.score()
    assert (outcome.scored, outcome.waiting) == (100, 3)
    _expire(bench)
    bench.score()
    assert (bench.purged, _rows(bench), len(_there(bench))) == (100, {2: 3}, 9)


def _doubts(bench: Workbench) -> str:
    with bench.engine.connect() as connection:
        return "; ".join(partitions.doubts(Inbox(connection, bench.spec)))


def test_the_check_says_what_keeps_partitions_from_going(bench: Workbench) -> None:
    assert not _doubts(bench)
    bench.set(retention="partitions")
    assert "needs a table that is partitioned by range" in _doubts(bench)
    _partition(bench)
    assert not _doubts(bench)
    bench.add(1, 1, 10, age=20 * DAY)
    assert "rows lie in others, which is never dropped" in _doubts(bench)
    bench.execute("CREATE ROLE keeper")
    bench.execute("ALTER TABLE second OWNER TO keeper")
    bench.execute("CREATE ROLE tasks")
    try:
        with bench.engine.connect() as connection:
            connection.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO tasks"))
            connection.execute(text("SET ROLE tasks"))
            (doubt,) = partitions.doubts(Inbox(connection, bench.spec))
            assert "grant it the role of their owner" in doubt
    finally:
        bench.execute("DROP TABLE second")
        bench.execute("DROP ROLE keeper, tasks")


def test_twins_have_partitions_of_their_own(parted: Workbench) -> None:
    with parted.engine.connect() as connection:
        found = partitions.find(Inbox(connection, parted.spec))
        assert found and found.default == "others" and len(found.ranges) == 3
        assert partitions.find(Inbox(connection, parted.spec, "test_")) is None


def test_the_raw_archive_has_the_rows_of_a_partition_that_goes(
    parted: Workbench, tmp_path: Path
) -> None:
    parted.raw_archive = str(tmp_path / "raw")
    parted.add(1, 1, 100, age=FIRST)
    parted.add(2, 0, 40, age=BORDER - 20)
    before = parted.table("online_data").drop(columns="arrived_at").astype("float64")
    parted.score()
    _expire(parted)
    parted.score()
    assert parted.purged == 140
    files = sorted((tmp_path / "raw").iterdir())
    assert [file.name.rpartition("-")[0] for file in files] == ["1-1", "2-0"]
    archived = pd.concat([pd.read_parquet(file) for file in files]).astype("float64")
    order = ["experimentnummer", "timestamp"]
    pd.testing.assert_frame_equal(
        archived[before.columns].sort_values(order, ignore_index=True),
        before.sort_values(order, ignore_index=True),
    )


def test_rows_that_were_moved_since_they_were_counted_are_not_lost(
    parted: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parted.raw_archive = str(tmp_path / "raw")
    parted.add(1, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    holds_expired_only = partition_drop._holds_expired_only  # pylint: disable=protected-access

    def moved_meanwhile(inbox: Inbox, name: str) -> bool:
        parted.execute("UPDATE online_data SET ph = ph + 1")
        return holds_expired_only(inbox, name)

    monkeypatch.setattr(partition_drop, "_holds_expired_only", moved_meanwhile)
    parted.score()
    assert parted.purged == 0 and _rows(parted) == {1: 100}
    monkeypatch.undo()
    parted.score()
    assert parted.purged == 100 and not _rows(parted)


def test_a_partition_that_cannot_be_dropped_does_not_keep_the_others(parted: Workbench) -> None:
    for experiment, age in enumerate((FIRST, SECOND, THIRD, 20 * DAY)):
        parted.add(experiment, 1, 10, age=age)
    parted.score()
    _expire(parted)
    parted.execute("CREATE VIEW of_mine AS SELECT * FROM second")
    with pytest.raises(Exception, match="depend on it"):
        parted.score()
    assert (_there(parted), _rows(parted), _purged(parted)) == (["second"], {1: 10}, {0, 2, 3})
    assert parted.table("runs")["details"].iloc[-1]["purged"] == 30
    parted.execute("DROP VIEW of_mine")
    parted.score()
    assert (_there(parted), _rows(parted)) == ([], {})


def test_rows_that_a_policy_hides_do_not_go_unseen(parted: Workbench) -> None:
    parted.add(1, 1, 100, age=FIRST)
    parted.add(2, 1, 50, age=FIRST)
    parted.score()
    _expire(parted, 1)
    for statement in (
        "CREATE ROLE guarded",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO guarded",
        *(f"ALTER TABLE {name} OWNER TO guarded" for name in ("seen", "second", "third", "others")),
        "ALTER TABLE seen ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY one ON seen USING (experimentnummer = 1)",
    ):
        parted.execute(statement.replace("seen", '"the\\: first"'))
    role = {"options": "-c role=guarded"}
    guarded = create_engine(parted.engine.url, poolclass=NullPool, connect_args=role)
    try:
        with pytest.raises(DBAPIError, match="row-level security"):
            Workbench(guarded, parted.spec).score()
        assert _rows(parted) == {1: 100, 2: 50} and not _purged(parted)
    finally:
        parted.execute("DROP OWNED BY guarded CASCADE")
        parted.execute("DROP ROLE guarded")


def test_tables_of_the_rig_may_have_the_names_of_our_temporary_ones(parted: Workbench) -> None:
    for name in ("purge_plan", "partition_phases"):
        parted.execute(f"CREATE TABLE {name} AS SELECT 'mine' AS note")
    parted.add(1, 1, 10, age=FIRST)
    parted.add(2, 1, 10, age=20 * DAY)
    parted.score()
    _expire(parted)
    parted.score()
    assert parted.purged == 20
    assert len(parted.table("purge_plan")) == len(parted.table("partition_phases")) == 1


@contextmanager
def _writer(bench: Workbench, age: float, experiment: int = 1) -> Iterator[Connection]:
    """A rig that has inserted a row so many seconds old, and not committed yet."""
    with bench.engine.connect() as connection:
        _insert(connection, age, experiment)
        yield connection


def _insert(connection: Connection, age: float, experiment: int = 1) -> None:
    connection.execute(
        text(
            "INSERT INTO online_data (experimentnummer, waschen, ph, timestamp) "
            f"VALUES ({experiment}, 1, 5, extract(epoch FROM now()) - {age})"
        )
    )


@contextmanager
def _scoring(bench: Workbench) -> Iterator[Future[Outcome]]:
    """A run beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(bench.score)


def _waits(bench: Workbench, mode: str) -> bool:
    """Whether a session waits for a lock of this mode."""
    locks = bench.table("pg_locks")
    return mode in set(locks.loc[~locks["granted"].astype(bool), "mode"])


def _holds(bench: Workbench, mode: str) -> bool:
    """Whether a session has a lock of this mode on a partition."""
    locks = bench.table("pg_locks")
    return mode in set(locks.loc[locks["granted"].astype(bool), "mode"])


@pytest.mark.parametrize("experiment", [1, 7], ids=["of the phase", "of another one"])
def test_a_late_row_that_is_being_inserted_keeps_its_partition(
    parted: Workbench, experiment: int
) -> None:
    parted.add(1, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    with _writer(parted, FIRST, experiment) as rig, _scoring(parted) as run:
        wait_for(lambda: _waits(parted, "ShareLock"), "the run waits", lambda: not run.done())
        rig.commit()
        assert run.result().kept == 100
    assert (parted.purged, len(parted.table("online_data"))) == (0, 101)
    assert parted.score().scored == (101 if experiment == 1 else 1)


def test_a_run_takes_the_table_when_the_rig_has_committed(parted: Workbench) -> None:
    parted.add(2, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    with _writer(parted, 0) as rig, _scoring(parted) as run:
        wait_for(lambda: _holds(parted, "ShareLock"), "the run counts", lambda: not run.done())
        _insert(rig, 0)  # does not wait
        rig.commit()
        run.result()
    assert (parted.purged, _rows(parted), _there(parted)) == (100, {1: 2}, ["second", "third"])


def test_a_table_that_is_always_in_use_keeps_its_partitions(
    parted: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(partition_drop, "ATTEMPTS", 3)
    parted.add(2, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    with _writer(parted, 0) as rig:
        parted.score()
        rig.commit()
    assert (parted.purged, _rows(parted)) == (0, {1: 1, 2: 100})
    assert '"the: first" stays' in caplog.text.replace("\\:", ":")
    parted.score()
    assert (parted.purged, _rows(parted)) == (100, {1: 1})


def test_a_rig_that_waits_for_the_run_is_never_the_one_that_loses(
    parted: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the table, and wants the partition, which the run has, which wants the table."""
    monkeypatch.setattr(partition_drop, "ATTEMPTS", 30)  # 3 s: deadlocks are found after one
    parted.add(2, 1, 100, age=FIRST)
    parted.score()
    _expire(parted)
    with _writer(parted, 0) as rig, _scoring(parted) as run:
        wait_for(lambda: _holds(parted, "ShareLock"), "the run counts", lambda: not run.done())
        _insert(rig, FIRST)
        rig.commit()
        run.result()
    assert (parted.purged, _rows(parted)) == (0, {1: 2, 2: 100})


# When the last row of a phase is stamped, s ago, around borders and inside partitions.
ENDS = st.sampled_from(
    [SETTLED + days * DAY + shift for days in (9, 6, 3, 0) for shift in (-5, 5, DAY)]
)
PHASES = st.lists(st.tuples(ENDS, st.integers(1, 12), st.booleans()), min_size=1, max_size=8)


@pytest.mark.slow
def test_any_mix_of_phases_goes_whole_or_not_at_all(parted: Workbench) -> None:
    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(PHASES)
    def purge(phases: Sequence[tuple[float, int, bool]]) -> None:
        parted.execute("DROP TABLE online_data")
        parted.execute("TRUNCATE archived_data, runs")
        parted.execute("CREATE TABLE online_data (LIKE test_online_data INCLUDING DEFAULTS)")
        _partition(parted)
        for experiment, (age, rows, _) in enumerate(phases):
            parted.add(experiment, 1, rows, age=age)
        parted.score()
        expired = {place for place, (_, _, expired) in enumerate(phases) if expired}
        _expire(parted, *expired, -1)
        lying = "SELECT CAST(tableoid AS regclass) AS place, experimentnummer FROM online_data"
        before = parted.table(f"({lying}) AS q").groupby("place")["experimentnummer"].agg(set)
        parted.score()
        left, purged = _rows(parted), _purged(parted)
        assert parted.purged + sum(left.values()) == sum(rows for _, rows, _ in phases)
        assert left == {
            place: rows for place, (_, rows, _) in enumerate(phases) if place not in purged
        }
        assert purged <= expired
        for name, experiments in before.items():
            if name == "others":
                assert experiments & expired <= purged
            elif name in _there(parted):
                assert not experiments <= expired or not experiments & left.keys()
            else:
                assert experiments <= purged

    purge()  # pylint: disable=no-value-for-parameter  # hypothesis gives it
