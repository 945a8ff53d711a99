"""The journal says what became of runs, also of those that could not say so themselves."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, insert

from src.components.database.journal import DIED, RUNNING, Journal
from src.soft_sensor import SoftSensor


def _run(journal: Journal) -> None:
    with journal.run("predict", "code") as run_id, journal.engine.begin() as connection:
        journal.complete(connection, run_id, outcome="done")


@pytest.mark.parametrize(
    ("killed", "message"), [(1, "1 earlier run was killed"), (2, "2 earlier runs were killed")]
)
def test_runs_without_an_end_were_killed(
    engine: Engine,
    spec: SoftSensor,
    killed: int,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal(engine, spec)
    started = {"pipeline": "predict", "started_at": "2026-01-05T06:00:00Z", "outcome": RUNNING}
    with engine.begin() as connection:
        connection.execute(insert(journal.runs), [started] * killed)
    _run(journal)
    assert message in caplog.messages
    outcomes = [run["outcome"] for run in journal.newest("predict")]
    assert outcomes == ["done", *[DIED] * killed]
    caplog.clear()
    _run(journal)
    assert caplog.messages == []


def test_the_age_of_the_last_good_run_is_that_of_its_end(engine: Engine, spec: SoftSensor) -> None:
    journal = Journal(engine, spec)
    assert journal.age_of_last_good("predict") is None
    with pytest.raises(ZeroDivisionError), journal.run("predict", "code"):
        _ = 1 / 0
    assert journal.age_of_last_good("predict") is None
    assert journal.newest("predict")[0]["details"] == {
        "error": "ZeroDivisionError: division by zero"
    }
    _run(journal)
    age = journal.age_of_last_good("predict")
    assert age is not None and age.total_seconds() < 3600
    assert journal.age_of_last_good("monitor") is None
