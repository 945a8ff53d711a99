"""The prediction as processes of their own, on a database whose every row is known by its number.

Processes are forked from one that has imported everything, so a history of many runs takes seconds.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine, text

from src.components.inbox import rejected
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox
from src.components.predictor.reasons import Reason
from src.logger import job
from src.pipelines.predict_pipeline import predict
from src.soft_sensor import SoftSensor
from tests.processes import DEADLINE

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "src.pipelines.predict_pipeline",
        "src.components.registry.versions",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
    ]
)
NUMBER = "reserv1"  # the column that numbers rows
PREDICTED = (0, 3)  # exit codes: all, or all but what was rejected


def _main(environment: dict[str, str], folder: str) -> None:
    """What `impress predict` does, in a process of its own."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open("processes.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    with job("predict") as settings:
        outcome = predict(settings)
    raise SystemExit(3 if outcome and outcome.rejected else 0)


class Rig:
    """One database under test. Its rows are numbered, so that each can be found again."""

    def __init__(self, engine: Engine, spec: SoftSensor, folder: Path) -> None:
        self.engine = engine
        self.spec = spec
        self.folder = folder
        self.environment = dict(os.environ)
        self.arrived: dict[int, tuple[Any, Any, bool]] = {}  # number: experiment, phase, valid
        self.started: list[ForkServerProcess] = []

    def arrive(self, experiment: int | None, phase: int | None, rows: int, **values: Any) -> None:
        """Rows of one phase, a second apart, the newest `age` s ago; `values` replace columns."""
        age = values.pop("age", 7200)
        first = len(self.arrived)
        row: dict[str, Any] = {sensor.name: 5.0 for sensor in self.spec.sensors}
        row |= {"experimentnummer": experiment, "waschen": phase, "vorschlagsnummer": 1, **values}
        statement = f"""
            INSERT INTO online_data (timestamp, {NUMBER}, {", ".join(row)})
            SELECT extract(epoch FROM now()) - {age} - n, {first} + n,
                   {", ".join(f":{name}" for name in row)}
            FROM generate_series(0, {rows} - 1) n"""
        with self.engine.begin() as connection:
            connection.execute(text(statement), row)
        valid = row["vorschlagsnummer"] >= 0
        numbers = range(first, first + rows)
        self.arrived |= dict.fromkeys(numbers, (experiment, phase, valid))

    def execute(self, statement: str) -> None:
        """Run one statement and commit."""
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table."""
        with self.engine.connect() as connection:
            return pd.read_sql(text(f"SELECT * FROM {name}"), connection)

    def start(self) -> ForkServerProcess:
        """Start one prediction."""
        process = FORKS.Process(target=_main, args=(self.environment, str(self.folder)))
        process.start()
        self.started.append(process)
        return process

    def end(self) -> None:
        """End the predictions that a test which failed has left running."""
        for process in self.started:
            process.kill()
            process.join()

    def run(self) -> int:
        """Run one prediction to its end. Returns its exit code."""
        return finish(self.start())

    def replay(self) -> None:
        """Give rejected rows another chance."""
        with hold(self.engine) as connection:
            assert connection is not None
            rejected.replay(Inbox(connection, self.spec))

    def check(self) -> None:
        """Nothing is lost, nothing is double, every phase was scored from all of its rows.

        Call it after a run that came to its end, with nothing waiting.
        """
        inbox, set_apart = self.table("online_data"), self.table("rejected_data")
        ledger, runs = self.table("archived_data"), self.table("runs")
        there = Counter([*inbox[NUMBER].astype(int), *set_apart[NUMBER].astype(int)])
        assert set(there.values()) <= {1}, "a row is there twice"
        assert there.keys() <= self.arrived.keys()
        gone = self.arrived.keys() - there.keys()
        noted = sum(details.get("purged", 0) for details in runs["details"])
        assert noted == len(gone), "the journal counts what was removed"

        keys = list(self.spec.columns.keys)
        ledger = ledger.sort_values(["predicted_at", "run_id"])
        assert not ledger.duplicated([*keys, "n_samples"]).any(), "scored twice from the same rows"
        newest = ledger.groupby(keys).last()
        set_aside = set(set_apart[NUMBER].astype(int))
        scored = Counter(
            (experiment, phase)
            for number, (experiment, phase, valid) in self.arrived.items()
            if valid and number not in set_aside
        )
        made_from = newest["n_samples"].to_dict()
        assert made_from.items() >= dict(scored).items(), f"{made_from}, but there are {scored}"
        # A phase may be scored before rows come that show its number to be used twice.
        reused = set_apart.loc[set_apart["reason"] == Reason.NUMBER_REUSED, keys]
        assert made_from.keys() - scored.keys() <= set(reused.itertuples(index=False, name=None))
        purged = {key for key, at in newest["purged_at"].items() if not pd.isna(at)}
        assert {
            self.arrived[number][:2] for number in gone
        } == purged, "the ledger knows who is gone"
        assert "running" not in set(runs["outcome"]), "the journal knows how every run ended"


def finish(process: ForkServerProcess) -> int:
    """Wait for a process. Returns its exit code."""
    process.join(DEADLINE)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode
