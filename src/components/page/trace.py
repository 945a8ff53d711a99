"""From a prediction back to the rows, the run and the model that it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from sqlalchemy import Connection, Double, Engine, select, text

from src.components.database.schema import require_fit
from src.components.database.tables import NEWEST_FIRST, tables
from src.components.inbox.states import Inbox
from src.components.predictor.bundle import Bundle
from src.components.transformation.features import valid_rows
from src.soft_sensor import Phase, SoftSensor

SLICE, TIME = "impress_slice", "impress_time"  # columns of `series`
# Columns of its query; no column of a rig begins like them.
FIRST, LAST = "impress_first", "impress_last"


@dataclass(frozen=True)
class Prediction:
    """The newest prediction of a phase, and where it comes from.

    Attributes:
        row: its row of the ledger, a frame of one row.
        older: number of older predictions of the same phase.
        code_version: of the run that made it.
    """

    phase: Phase
    row: pd.DataFrame
    older: int
    code_version: str

    @property
    def values(self) -> pd.Series:
        """The row's values by column."""
        return self.row.iloc[0]


def read_predictions(engine: Engine, spec: SoftSensor, experiment: int | str) -> list[Prediction]:
    """The newest prediction of each phase of an experiment that has one."""
    archived = tables(spec).archived
    own = archived.c[spec.columns.experiment] == experiment
    with engine.connect() as connection:
        require_fit(connection, [archived])
        query = select(archived).where(own).order_by(text(NEWEST_FIRST))
        ledger = pd.read_sql(query, connection)
        code_versions = _code_versions(connection, ledger["run_id"], spec)
    numbers = [column.name for column in archived.columns if isinstance(column.type, Double)]
    ledger = ledger.astype(dict.fromkeys(numbers, "float64"))
    predictions = []
    for phase in spec.phases:
        rows = ledger[ledger[spec.columns.phase] == phase.value].reset_index(drop=True)
        if not rows.empty:
            code = code_versions.get(whole(rows["run_id"].iloc[0])) or "unknown"
            predictions.append(Prediction(phase, rows.head(1), len(rows) - 1, code))
    return predictions


def _code_versions(
    connection: Connection, run_ids: pd.Series, spec: SoftSensor
) -> dict[int | None, str | None]:
    """Code version by run."""
    runs = tables(spec).runs
    query = select(runs.c.id, runs.c.code_version)
    own = query.where(runs.c.id.in_([int(run_id) for run_id in run_ids.dropna().unique()]))
    return {run.id: run.code_version for run in connection.execute(own)}


def whole(value: float | None) -> int | None:
    """A whole number, None in rows that are older than its column."""
    return None if value is None or pd.isna(value) else int(value)


def trained_range(bundle: Bundle, phase: Phase, spec: SoftSensor) -> pd.DataFrame:
    """The least and the greatest value of each feature in the training rows of a phase.

    Returns:
        Features by `min` and `max`; NaN for a phase that was not trained on.
    """
    same_phase = bundle.reference[spec.columns.phase] == phase.value
    return bundle.reference.loc[same_phase, spec.features].agg(["min", "max"]).T


def beyond_training(prediction: Prediction, trained: pd.DataFrame, spec: SoftSensor) -> set[str]:
    """Features outside what `trained_range` gives."""
    features = prediction.values[spec.features].astype(float)
    beyond = (features < trained["min"]) | (features > trained["max"])
    return set(beyond.index[beyond])


def series(
    connection: Connection, predictions: list[Prediction], points: int, spec: SoftSensor
) -> pd.DataFrame:
    """What the sensors read in some phases, as far as the rows are still in the inbox.

    Only valid rows and readings within the range of the instrument count, as for the features. The
    inbox is read once, however many phases there are.

    Args:
        points: at most so many rows a phase; each is the mean of a slice of time.

    Returns:
        Keys, SLICE, TIME (Unix seconds) and the sensors, in the order of time.
    """
    inbox = Inbox(connection, spec)
    experiment, phase = inbox.keys
    stamp = f'"{spec.columns.timestamp}"'
    keys = {int: "bigint", str: "text"}
    kinds = [keys[kind] for kind in spec.key_types.values()]
    means = [
        f'avg("{sensor.name}") FILTER (WHERE "{sensor.name}" BETWEEN {sensor.low} AND '
        f'{sensor.high}) AS "{sensor.name}"'
        for sensor in spec.sensors
    ]
    query = f"""
        SELECT {experiment}, {phase}, avg({stamp}) AS {TIME}, {", ".join(means)},
          floor(({stamp} - {FIRST}) / greatest({LAST} - {FIRST}, 1) * {points - 1}) AS {SLICE}
        FROM (SELECT * FROM ({inbox.rows()}) AS online WHERE {valid_rows(spec)}) AS rows
        JOIN unnest(CAST(:experiments AS {kinds[0]}[]), CAST(:phases AS {kinds[1]}[]),
                    CAST(:firsts AS float8[]), CAST(:lasts AS float8[]))
          AS wanted (impress_experiment, impress_phase, {FIRST}, {LAST})
          ON impress_experiment = {experiment} AND impress_phase = {phase}
            AND {stamp} BETWEEN {FIRST} AND {LAST}
        GROUP BY {experiment}, {phase}, {SLICE} ORDER BY {experiment}, {phase}, {SLICE}"""
    wanted = pd.concat([prediction.row for prediction in predictions])
    names = (*spec.columns.keys, "first_timestamp", "last_timestamp")
    binds = zip(("experiments", "phases", "firsts", "lasts"), names)
    values = {bind: wanted[name].tolist() for bind, name in binds}
    return pd.read_sql(text(query), connection, params=values)
