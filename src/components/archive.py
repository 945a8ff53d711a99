"""The inbox-to-archive transaction: what is due is scored once, what cannot be is set aside.

The ledger (`archived_data`) decides what is due, so running again is always safe. An advisory lock
keeps runs apart, one repeatable-read snapshot gives all statements the same rows, and everything a
run does becomes true in one commit or not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import pandas as pd
from sqlalchemy import Connection, Engine, func, insert, text

from src.components.tables import Tables, tables
from src.components.transformation import features_query, typed_features, valid_rows
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

# Any constant will do, as long as every version of IMPRESS takes the same one.
LOCK = 0x1A9BE55

Predict = Callable[[pd.DataFrame], pd.DataFrame]
Fetch = Callable[[], tuple[Predict, str]]


@dataclass(frozen=True)
class Outcome:
    """Rows of the inbox by what became of them; `rows` is the sum of the other four.

    `kept` rows were scored by an earlier run and wait for the end of their retention time.
    """

    rows: int
    scored: int
    kept: int
    waiting: int
    rejected: int
    phases: int
    purged: int


def status_query(sensor: SoftSensor, names: Tables) -> str:
    """SQL that gives every phase of the inbox its state.

    Returns:
        Text of a query over the keys, n_rows, n_samples, last_timestamp and state: `due`, `kept`,
        `waiting`, or the reason for which its rows are rejected. Binds :settle (seconds).
    """
    experiment, phase = (f'"{key}"' for key in sensor.columns.keys)
    values = ", ".join(
        f"'{p.value}'" if isinstance(p.value, str) else str(p.value) for p in sensor.phases
    )
    return f"""
    WITH inbox AS (
      SELECT {experiment}, {phase}, count(*) AS n_rows,
             count(*) FILTER (WHERE {valid_rows(sensor)}) AS n_samples,
             max("{sensor.columns.timestamp}") AS last_timestamp
      FROM "{names.online.name}" GROUP BY {experiment}, {phase}
    ), ledger AS (
      SELECT DISTINCT ON ({experiment}, {phase}) {experiment}, {phase}, n_samples, predicted_at,
             purged_at
      FROM "{names.archived.name}"
      ORDER BY {experiment}, {phase}, predicted_at DESC NULLS LAST
    )
    SELECT inbox.*, ledger.predicted_at,
      CASE
        WHEN {experiment} IS NULL THEN 'no_experiment'
        WHEN {phase} IS NULL OR {phase} NOT IN ({values}) THEN 'unknown_phase'
        WHEN ledger.purged_at IS NOT NULL THEN 'late_after_purge'
        WHEN last_timestamp > extract(epoch FROM now()) - :settle THEN 'waiting'
        WHEN inbox.n_samples = 0 THEN 'no_valid_rows'
        WHEN ledger.n_samples = inbox.n_samples THEN 'kept'
        ELSE 'due'
      END AS state
    FROM inbox LEFT JOIN ledger USING ({experiment}, {phase})"""


def score_inbox(
    engine: Engine, sensor: SoftSensor, fetch: Fetch, code_version: str, prefix: str = ""
) -> Outcome | None:
    """Score every due phase, set aside what cannot be scored, remove what was kept long enough.

    Args:
        engine: one that does not pool connections.
        fetch: gives the model's predict function (features of some phases to predictions, see
            `Bundle.predict`) and its version; called only when something is due.

    Returns:
        What became of the rows, or None when another run holds the inbox.
    """
    names = tables(sensor, prefix)
    with _alone(engine, prefix) as connection:
        if connection is None:
            return None
        with connection.begin():
            started = insert(names.runs).values(
                pipeline="predict", started_at=func.clock_timestamp(), code_version=code_version
            )
            run_id = connection.scalar(started.returning(names.runs.c.id)) or 0
            run = _Run(connection, sensor, names, run_id)
            version = None
            if due := run.take_stock():
                logger.info("%s: %d phases are due", names.online.name, due)
                predict, version = fetch()
                for features in run.due_features():
                    run.archive(features, predict, version)
            run.reject()
            purged = run.purge()
            outcome = run.outcome(purged)
            run.sign_off(outcome, version)
    return outcome


@contextmanager
def _alone(engine: Engine, prefix: str) -> Iterator[Connection | None]:
    """A connection in repeatable read that holds the inbox, or None when another one does.

    The lock is taken before the transaction begins, hence before its snapshot: a lock inside it
    could be granted to a run that does not yet see what the run before it has committed. It is
    given back when the connection closes, however that comes about.
    """
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        key = {"key": LOCK + len(prefix)}
        free = connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key)
        connection.commit()
        connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection if free else None


# Rows may go when the prediction made from all of them is old enough. Binds :retention (seconds).
_EXPIRED = """s.state IN ('scored', 'kept')
    AND CASE s.state WHEN 'scored' THEN now() ELSE s.predicted_at END
        <= now() - make_interval(secs => :retention)"""


@dataclass(frozen=True)
class _Run:
    """One run's statements, all in the transaction of one connection."""

    connection: Connection
    sensor: SoftSensor
    names: Tables
    run_id: int

    @property
    def _keys(self) -> tuple[str, str]:
        return f'"{self.sensor.columns.experiment}"', f'"{self.sensor.columns.phase}"'

    def take_stock(self) -> int:
        """Note the state of every phase and make the rows of due ones a view of their own.

        Returns:
            The number of due phases.
        """
        experiment, phase = self._keys
        states = status_query(self.sensor, self.names)
        settle = {"settle": self.sensor.prediction.settle_minutes * 60}
        create = f"CREATE TEMP TABLE inbox_state ON COMMIT DROP AS {states}"
        self.connection.execute(text(create), settle)
        self.connection.execute(text("ANALYZE inbox_state"))
        due_rows = f"""
            CREATE TEMP VIEW due_rows AS SELECT online.* FROM "{self.names.online.name}" AS online
            JOIN inbox_state USING ({experiment}, {phase}) WHERE state = 'due'"""
        self.connection.execute(text(due_rows))
        due = self.connection.scalar(text("SELECT count(*) FROM inbox_state WHERE state = 'due'"))
        return int(due or 0)

    def due_features(self) -> Iterator[pd.DataFrame]:
        """Stream the features of due phases, a batch at a time."""
        size = self.sensor.prediction.batch
        query = text(features_query(self.sensor, "due_rows"))
        rows = self.connection.execute(query, execution_options={"yield_per": size})
        names = list(rows.keys())
        for batch in rows.partitions(size):
            yield typed_features(pd.DataFrame(map(tuple, batch), columns=names), self.sensor)

    def archive(self, features: pd.DataFrame, predict: Predict, version: str) -> None:
        """Predict a batch into the ledger, but for phases with nothing to predict from."""
        keys = self.sensor.columns.keys
        empty = features[self.sensor.features].isna().all(axis=1)
        self._set_state(features.loc[empty, keys], "no_sensor_values")
        usable = features[~empty].reset_index(drop=True)
        if usable.empty:
            return
        predicted = predict(usable)
        finite = predicted[self.sensor.target_names].notna().all(axis=1)
        self._set_state(usable.loc[~finite, keys], "no_finite_prediction")
        ledger = usable.join(predicted)[finite].assign(run_id=self.run_id, model_version=version)
        ledger = ledger.astype(object).where(ledger.notna(), None)
        if not ledger.empty:
            statement = insert(self.names.archived).values(predicted_at=func.now())
            records = [dict(zip(ledger.columns, row)) for row in ledger.itertuples(index=False)]
            self.connection.execute(statement, records)
            self._set_state(ledger[keys], "scored")

    def _set_state(self, keys: pd.DataFrame, state: str) -> None:
        if keys.empty:
            return
        experiment, phase = self._keys
        update = f"""
            UPDATE inbox_state AS s SET state = :state
            FROM unnest(:experiments, :phases) AS k (experiment, phase)
            WHERE s.{experiment} = k.experiment AND s.{phase} = k.phase"""
        experiments, phases = (keys[name].tolist() for name in self.sensor.columns.keys)
        values = {"state": state, "experiments": experiments, "phases": phases}
        self.connection.execute(text(update), values)

    def reject(self) -> None:
        """Move the rows that cannot be scored to the rejected table, with the reason."""
        experiment, phase = self._keys
        columns = ", ".join(f'"{name}"' for name in self.sensor.columns.online)
        move = f"""
            WITH moved AS (
              DELETE FROM "{self.names.online.name}" AS online USING inbox_state AS s
              WHERE online.{experiment} IS NOT DISTINCT FROM s.{experiment}
                AND online.{phase} IS NOT DISTINCT FROM s.{phase}
                AND s.state NOT IN ('scored', 'kept', 'waiting')
              RETURNING online.*, s.state
            )
            INSERT INTO "{self.names.rejected.name}" ({columns}, reason, run_id)
            SELECT {columns}, state, :run_id FROM moved"""
        if self.connection.scalar(
            text(
                "SELECT count(*) FROM inbox_state WHERE state NOT IN ('scored', 'kept', 'waiting')"
            )
        ):
            self.connection.execute(text(move), {"run_id": self.run_id})

    def purge(self) -> int:
        """Remove rows whose prediction is older than the retention time; say so in the ledger.

        Returns:
            The number of rows removed.
        """
        experiment, phase = self._keys
        retention = {"retention": self.sensor.prediction.retention_days * 86400}
        if not self.connection.scalar(
            text(f"SELECT count(*) FROM inbox_state AS s WHERE {_EXPIRED}"), retention
        ):
            return 0
        same = f"t.{experiment} = s.{experiment} AND t.{phase} = s.{phase}"
        removed = self.connection.execute(
            text(f"""DELETE FROM "{self.names.online.name}" AS t USING inbox_state AS s
                WHERE {same} AND {_EXPIRED}"""),
            retention,
        )
        self.connection.execute(
            text(f"""UPDATE "{self.names.archived.name}" AS t SET purged_at = now()
                FROM inbox_state AS s WHERE {same} AND {_EXPIRED}"""),
            retention,
        )
        return int(removed.rowcount)

    def outcome(self, purged: int) -> Outcome:
        """Count the rows by what became of them."""
        query = text("SELECT state, sum(n_rows), count(*) FROM inbox_state GROUP BY state")
        rows = {
            state: (int(rows), phases) for state, rows, phases in self.connection.execute(query)
        }
        kept, _ = rows.pop("kept", (0, 0))
        waiting, _ = rows.pop("waiting", (0, 0))
        scored, phases = rows.pop("scored", (0, 0))
        for reason, (count, _) in rows.items():
            logger.warning("%d rows rejected: %s", count, reason)
        rejected = sum(count for count, _ in rows.values())
        total = scored + kept + waiting + rejected
        return Outcome(total, scored, kept, waiting, rejected, phases, purged)

    def sign_off(self, outcome: Outcome, version: str | None) -> None:
        """Complete this run's line in the journal."""
        runs = self.names.runs
        self.connection.execute(
            runs.update()
            .where(runs.c.id == self.run_id)
            .values(
                ended_at=func.clock_timestamp(),
                outcome="partial" if outcome.rejected else "done",
                model_version=version,
                details=asdict(outcome),
            )
        )
