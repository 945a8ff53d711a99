"""The inbox: everything is scored once, waits, or is set aside with a reason."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components import archive
from src.components.archive import Outcome
from src.soft_sensor import SoftSensor


class Inbox:
    """A database that a test fills and scores with a trivial model."""

    def __init__(self, engine: Engine, sensor: SoftSensor) -> None:
        self.engine = engine
        self.sensor = sensor
        self.version = "1"

    def add(self, experiment: int | None, phase: int | None, rows: int, **values: Any) -> None:
        """Rows of one phase, an hour and more ago; `values` replace columns."""
        sensors = {part.name: 5.0 for part in self.sensor.sensors}
        age = values.pop("age", 7200)
        row = {"experimentnummer": experiment, "waschen": phase, **sensors, **values}
        columns = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        self.execute(
            f"INSERT INTO online_data (timestamp, {columns}) "
            f"SELECT extract(epoch FROM now()) - {age} - n, {places} "
            f"FROM generate_series(1, {rows}) n",
            **row,
        )

    def execute(self, statement: str, **values: Any) -> None:
        """Run one statement and commit."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def table(self, name: str) -> pd.DataFrame:
        """All rows of a table."""
        with self.engine.connect() as connection:
            return pd.read_sql(text(f"SELECT * FROM {name}"), connection)

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """What a bundle returns, from the pH alone."""
        columns = self.table("archived_data").columns
        targets = dict.fromkeys(self.sensor.target_names)
        bounds = [f"{name}_{end}" for name in targets for end in ("lower", "upper")]
        assert set(bounds) < set(columns)
        predicted = pd.DataFrame({name: features["ph_mean"] for name in [*targets, *bounds]})
        return predicted.assign(flags="", verdict="")

    def score(self, predict: archive.Predict | None = None) -> Outcome:
        """Run once; the counts must add up."""
        outcome = archive.score_inbox(
            self.engine, self.sensor, lambda: (predict or self.predict, self.version), "commit"
        )
        assert outcome is not None
        parts = outcome.scored + outcome.kept + outcome.waiting + outcome.rejected
        assert outcome.rows == parts
        return outcome


@pytest.fixture(name="inbox")
def fixture_inbox(engine: Engine, sensor: SoftSensor) -> Inbox:
    """An empty inbox."""
    return Inbox(engine, sensor)


def test_due_phases_are_scored_once_and_their_rows_kept(inbox: Inbox) -> None:
    inbox.add(1, 1, 100)
    inbox.add(1, 0, 50)
    first = inbox.score()
    assert (first.scored, first.phases) == (150, 2)
    second = inbox.score()
    assert (second.scored, second.kept) == (0, 150)
    ledger = inbox.table("archived_data").sort_values("waschen")
    assert ledger["n_samples"].tolist() == [50, 100]
    assert ledger["oberflaechenspannung"].tolist() == [5.0, 5.0]
    assert len(inbox.table("online_data")) == 150


def test_an_empty_inbox_does_not_ask_for_a_model(inbox: Inbox) -> None:
    def fail() -> tuple[archive.Predict, str]:
        raise AssertionError("the model was fetched")

    outcome = archive.score_inbox(inbox.engine, inbox.sensor, fail, "commit")
    assert outcome == Outcome(0, 0, 0, 0, 0, 0, 0)
    assert inbox.table("runs")["outcome"].tolist() == ["done"]


def test_a_phase_that_still_grows_waits(inbox: Inbox) -> None:
    inbox.add(1, 1, 100, age=60)
    assert inbox.score().waiting == 100
    assert inbox.table("archived_data").empty


def test_late_rows_supersede_and_the_old_prediction_stays(inbox: Inbox) -> None:
    inbox.add(1, 1, 100, ph=6.0)
    inbox.score()
    inbox.add(1, 1, 100, ph=8.0)
    assert inbox.score().scored == 200
    ledger = inbox.table("archived_data").sort_values("predicted_at")
    assert ledger["n_samples"].tolist() == [100, 200]
    assert ledger["ph_mean"].tolist() == [6.0, 7.0]
    assert inbox.score().scored == 0


def test_rows_that_were_loaded_twice_can_be_taken_back(inbox: Inbox) -> None:
    inbox.add(1, 1, 100, ph=6.0)
    inbox.score()
    inbox.add(1, 1, 100, ph=8.0)
    inbox.score()
    inbox.execute("DELETE FROM online_data WHERE ph = 8.0")
    assert inbox.score().scored == 100
    newest = inbox.table("archived_data").sort_values("predicted_at").iloc[-1]
    assert (newest["n_samples"], newest["ph_mean"]) == (100, 6.0)


