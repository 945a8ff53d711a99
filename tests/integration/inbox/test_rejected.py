"""Rejected rows are listed with their reasons and get another chance after a fix."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from src.components.inbox import rejected
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox
from src.components.inbox.stock import N_ROWS
from src.components.predictor.reasons import Reason
from src.errors import DataError
from tests.integration.workbench import Workbench


def _replay(bench: Workbench, **choice: object) -> int:
    with hold(bench.engine) as connection:
        assert connection is not None
        return rejected.replay(Inbox(connection, bench.spec), **choice)  # type: ignore[arg-type]


def test_rejected_rows_are_counted_by_reason_and_phase(bench: Workbench) -> None:
    bench.add(1, 7, 20)
    bench.add(None, 1, 3)
    bench.add(2, 1, 5, vorschlagsnummer=-1)
    bench.score()
    with bench.engine.connect() as connection:
        found = rejected.summary(Inbox(connection, bench.spec))
    rows = {(r["experimentnummer"], r["waschen"], r["reason"]): r[N_ROWS] for r in found}
    assert rows == {
        (1, 7, "unknown_phase"): 20,
        (None, 1, "no_experiment"): 3,
        (2, 1, "no_valid_rows"): 5,
    }
    assert {r["run_id"] for r in found} == {1}


def test_every_reason_is_explained(bench: Workbench) -> None:
    with bench.engine.connect() as connection:
        sql = Inbox(connection, bench.spec).states()
    in_sql = {reason for reason in Reason if f"'{reason}'" in sql}
    by_score = {
        Reason.NO_SENSOR_VALUES,
        Reason.NO_FINITE_PREDICTION,
        Reason.IMPOSSIBLE_PREDICTION,
    }
    of_names = {Reason.UNUSABLE_NAME}  # where experiments are named by text
    assert in_sql | by_score | of_names == set(Reason)
    assert all(reason.remedy for reason in Reason)


def test_replayed_rows_are_scored_after_the_fix(bench: Workbench) -> None:
    bench.add(1, 7, 20)
    bench.add(None, 1, 3)
    bench.score()
    bench.execute("UPDATE rejected_data SET waschen = 1 WHERE waschen = 7")
    assert _replay(bench, reason="unknown_phase") == 20
    assert bench.score().scored == 20
    assert len(bench.table("rejected_data")) == 3


def test_a_replay_without_a_fix_changes_nothing(bench: Workbench) -> None:
    bench.add(1, 7, 20)
    bench.score()
    before = bench.table("rejected_data").drop(columns=["run_id", "rejected_at"])
    assert _replay(bench) == 20
    assert bench.score().rejected == 20
    after = bench.table("rejected_data").drop(columns=["run_id", "rejected_at"])
    assert before.equals(after)
    assert bench.table("online_data").empty


def test_only_what_was_asked_for_is_replayed(bench: Workbench) -> None:
    bench.add(1, 7, 20)
    bench.add(2, 7, 10)
    bench.score()
    assert _replay(bench, experiment=2) == 10
    assert _replay(bench, experiment=2) == 0
    assert _replay(bench, reason="no_experiment") == 0
    assert bench.table("online_data")["experimentnummer"].unique().tolist() == [2]


def test_a_purged_phase_is_reopened_when_all_of_its_rows_are_there(bench: Workbench) -> None:
    bench.set(retention_days=0)
    bench.add(1, 1, 100)
    bench.score()
    bench.add(1, 1, 3)
    bench.score()
    assert _replay(bench, experiment=1) == 3
    assert bench.score().rejected == 3, "without reopening they are still late"
    with pytest.raises(DataError, match="was scored from 100 rows, and 3 are there"):
        _replay(bench, experiment=1, reopen=True)
    assert len(bench.table("rejected_data")) == 3, "nothing was moved"
    bench.add(1, 1, 100)
    assert _replay(bench, experiment=1, reopen=True) == 3
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (103, 0)
    assert bench.table("latest_predictions")["n_samples"].tolist() == [103]


def test_nothing_is_replayed_during_a_run(bench: Workbench) -> None:
    with hold(bench.engine) as holder, hold(bench.engine, wait=0.1) as connection:
        assert holder is not None and connection is None
        assert holder.scalar(text("SELECT count(*) FROM rejected_data")) == 0
