"""A database that a test fills and scores with a trivial model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pandas as pd
from sqlalchemy import Engine, text

from src.components.database.journal import Journal
from src.components.inbox import retention
from src.components.inbox.due_features import due_features
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox, Window
from src.components.inbox.transaction import Outcome, transaction
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import Correction
from src.components.predictor.scoring import Served, score
from src.soft_sensor import SoftSensor

Predict = Callable[[pd.DataFrame], pd.DataFrame]
Fetch = Callable[[], Served]


class _TrivialModel:
    """As much of a bundle as scoring uses."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def predict(self, features: pd.DataFrame, _: SoftSensor, __: Correction | None) -> pd.DataFrame:
        """What `Bundle.predict` returns."""
        return self._predict(features)


class Workbench:
    """Rows in, runs of the components in the pipeline's order, tables out."""

    def __init__(self, engine: Engine, spec: SoftSensor) -> None:
        self.engine = engine
        self.spec = spec
        self.version = "1"
        self.raw_archive: str | None = None
        self.purged = 0  # by the last run

    def set(self, **prediction: Any) -> None:
        """Change choices of the section `prediction` of params.yaml."""
        changed = self.spec.prediction.model_copy(update=prediction)
        self.spec = self.spec.model_copy(update={"prediction": changed})

    def add(
        self, experiment: int | str | None, phase: int | str | None, rows: int, **values: Any
    ) -> None:
        """Rows of one phase, a second apart, the newest `age` s ago; `values` replace columns."""
        sensors: dict[str, Any] = {sensor.name: 5.0 for sensor in self.spec.sensors}
        age = values.pop("age", 7200)
        row = {"experimentnummer": experiment, "waschen": phase, **sensors, **values}
        columns = ", ".join(row)
        places = ", ".join(f":{name}" for name in row)
        self.execute(
            f"INSERT INTO online_data (timestamp, {columns}) "
            f"SELECT extract(epoch FROM now()) - {age} - n, {places} "
            f"FROM generate_series(0, {rows} - 1) n",
            **row,
        )

    def age(self, days: float) -> None:
        """Let time pass: predictions and arrivals are older."""
        for table, column in (("archived_data", "predicted_at"), ("online_data", "arrived_at")):
            self.execute(f"UPDATE {table} SET {column} = {column} - interval '{days} days'")

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
        numbers = [f"{t}{end}" for t in self.spec.target_names for end in ("", "_lower", "_upper")]
        predicted = pd.DataFrame({name: 10 * features["ph_mean"] for name in numbers})
        return predicted.assign(flags="", verdict="")

    def served(self, predict: Predict | None = None) -> Served:
        """A model that predicts from the pH alone, or by any other function."""
        return Served(cast(Bundle, _TrivialModel(predict or self.predict)), self.version)

    def score(
        self,
        predict: Predict | None = None,
        rescore: Window | None = None,
        fetch: Fetch | None = None,
    ) -> Outcome:
        """Score and purge once, as the pipeline does; the counts must add up."""
        fetch = fetch or (lambda: self.served(predict))
        journal = Journal(self.engine, self.spec)
        with hold(self.engine) as connection, journal.run("predict", "commit") as run_id:
            assert connection is not None
            inbox = Inbox(connection, self.spec)
            with transaction(inbox, run_id) as run:
                if run.take_stock(rescore):
                    with due_features(self.engine, inbox) as batches:
                        model = fetch()
                        for features in batches:
                            run.archive(score(features, model, self.spec))
                run.set_aside()
                outcome = run.complete(journal)
            self.purged = retention.purge(inbox, run_id, self.raw_archive)
        parts = outcome.scored + outcome.kept + outcome.waiting + outcome.rejected
        assert outcome.rows == parts
        return outcome
