"""The inbox: everything is scored once, waits, or is set aside with a reason."""

from __future__ import annotations

import math
import threading
import time

import pandas as pd
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from src.components.database.journal import Journal
from src.components.database.schema import initialise
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.inbox.stock import STATE, STOCK
from src.components.inbox.transaction import Outcome, transaction
from src.components.predictor.scoring import Served
from src.errors import NoModel
from tests.integration.workbench import Workbench
from tests.processes import DEADLINE, wait_for


def _no_model() -> Served:
    raise NoModel("none was promoted")


def test_due_phases_are_scored_once_and_their_rows_kept(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.add(1, 0, 50)
    first = bench.score()
    assert (first.scored, first.phases) == (150, 2)
    second = bench.score(fetch=_no_model)
    assert (second.scored, second.kept) == (0, 150)
    ledger = bench.table("archived_data").sort_values("waschen")
    assert ledger["n_samples"].tolist() == [50, 100]
    assert ledger["oberflaechenspannung"].tolist() == [50.0, 50.0]
    assert len(bench.table("online_data")) == 150


def test_an_empty_inbox_does_not_ask_for_a_model(bench: Workbench) -> None:
    assert bench.score(fetch=_no_model) == Outcome(0, 0, 0, 0, 0, 0)
    assert bench.table("runs")["outcome"].tolist() == ["done"]


def test_a_phase_that_still_grows_waits(bench: Workbench) -> None:
    bench.add(1, 1, 100, age=60)
    assert bench.score().waiting == 100
    assert bench.table("archived_data").empty


def test_late_rows_supersede_and_the_old_prediction_stays(bench: Workbench) -> None:
    bench.add(1, 1, 100, ph=6.0)
    bench.score()
    bench.add(1, 1, 100, ph=8.0)
    assert bench.score().scored == 200
    ledger = bench.table("archived_data").sort_values("predicted_at")
    assert ledger["n_samples"].tolist() == [100, 200]
    assert ledger["ph_mean"].tolist() == [6.0, 7.0]
    assert bench.score().scored == 0


def test_rows_that_were_loaded_twice_can_be_taken_back(bench: Workbench) -> None:
    bench.add(1, 1, 100, ph=6.0)
    bench.score()
    bench.add(1, 1, 100, ph=7.0)
    bench.score()
    bench.execute("DELETE FROM online_data WHERE ph = 7.0")
    assert bench.score().scored == 100
    newest = bench.table("archived_data").sort_values("predicted_at").iloc[-1]
    assert (newest["n_samples"], newest["ph_mean"]) == (100, 6.0)


def test_rows_that_arrive_during_a_run_are_left_for_the_next(bench: Workbench) -> None:
    bench.add(1, 1, 100)

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        bench.add(1, 1, 7)
        bench.add(2, 1, 30)
        return bench.predict(features)

    assert bench.score(predict).scored == 100
    assert len(bench.table("online_data")) == 137
    assert bench.score().scored == 137


def test_a_rescored_phase_starts_a_new_retention_time(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    bench.score()
    bench.execute("UPDATE archived_data SET predicted_at = now() - interval '31 days'")
    bench.add(1, 1, 10)
    assert bench.score().scored == 110
    assert bench.purged == 0


@pytest.mark.parametrize(
    ("experiment", "phase", "values", "reason"),
    [
        (None, 1, {}, "no_experiment"),
        (1, None, {}, "unknown_phase"),
        (1, 7, {}, "unknown_phase"),
        (1, 1, {"vorschlagsnummer": -1}, "no_valid_rows"),
        (
            1,
            1,
            dict.fromkeys(("truebung", "druck1", "fluss1", "ph", "leitfaehigkeit"), -5.0),
            "no_sensor_values",
        ),
    ],
)
def test_what_cannot_be_scored_is_set_aside_with_its_reason(
    bench: Workbench,
    experiment: int | None,
    phase: int | None,
    values: dict[str, float],
    reason: str,
) -> None:
    bench.add(experiment, phase, 20, **values)
    bench.add(5, 1, 30)
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (30, 20)
    rejected = bench.table("rejected_data")
    assert rejected["reason"].tolist() == [reason] * 20
    assert rejected["run_id"].tolist() == bench.table("runs")["id"].tolist() * 20
    assert len(bench.table("online_data")) == 30
    assert bench.table("runs")["outcome"].tolist() == ["partial"]


def test_rows_in_a_state_that_nobody_knows_stay_where_they_are(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.add(1, 1, 20)
    bench.add(2, 7, 30)
    journal = Journal(bench.engine, bench.spec)
    with hold(bench.engine) as connection, journal.run("predict", "commit") as run_id:
        assert connection is not None
        with transaction(Inbox(connection, bench.spec), run_id) as run:
            run.take_stock()
            connection.execute(text(f"UPDATE {STOCK} SET {STATE} = 'invented'"))
            run.set_aside()
            outcome = run.complete(journal)
    assert (outcome.rows, outcome.waiting, outcome.rejected) == (50, 50, 0)
    assert len(bench.table("online_data")) == 50
    assert bench.table("rejected_data").empty
    assert "50 rows stay in the inbox: their state 'invented' is unknown" in caplog.text


def test_a_rig_may_have_a_column_called_state(bench: Workbench) -> None:
    columns = bench.spec.columns
    columns = columns.model_copy(update={"online": (*columns.online, "state")})
    bench.spec = bench.spec.model_copy(update={"columns": columns})
    initialise(bench.engine, bench.spec)
    bench.add(1, 7, 20, state=5.0)
    bench.add(2, 1, 30, state=6.0)
    outcome = bench.score()
    assert (outcome.scored, outcome.rejected) == (30, 20)
    assert bench.table("rejected_data")["state"].unique().tolist() == [5.0]


@pytest.mark.parametrize(
    ("ending", "value", "reason"),
    [
        ("", math.nan, "no_finite_prediction"),
        ("_upper", math.inf, "no_finite_prediction"),
        ("", 74.0, "impossible_prediction"),
        ("_lower", -1.0, "impossible_prediction"),
        ("_upper", 49.0, "impossible_prediction"),
    ],
)
def test_a_prediction_that_cannot_be_is_never_archived(
    bench: Workbench, ending: str, value: float, reason: str
) -> None:
    bench.add(1, 1, 20)
    bench.add(2, 1, 30)
    name = f"oberflaechenspannung{ending}"

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        odd = features["experimentnummer"] == 1
        predicted = bench.predict(features)
        return predicted.assign(**{name: predicted[name].mask(odd, value)})

    outcome = bench.score(predict)
    assert (outcome.scored, outcome.rejected) == (30, 20)
    assert bench.table("archived_data")["experimentnummer"].tolist() == [2]
    assert bench.table("rejected_data")["reason"].tolist() == [reason] * 20


def test_a_failing_run_leaves_everything_as_it_was(bench: Workbench) -> None:
    bench.add(1, 1, 20)
    bench.add(1, 7, 20)

    def fail(features: pd.DataFrame) -> pd.DataFrame:
        raise RuntimeError(f"out of memory at {len(features)} rows")

    with pytest.raises(RuntimeError, match="out of memory"):
        bench.score(fail)
    assert len(bench.table("online_data")) == 40
    for name in ("archived_data", "rejected_data"):
        assert bench.table(name).empty
    run = bench.table("runs").iloc[0]
    assert (run["outcome"], run["details"]) == (
        "failed",
        {"error": "RuntimeError: out of memory at 1 rows"},
    )
    assert bench.score().scored == 20


def test_without_a_model_the_connections_that_compute_are_stopped(bench: Workbench) -> None:
    bench.set(batch=1)
    for experiment in range(40):
        bench.add(experiment, 1, 2)

    with pytest.raises(NoModel):
        bench.score(fetch=_no_model)
    with bench.engine.connect() as connection:
        others = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        wait_for(lambda: connection.scalar(others) == 1, "an end of the connections")
    bench.set(batch=40)
    assert bench.score().phases == 40


@pytest.mark.parametrize("connections", [1, 2, 12])
def test_whatever_fails_while_features_wait_for_the_model_ends_the_run(
    bench: Workbench, connections: int
) -> None:
    """With more batches than there is room for, so that every connection is held up."""
    bench.set(batch=1, connections=connections)
    for experiment in range(60):
        bench.add(experiment, 1, 2)
    idle = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND query LIKE 'FETCH%' AND state = 'idle in transaction' "
        "AND state_change < now() - interval '0.3 s'"
    )

    def wait_until_all_are_held_up() -> None:
        with bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            wait_for(lambda: connection.scalar(idle) == connections, "connections held up")

    def cut_one() -> Served:
        wait_until_all_are_held_up()
        bench.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = (SELECT max(pid) "
            "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'FETCH%')"
        )
        return bench.served()

    def late() -> Served:
        wait_until_all_are_held_up()
        return _no_model()

    with pytest.raises(OperationalError, match="terminating connection|closed the connection"):
        bench.score(fetch=cut_one)
    with pytest.raises(NoModel):
        bench.score(fetch=late)
    assert "OperationalError" in bench.table("runs").sort_values("id")["details"].iloc[0]["error"]
    bench.set(batch=60)
    assert bench.score().phases == 60


def test_a_connection_that_fails_to_compute_fails_the_run(bench: Workbench) -> None:
    bench.add(1, 1, 20)
    bench.execute("ALTER TABLE online_data RENAME COLUMN ph TO p_h")
    with pytest.raises(ProgrammingError, match='column "ph" does not exist'):
        bench.score()
    assert bench.table("archived_data").empty


def test_one_run_at_a_time_holds_the_inbox(bench: Workbench) -> None:
    bench.add(1, 1, 100)
    inside, release = threading.Event(), threading.Event()

    def slowly(features: pd.DataFrame) -> pd.DataFrame:
        inside.set()
        assert release.wait(DEADLINE)
        return bench.predict(features)

    outcomes: list[Outcome] = []
    first = threading.Thread(target=lambda: outcomes.append(bench.score(slowly)), daemon=True)
    first.start()
    wait_for(inside.is_set, "a prediction", first.is_alive)
    with hold(bench.engine, wait=0.1) as connection:
        assert connection is None
    with hold(bench.engine, "test_", wait=0.1) as connection:
        assert connection is not None, "the twins are another inbox"
    release.set()
    first.join()
    assert outcomes[0].scored == 100
    assert len(bench.table("archived_data")) == 1


def test_phases_are_scored_again_on_request_where_their_rows_are(bench: Workbench) -> None:
    bench.add(1, 1, 20)
    bench.add(2, 1, 30, age=3 * 86400)
    bench.score()
    bench.version = "2"
    day_ago = time.time() - 86400
    assert bench.score().scored == 0
    assert bench.score(rescore=Window(-math.inf, day_ago)).scored == 30
    assert bench.score(rescore=Window(day_ago, math.inf)).scored == 20
    ledger = bench.table("archived_data").sort_values(["experimentnummer", "predicted_at"])
    assert ledger["model_version"].tolist() == ["1", "2"] * 2
    assert bench.table("latest_predictions")["model_version"].tolist() == ["2", "2"]
    bench.set(retention_days=0)
    bench.score()
    assert bench.score(rescore=Window(-math.inf, math.inf)).rows == 0


def test_the_latest_predictions_are_one_row_a_phase(bench: Workbench) -> None:
    bench.add(1, 1, 20, ph=4.0)
    bench.add(1, 0, 20, ph=5.0)
    bench.score()
    bench.add(1, 1, 20, ph=6.0)
    bench.score()
    latest = bench.table("latest_predictions").set_index("waschen")
    assert latest["ph_mean"].to_dict() == {0: 5.0, 1: 5.0}
    assert latest["n_samples"].to_dict() == {0: 20, 1: 40}
    assert len(bench.table("archived_data")) == 3


@pytest.mark.parametrize("connections", [1, 3])
def test_more_phases_than_fit_a_batch_are_all_scored(bench: Workbench, connections: int) -> None:
    bench.set(batch=7, connections=connections)
    for experiment in range(40):
        bench.add(experiment, 1, 2)
    sizes: list[int] = []

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(features))
        return bench.predict(features)

    assert bench.score(predict).phases == 40
    assert max(sizes) == 7
    assert bench.table("archived_data")["experimentnummer"].nunique() == 40