def test_rows_that_arrive_during_a_run_are_left_for_the_next(inbox: Inbox) -> None:
    inbox.add(1, 1, 100)

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        inbox.add(1, 1, 7)
        inbox.add(2, 1, 30)
        return inbox.predict(features)

    assert inbox.score(predict).scored == 100
    assert len(inbox.table("online_data")) == 137
    assert inbox.score().scored == 137


def test_rows_go_when_their_retention_time_is_over(inbox: Inbox) -> None:
    inbox.add(1, 1, 100)
    inbox.add(2, 1, 40)
    inbox.score()
    inbox.execute(
        "UPDATE archived_data SET predicted_at = now() - interval '31 days' "
        "WHERE experimentnummer = 1"
    )
    assert inbox.score().purged == 100
    assert inbox.table("online_data")["experimentnummer"].unique().tolist() == [2]
    ledger = inbox.table("archived_data").set_index("experimentnummer")
    assert ledger["purged_at"].notna().to_dict() == {1: True, 2: False}


def test_late_rows_of_a_purged_phase_are_set_aside(inbox: Inbox) -> None:
    inbox.add(1, 1, 100)
    inbox.score()
    inbox.execute("UPDATE archived_data SET predicted_at = now() - interval '31 days'")
    inbox.score()
    inbox.add(1, 1, 3)
    assert inbox.score().rejected == 3
    assert inbox.table("rejected_data")["reason"].unique().tolist() == ["late_after_purge"]
    assert len(inbox.table("archived_data")) == 1


def test_a_rescored_phase_starts_a_new_retention_time(inbox: Inbox) -> None:
    inbox.add(1, 1, 100)
    inbox.score()
    inbox.execute("UPDATE archived_data SET predicted_at = now() - interval '31 days'")
    inbox.add(1, 1, 10)
    outcome = inbox.score()
    assert (outcome.scored, outcome.purged) == (110, 0)


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
    inbox: Inbox, experiment: int | None, phase: int | None, values: dict[str, float], reason: str
) -> None:
    inbox.add(experiment, phase, 20, **values)
    inbox.add(5, 1, 30)
    outcome = inbox.score()
    assert (outcome.scored, outcome.rejected) == (30, 20)
    rejected = inbox.table("rejected_data")
    assert rejected["reason"].tolist() == [reason] * 20
    assert rejected["run_id"].tolist() == inbox.table("runs")["id"].tolist() * 20
    assert len(inbox.table("online_data")) == 30
    assert inbox.table("runs")["outcome"].tolist() == ["partial"]


def test_a_prediction_that_is_no_number_is_never_archived(inbox: Inbox) -> None:
    inbox.add(1, 1, 20)
    nothing = dict.fromkeys(inbox.sensor.target_names, float("nan"))
    outcome = inbox.score(lambda features: inbox.predict(features).assign(**nothing))
    assert outcome.rejected == 20
    assert inbox.table("archived_data").empty


def test_a_failing_run_leaves_everything_as_it_was(inbox: Inbox) -> None:
    inbox.add(1, 1, 20)
    inbox.add(1, 7, 20)

    def fail(features: pd.DataFrame) -> pd.DataFrame:
        raise RuntimeError(f"out of memory at {len(features)} rows")

    with pytest.raises(RuntimeError, match="out of memory"):
        inbox.score(fail)
    assert len(inbox.table("online_data")) == 40
    for name in ("archived_data", "rejected_data", "runs"):
        assert inbox.table(name).empty
    assert inbox.score().scored == 20


def test_two_runs_at_once_score_once(inbox: Inbox) -> None:
    inbox.add(1, 1, 100)
    inside, release = threading.Event(), threading.Event()

    def slowly(features: pd.DataFrame) -> pd.DataFrame:
        inside.set()
        assert release.wait(30)
        return inbox.predict(features)

    outcomes: list[Outcome] = []
    first = threading.Thread(target=lambda: outcomes.append(inbox.score(slowly)))
    first.start()
    assert inside.wait(30)
    second = archive.score_inbox(
        inbox.engine, inbox.sensor, lambda: (inbox.predict, inbox.version), "commit"
    )
    release.set()
    first.join()
    assert second is None
    assert outcomes[0].scored == 100
    assert len(inbox.table("archived_data")) == 1


def test_more_phases_than_fit_a_batch_are_all_scored(engine: Engine, sensor: SoftSensor) -> None:
    prediction = sensor.prediction.model_copy(update={"batch": 7})
    inbox = Inbox(engine, sensor.model_copy(update={"prediction": prediction}))
    for experiment in range(40):
        inbox.add(experiment, 1, 2)
    sizes: list[int] = []

    def predict(features: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(features))
        return inbox.predict(features)

    assert inbox.score(predict).phases == 40
    assert max(sizes) == 7
    assert inbox.table("archived_data")["experimentnummer"].nunique() == 40
