"""A table that somebody else has made gives the same ledger as one that `impress init` makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from src.components.database.connection import connect
from src.components.database.schema import initialise, misfits
from src.components.inbox import purge_plan, rejected
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.inbox.transaction import Outcome
from src.errors import DataError
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench
from tests.postgres import folder_for_postgres, installed_postgres, installed_server

NUMBERS = ("smallint", "integer", "bigint", "numeric", "numeric(12,3)", "real", "double precision")
WHOLE = ("smallint", "integer", "bigint", "numeric", "numeric(9,0)")
STAMPS = (
    *("double precision", "integer", "bigint", "numeric", "numeric(14,4)"),
    *("timestamp with time zone", "timestamp without time zone", "timestamptz(0)"),
)
Found = TypeVar("Found")
EVERYWHERE = Window(float("-inf"), float("inf"))
OLD = int(time.time()) - 7200

# Rows as (experiment, phase, age, valid, pH), in values that every type holds.
ROWS = [
    *((1, 1, age, 0, 6) for age in range(80)),
    *((1, 0, age, 0, 7) for age in range(70)),
    *((2, 1, age, age % 3 - 1, 8) for age in range(90)),  # a third of them invalid
    *((3, 1, -7200, 0, 5) for _ in range(4)),  # waits
    *((4, 1, age, -1, 5) for age in range(5)),  # has no valid row
    *((None, 1, age, 0, 5) for age in range(3)),
    *((5, 1, age, 0, None) for age in range(65)),
    *((6, 1, age, 0, 99) for age in range(66)),  # out of bounds
]


def _insert(bench: Workbench, into: Sequence[str]) -> None:
    """The rows, each value cast to the type of its column, into one table after the other."""
    query = """
        SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute
        WHERE attrelid = CAST('online_data' AS regclass) AND attnum > 0"""
    with bench.engine.begin() as connection:
        types = {row.attname: row.type for row in connection.execute(text(query))}
        stamp = f"{OLD} - CAST(:age AS integer)"
        if types["timestamp"].startswith("timestamp"):
            zone = " AT TIME ZONE 'UTC'" if types["timestamp"].endswith("without time zone") else ""
            stamp = f"to_timestamp({stamp}){zone}"
        phase = (
            "CAST(CAST(:phase AS integer) AS boolean)"
            if types["waschen"] == "boolean"
            else ":phase"
        )
        others = ("truebung", "druck1", "fluss1", "leitfaehigkeit")
        statement = f"""
            INSERT INTO online_data
              (experimentnummer, waschen, "timestamp", vorschlagsnummer, ph, {", ".join(others)})
            VALUES (:experiment, {phase}, {stamp}, :valid, :ph, 5, 5, 5, 5)"""
        names = ("experiment", "phase", "age", "valid", "ph")
        rows = [dict(zip(names, row)) for row in ROWS]
        for place, table in enumerate(into):
            insert = statement.replace("online_data", table)
            connection.execute(text(insert), rows[place :: len(into)])


def _with(bench: Workbench, action: Callable[[Inbox], Found]) -> Found:
    """What an action on the inbox gives, which holds it."""
    with hold(bench.engine) as connection:
        assert connection is not None
        return action(Inbox(connection, bench.spec))


def _predict(features: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """A prediction of every phase, also of one without pH."""
    numbers = [f"{target}{end}" for target in spec.target_names for end in ("", "_lower", "_upper")]
    value = 40 + features["ph_mean"].fillna(0)
    return pd.DataFrame(dict.fromkeys(numbers, value)).assign(flags="", verdict="")


@dataclass
class Life:
    """What became of the rows: everything that a user can see."""

    outcomes: list[Outcome]
    purged: int
    counts: list[object]
    ledger: pd.DataFrame
    rejected: pd.DataFrame
    left: int
    files: list[str]


def _live(bench: Workbench, folder: Path, into: Sequence[str] = ("online_data",)) -> Life:
    """Every step that rows can go through: scored, scored again, set aside, put back, archived."""
    bench.raw_archive = str(folder)

    def score(rescore: Window | None = None) -> Outcome:
        return bench.score(lambda features: _predict(features, bench.spec), rescore)

    _insert(bench, into)
    outcomes = [score()]
    counts: list[object] = [_with(bench, Inbox.counts), len(_with(bench, Inbox.doubtful_clocks))]
    outcomes.append(score(EVERYWHERE))
    outcomes.append(score(Window(OLD - 75.0, OLD + 1.0)))
    ledger = bench.table("archived_data").drop(columns=["predicted_at", "purged_at"])
    set_aside = bench.table("rejected_data").drop(columns=["rejected_at"])
    counts += [{**row, "rejected_at": None} for row in _with(bench, rejected.summary)]
    counts.append(_with(bench, lambda inbox: rejected.replay(inbox, experiment=4)))
    counts.append(_with(bench, rejected.replay))
    outcomes.append(score())  # set aside again, from the same values
    assert len(bench.table("rejected_data")) == len(set_aside)
    bench.age(31)
    outcomes.append(score())
    files = sorted(file.name for file in folder.iterdir())
    by = ["experimentnummer", "waschen", "run_id"]
    return Life(
        outcomes,
        bench.purged,
        counts,
        ledger.sort_values(by, ignore_index=True),
        set_aside.sort_values([*by, "timestamp"], ignore_index=True),
        len(bench.table("online_data")),
        files,
    )


def _same(life: Life, plain: Life) -> None:
    assert (life.outcomes, life.purged) == (plain.outcomes, plain.purged)
    assert life.counts == plain.counts
    pd.testing.assert_frame_equal(life.ledger, plain.ledger, check_exact=True)
    pd.testing.assert_frame_equal(life.rejected, plain.rejected, check_exact=True)
    assert (life.left, life.files) == (plain.left, plain.files)


def _empty(bench: Workbench) -> None:
    bench.execute(
        "TRUNCATE online_data, archived_data, rejected_data, runs RESTART IDENTITY CASCADE"
    )


def _retype(bench: Workbench, types: dict[str, str]) -> None:
    """Change the types of an empty inbox."""
    changes = ", ".join(
        f'ALTER COLUMN "{name}" TYPE {kind} USING NULL' for name, kind in types.items()
    )
    bench.execute(f"ALTER TABLE online_data {changes}")


@pytest.fixture(name="once", scope="module")
def fixture_once() -> dict[str, Life]:
    """What is computed once for all tests."""
    return {}


@pytest.fixture(name="plain")
def fixture_plain(bench: Workbench, tmp_path: Path, once: dict[str, Life]) -> Life:
    """What becomes of the rows in a table as `impress init` makes it."""
    if "plain" not in once:
        life = _live(bench, tmp_path / "plain")
        assert life.purged == 80 + 70 + 90 + 65 + 66
        _empty(bench)
        once["plain"] = life
    return once["plain"]


TYPES = st.fixed_dictionaries(
    {
        "experimentnummer": st.sampled_from(WHOLE),
        "waschen": st.sampled_from((*WHOLE, "boolean")),
        "timestamp": st.sampled_from(STAMPS),
        "arrived_at": st.sampled_from(("timestamptz", "timestamp")),
        **{
            name: st.sampled_from(NUMBERS)
            for name in ("vorschlagsnummer", "ph", "truebung", "druck1", "fluss1", "reserv1")
        },
    }
)


@pytest.mark.slow
def test_any_mix_of_types_gives_the_same_ledger(
    bench: Workbench, plain: Life, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(TYPES)
    def live(types: dict[str, str]) -> None:
        _empty(bench)
        _retype(bench, types)
        _same(_live(bench, tmp_path_factory.mktemp("life")), plain)

    live()  # pylint: disable=no-value-for-parameter  # hypothesis gives it


@pytest.mark.parametrize("kind", NUMBERS)
def test_sensors_and_the_column_of_validity_may_be_any_number(
    bench: Workbench, plain: Life, kind: str, tmp_path: Path
) -> None:
    names = [*(sensor.name for sensor in bench.spec.sensors), "vorschlagsnummer", "reserv2"]
    _retype(bench, dict.fromkeys(names, kind))
    _same(_live(bench, tmp_path / "life"), plain)


@pytest.mark.parametrize("kind", STAMPS)
def test_stamps_may_be_numbers_or_times(
    bench: Workbench, plain: Life, kind: str, tmp_path: Path
) -> None:
    _retype(bench, {"timestamp": kind})
    # A time without a zone is UTC, whatever the zone of the server is.
    bench.execute(f"ALTER DATABASE {bench.engine.url.database} SET timezone TO 'Asia/Kolkata'")
    _same(_live(bench, tmp_path / "life"), plain)


@pytest.mark.parametrize("kind", WHOLE)
def test_keys_may_be_any_whole_number(
    bench: Workbench, plain: Life, kind: str, tmp_path: Path
) -> None:
    _retype(bench, {"experimentnummer": kind, "waschen": kind})
    _same(_live(bench, tmp_path / "life"), plain)


EXTRA = """
    ALTER TABLE online_data ADD COLUMN id bigserial PRIMARY KEY,
      ADD COLUMN line integer, ADD COLUMN n_rows text DEFAULT 'n', ADD COLUMN state text,
      ADD COLUMN batch boolean, ADD COLUMN t text, ADD COLUMN s text, ADD COLUMN share real,
      ADD COLUMN "Line" text, ADD COLUMN "the reason" text, ADD COLUMN reason text,
      ADD COLUMN first_row tid, ADD COLUMN "needed" integer NOT NULL DEFAULT 1,
      ADD COLUMN doubled double precision GENERATED ALWAYS AS (ph * 2) STORED"""
# The columns of online_data, with a default for the time of arrival.
LIKE = "(LIKE measured INCLUDING DEFAULTS)"
BY_EXPERIMENT = [
    "ALTER TABLE online_data RENAME TO measured",
    f"CREATE TABLE online_data {LIKE} PARTITION BY LIST (experimentnummer)",
    "CREATE TABLE first PARTITION OF online_data FOR VALUES IN (1, 5)",
    "CREATE TABLE others PARTITION OF online_data DEFAULT",
]
BY_TIME = [
    "ALTER TABLE online_data RENAME TO measured",
    f'CREATE TABLE online_data {LIKE} PARTITION BY RANGE ("timestamp")',
    # A phase lies in three partitions; its rows have the same place in each of them.
    f"CREATE TABLE old PARTITION OF online_data FOR VALUES FROM (MINVALUE) TO ({OLD - 60})",
    f"CREATE TABLE middle PARTITION OF online_data FOR VALUES FROM ({OLD - 60}) TO ({OLD - 30})"
    " PARTITION BY LIST (waschen)",
    "CREATE TABLE middle_1 PARTITION OF middle FOR VALUES IN (1)",
    "CREATE TABLE middle_0 PARTITION OF middle FOR VALUES IN (0)",
    f"CREATE TABLE new PARTITION OF online_data FOR VALUES FROM ({OLD - 30}) TO (MAXVALUE)",
]
INHERITED = [
    "CREATE TABLE week_1 (note text) INHERITS (online_data)",
    "CREATE TABLE week_2 (CHECK (true)) INHERITS (online_data)",
]


@pytest.mark.parametrize(
    ("statements", "into"),
    [
        ([EXTRA], ["online_data"]),
        (BY_EXPERIMENT, ["online_data"]),
        (BY_TIME, ["online_data"]),
        (INHERITED, ["week_1", "online_data", "week_2"]),
        (["ALTER TABLE online_data SET UNLOGGED"], ["online_data"]),
        (["CREATE INDEX ON online_data (experimentnummer, waschen)"], ["online_data"]),
        (
            ["CREATE SCHEMA rig", "ALTER TABLE online_data SET SCHEMA rig"]
            + ["ALTER ROLE postgres IN DATABASE {0} SET search_path TO public, rig"],
            ["online_data"],
        ),
    ],
    ids=["extra", "by_experiment", "by_time", "inherited", "unlogged", "indexed", "schema"],
)
def test_tables_of_any_build_give_the_same_ledger(
    bench: Workbench, plain: Life, statements: list[str], into: list[str], tmp_path: Path
) -> None:
    for statement in statements:
        bench.execute(statement.format(bench.engine.url.database))
    _same(_live(bench, tmp_path / "life", into), plain)
    assert not initialise(bench.engine, bench.spec)
    assert not misfits(bench.engine, bench.spec)


def test_two_experiments_in_the_same_place_of_two_partitions_go_each_on_its_own(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge_plan, "BATCH", 25)
    for statement in BY_EXPERIMENT:
        bench.execute(statement)
    bench.set(retention_days=0)
    for experiment in range(9):
        bench.add(experiment, 1, 70, ph=experiment / 2)
    places = "SELECT count(*) - count(DISTINCT ctid) FROM online_data"
    with bench.engine.connect() as connection:
        assert int(connection.scalar(text(places)) or 0) > 100
    assert bench.score(lambda features: _predict(features, bench.spec)).scored == 630
    assert bench.purged == 630
    ledger = bench.table("archived_data").sort_values("experimentnummer")
    assert ledger["ph_mean"].tolist() == [experiment / 2 for experiment in range(9)]


def test_a_computed_column_is_computed_again_or_the_replay_is_refused(bench: Workbench) -> None:
    bench.execute(
        "ALTER TABLE online_data DROP COLUMN reserv1, "
        "ADD COLUMN reserv1 double precision GENERATED ALWAYS AS (truebung * 2) STORED"
    )
    bench.add(1, 7, 20, truebung=3)
    bench.score()
    assert bench.table("rejected_data")["reserv1"].unique().tolist() == [6]
    assert _with(bench, rejected.replay) == 20
    assert bench.table("online_data")["reserv1"].unique().tolist() == [6]
    bench.score()
    bench.execute(
        "ALTER TABLE online_data DROP COLUMN reserv1, ADD COLUMN raw real DEFAULT 1, "
        "ADD COLUMN reserv1 double precision GENERATED ALWAYS AS (raw * 2) STORED"
    )
    with pytest.raises(DataError, match="computes reserv1 .* nothing was moved"):
        _with(bench, rejected.replay)
    assert len(bench.table("rejected_data")) == 20


def test_a_number_that_is_not_whole_is_no_experiment_and_one_too_large_stops_nothing(
    bench: Workbench,
) -> None:
    _retype(bench, {"experimentnummer": "numeric", "ph": "numeric", "truebung": "numeric"})
    bench.execute(f"""
        INSERT INTO online_data (experimentnummer, waschen, timestamp, ph, truebung)
        SELECT experiment, 1, {OLD}, ph, turbidity
        FROM generate_series(1, 60),
          (VALUES (12.5, 7, 1), (1e19, 7, 1), ('NaN', 7, 1), (13.00, 7, 1e400), (14, 7, -1e400),
                  (15, 7, 1e-400), (9007199254740993, 7, 'NaN')) AS row (experiment, ph, turbidity)
        """)
    outcome = bench.score(lambda features: _predict(features, bench.spec))
    assert (outcome.phases, outcome.scored, outcome.rejected) == (4, 240, 180)
    assert bench.table("rejected_data")["reason"].unique().tolist() == ["no_experiment"]
    ledger = bench.table("archived_data").set_index("experimentnummer")["truebung_mean"]
    assert ledger[15] == 0 and ledger[[13, 14, 9007199254740993]].isna().all()


TEXTS = (
    *("text", "varchar", "varchar(40)", "char(12)", "label", "names"),
    *('text COLLATE "C"', 'varchar COLLATE "POSIX"'),
)


def _name_phases(bench: Workbench) -> None:
    """Experiments and phases are named from now on."""
    phases = tuple(
        phase.model_copy(update={"value": value})
        for phase, value in zip(bench.spec.phases, ("wash", "rinse"))
    )
    columns = bench.spec.columns.model_copy(update={"experiment_type": "text"})
    bench.spec = bench.spec.model_copy(update={"columns": columns, "phases": phases})
    bench.execute("DROP TABLE IF EXISTS online_data, archived_data, rejected_data, runs CASCADE")
    initialise(bench.engine, bench.spec)


@pytest.mark.parametrize("kind", TEXTS)
def test_named_experiments_and_phases_may_be_any_text(
    bench: Workbench, kind: str, tmp_path: Path
) -> None:
    """Also a domain, an enumeration, and columns of another collation."""
    _name_phases(bench)
    bench.execute("CREATE DOMAIN label AS varchar(40) CHECK (VALUE <> 'x')")
    bench.execute("CREATE TYPE names AS ENUM ('a', 'a b', 'wash', 'rinse', 'other')")
    _retype(bench, {"experimentnummer": kind, "waschen": kind})
    kind = kind.partition(" COLLATE")[0]
    bench.raw_archive = str(tmp_path / "raw")
    bench.set(retention_days=0)
    insert = f"""
        INSERT INTO online_data (experimentnummer, waschen, timestamp, ph)
        SELECT CAST(:experiment AS {kind}), CAST(:phase AS {kind}), {OLD}, 5
        FROM generate_series(1, 60)"""
    for experiment, phase in (("a", "wash"), ("a b", "rinse"), ("a", "other")):
        bench.execute(insert, experiment=experiment, phase=phase)
    outcome = bench.score(lambda features: _predict(features, bench.spec))
    assert (outcome.phases, outcome.rejected, bench.purged) == (2, 60, 120)
    ledger = bench.table("archived_data").sort_values("waschen")
    assert ledger["experimentnummer"].tolist() == ["a b", "a"]
    (row,) = _with(bench, rejected.summary)
    assert (row["experimentnummer"], row["waschen"]) == ("a", "other")
    files = {file.name.rpartition("-")[0] for file in (tmp_path / "raw").iterdir()}
    assert files == {"a-wash", "a%20b-rinse"}
    assert _with(bench, lambda inbox: rejected.replay(inbox, experiment="a")) == 60
    assert bench.score().rejected == 60


@pytest.fixture(name="abroad", scope="module")
def fixture_abroad() -> Iterator[Engine]:
    """A PostgreSQL of this system, whose database `rig` holds the rows, and another one for us."""
    programs = installed_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL with postgres_fdw is installed")
    with folder_for_postgres() as folder, installed_server(programs, folder) as socket:
        url = f"postgresql+psycopg2://postgres@/postgres?host={socket}"
        yield create_engine(url, poolclass=NullPool)


@pytest.fixture(name="foreign")
def fixture_foreign(
    abroad: Engine, spec: SoftSensor, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Workbench, Workbench]]:
    """Our tables, of which online_data is foreign, and the other database, which has its rows."""
    socket, names = str(abroad.url.query["host"]), ("rig", "ours")
    administrator = abroad.execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        for name in names:
            connection.execute(text(f"CREATE DATABASE {name}"))
    monkeypatch.setenv("DB_HOSTNAME", socket)
    monkeypatch.setenv("DB_USERNAME", "postgres")
    with ExitStack() as stack:

        def workbench(name: str) -> Workbench:
            monkeypatch.setenv("DB_NAME", name)
            engine = stack.enter_context(connect(Settings()))
            initialise(engine, spec)
            return Workbench(engine, spec)

        rig, ours = workbench("rig"), workbench("ours")
        ours.execute("DROP TABLE online_data")
        ours.execute("CREATE EXTENSION postgres_fdw")
        ours.execute(
            "CREATE SERVER rig FOREIGN DATA WRAPPER postgres_fdw "
            f"OPTIONS (host '{socket}', dbname 'rig')"
        )
        ours.execute("CREATE USER MAPPING FOR postgres SERVER rig")
        yield ours, rig
    with administrator.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


IMPORT = "IMPORT FOREIGN SCHEMA public LIMIT TO (online_data) FROM SERVER rig INTO public"


@pytest.mark.parametrize("build", ["plain", "by_time", "by_number", "other types"])
def test_a_foreign_table_gives_the_same_ledger(
    foreign: tuple[Workbench, Workbench], build: str, bench: Workbench, plain: Life, tmp_path: Path
) -> None:
    assert bench.engine.url.database
    ours, rig = foreign
    if build == "by_time":
        for statement in BY_TIME:
            rig.execute(statement)
    if build == "by_number":
        _retype(rig, {"experimentnummer": "numeric"})
        for statement in BY_EXPERIMENT:
            rig.execute(statement)
    if build == "other types":
        _retype(rig, {"timestamp": "timestamptz", "waschen": "boolean", "ph": "numeric"})
    ours.execute(IMPORT)
    (fault,) = misfits(ours.engine, ours.spec)
    assert "online_data.arrived_at has no default" in fault
    ours.execute(fault.partition(": ")[2])
    assert not misfits(ours.engine, ours.spec) and not initialise(ours.engine, ours.spec)
    _same(_live(ours, tmp_path / "life"), plain)


@pytest.mark.parametrize("kind", ["text", "varchar(9)", "char(9)", 'text COLLATE "C"'])
def test_rows_of_a_partitioned_foreign_table_are_removed_by_their_names(
    foreign: tuple[Workbench, Workbench], kind: str
) -> None:
    ours, rig = foreign
    for bench in foreign:
        _name_phases(bench)
    ours.execute("DROP TABLE online_data")
    _retype(rig, {"experimentnummer": kind, "waschen": kind})
    for statement in (
        "ALTER TABLE online_data RENAME TO measured",
        f"CREATE TABLE online_data {LIKE} PARTITION BY LIST (experimentnummer)",
        "CREATE TABLE first PARTITION OF online_data FOR VALUES IN ('a', 'ü')",
        "CREATE TABLE others PARTITION OF online_data DEFAULT",
    ):
        rig.execute(statement)
    ours.execute(IMPORT)
    ours.execute("ALTER FOREIGN TABLE online_data ALTER COLUMN arrived_at SET DEFAULT now()")
    insert = f"""
        INSERT INTO online_data (experimentnummer, waschen, timestamp, ph)
        SELECT :experiment, :phase, {OLD}, 5 FROM generate_series(1, 60)"""
    # Rows that are removed lie in the places of rows that stay, in the other partition.
    for experiment, phase in (("a", "other"), ("b", "wash"), ("ü", "wash"), ("d", None)):
        rig.execute(insert, experiment=experiment, phase=phase)

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        return _predict(features, ours.spec)

    # With a trigger here postgres_fdw cannot but delete by ctid.
    ours.execute(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"
    )
    ours.execute(
        "CREATE TRIGGER nothing AFTER DELETE ON online_data FOR EACH ROW EXECUTE FUNCTION nothing()"
    )
    with pytest.raises(DataError, match="of its rows went when 120 were removed"):
        ours.score(predict)
    assert len(rig.table("online_data")) == 240
    ours.execute("DROP TRIGGER nothing ON online_data")

    outcome = ours.score(predict)
    assert (outcome.phases, outcome.rejected) == (2, 120)
    assert (
        sorted(ours.table("online_data")["experimentnummer"].str.strip()) == ["b"] * 60 + ["ü"] * 60
    )
    ours.execute(
        "UPDATE archived_data SET predicted_at = predicted_at - interval '31 days' "
        "WHERE experimentnummer = 'ü'"
    )
    ours.score(predict)
    assert ours.purged == 60
    assert set(ours.table("online_data")["experimentnummer"].str.strip()) == {"b"}
    assert len(rig.table("online_data")) == 60


def test_what_a_foreign_table_lacks_is_named(foreign: tuple[Workbench, Workbench]) -> None:
    ours, rig = foreign
    rig.execute("ALTER TABLE online_data DROP COLUMN arrived_at")
    ours.execute(IMPORT)
    assert not initialise(ours.engine, ours.spec)
    (fault,) = misfits(ours.engine, ours.spec)
    assert fault.startswith("online_data.arrived_at is missing in a foreign table")
    with pytest.raises(DataError, match="online_data.arrived_at is missing in a foreign table"):
        ours.score()
    rig.execute("ALTER TABLE online_data ADD COLUMN arrived_at timestamptz DEFAULT now()")
    ours.execute(fault.partition(": ")[2])
    assert not misfits(ours.engine, ours.spec)
    ours.execute("ALTER SERVER rig OPTIONS (ADD updatable 'false')")
    (fault,) = misfits(ours.engine, ours.spec)
    assert "cannot be inserted and deleted" in fault


def test_a_trigger_that_puts_rows_elsewhere_does_not_hide_their_number(bench: Workbench) -> None:
    """As in partitions of the old kind."""
    bench.execute("CREATE TABLE week_1 () INHERITS (online_data)")
    bench.execute(
        "CREATE FUNCTION divert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO week_1 VALUES (NEW.*); RETURN NULL; END $$"
    )
    bench.execute(
        "CREATE TRIGGER divert BEFORE INSERT ON online_data FOR EACH ROW EXECUTE FUNCTION divert()"
    )
    bench.add(1, 7, 20)
    assert bench.score().rejected == 20
    assert _with(bench, rejected.replay) == 20
    assert bench.score().rejected == 20


def test_a_column_with_capital_letters_is_not_added_again_in_small_ones(bench: Workbench) -> None:
    bench.execute('ALTER TABLE online_data RENAME COLUMN ph TO "pH"')
    assert not initialise(bench.engine, bench.spec)
    (fault,) = misfits(bench.engine, bench.spec)
    assert fault.startswith('online_data has a column "pH", and params.yaml calls it ph')
    with pytest.raises(DataError, match="params.yaml calls it ph"):
        bench.score()
    bench.execute(fault.rpartition(": ")[2])
    assert not misfits(bench.engine, bench.spec)


def test_capital_letters_in_params_are_those_of_the_columns(
    bench: Workbench, tmp_path: Path
) -> None:
    spec, renamed = bench.spec, {"experimentnummer": "Experiment", "timestamp": "Time"}
    online = tuple(renamed.get(name, name) for name in spec.columns.online)
    named = {"experiment": "Experiment", "timestamp": "Time", "online": online}
    bench.spec = spec.model_copy(update={"columns": spec.columns.model_copy(update=named)})
    bench.execute("DROP TABLE online_data, archived_data, rejected_data CASCADE")
    initialise(bench.engine, bench.spec)
    bench.execute('ALTER TABLE online_data ALTER COLUMN "Time" TYPE timestamptz USING NULL')
    bench.execute(
        'INSERT INTO online_data ("Experiment", waschen, "Time", ph) SELECT 1, phase, '
        "now() - interval '1 day', 5 FROM generate_series(1, 60), (VALUES (1), (7)) AS p (phase)"
    )
    bench.raw_archive = str(tmp_path / "raw")
    bench.set(retention_days=0)
    outcome = bench.score(lambda features: _predict(features, bench.spec))
    assert (outcome.phases, outcome.rejected, bench.purged) == (1, 60, 60)
    assert _with(bench, rejected.replay) == 60
    assert not misfits(bench.engine, bench.spec)
