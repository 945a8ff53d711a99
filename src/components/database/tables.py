"""The tables of a soft sensor, and a view of the newest prediction of each phase."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Double,
    Identity,
    Index,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on

from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

# Marks of columns, for `existing`: the type may be any that can be converted; seconds since 1970.
CONVERTED, UNIX_SECONDS = "converted", "unix seconds"
FOREIGN = "foreign"  # mark of a table that may be on another server
VIEW = "view"  # mark of a table: the view of its rows, which must go before a column changes

TWINS = ("", "test_")  # integration tests of a deployment use the second set

AGE = "impress_age"  # column: 1 for the newest samples of a phase

# SQL order in which the first prediction of a phase is the one that counts. One that another writer
# has dated into the future does not supersede those made since.
NEWEST_FIRST = (
    "coalesce(predicted_at > now(), false), predicted_at DESC NULLS LAST, run_id DESC NULLS LAST"
)


@dataclass(frozen=True)
class Tables:
    """The tables of one installation, by what they hold.

    Attributes:
        online: the inbox, rows of the sensors as they come.
        archived: the ledger of predictions.
        rejected: rows of the inbox that could not be scored.
        laboratory: laboratory values.
        runs: the journal of runs.
        monitoring_tests: the tests made by those runs that monitored.
    """

    online: Table
    archived: Table
    rejected: Table
    laboratory: Table
    runs: Table
    monitoring_tests: Table


def tables(spec: SoftSensor, prefix: str = "") -> Tables:
    """Describe the tables that belong to a soft sensor."""
    metadata = MetaData()
    rejected: list[Column[Any]] = [
        Column("reason", Text, nullable=False),
        Column("run_id", BigInteger, nullable=False),
        Column("rejected_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    ]
    return Tables(
        online=Table(
            f"{prefix}online_data",
            metadata,
            *_online_columns(spec),
            # When the row came, by this server's clock; the rig's may be wrong.
            Column("arrived_at", DateTime(timezone=True), server_default=func.now()),
            # Weeks of rows are deleted at once; by default a fifth of the table may stay dead.
            postgresql_with={"autovacuum_vacuum_scale_factor": "0.02"},
            info={FOREIGN: True},
        ),
        archived=Table(
            f"{prefix}archived_data",
            metadata,
            *_archived_columns(spec),
            # Every run looks up the newest prediction of each phase.
            Index(f"{prefix}archived_data_newest", *spec.columns.keys, "predicted_at"),
            info={VIEW: _latest(prefix)},
        ),
        rejected=Table(f"{prefix}rejected_data", metadata, *_online_columns(spec), *rejected),
        laboratory=Table(
            f"{prefix}laboratory_data",
            metadata,
            *(Column(name, kind) for name, kind in _key_columns(spec).items()),
            Column("sample", Text),
            *(Column(name, Double) for name in spec.target_names),
            *(Column(target.censored, Text) for target in spec.targets),
            Column("loaded_at", DateTime(timezone=True), server_default=func.now()),
        ),
        runs=Table(
            f"{prefix}runs",
            metadata,
            Column("id", BigInteger, Identity(), primary_key=True),
            Column("pipeline", Text, nullable=False),
            Column("started_at", DateTime(timezone=True), nullable=False),
            Column("ended_at", DateTime(timezone=True)),
            Column("outcome", Text),
            Column("model_version", Text),
            Column("code_version", Text),
            Column("details", JSONB, nullable=False, server_default="{}"),
        ),
        monitoring_tests=Table(
            f"{prefix}monitoring_tests",
            metadata,
            Column("run_id", BigInteger, nullable=False),
            *(Column(name, Text) for name in ("kind", "part", "indicator")),
            *(Column(name, BigInteger) for name in ("reference_rows", "rows")),
            *(Column(name, Double) for name in ("shift", "statistic", "p", "p_holm")),
            Column("status", Text),
        ),
    )


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as parameters of an INSERT, None where a value is missing."""
    complete = rows.astype(object).where(rows.notna(), None)
    return [dict(zip(complete.columns, row)) for row in complete.itertuples(index=False)]


def read_rows(connection: Connection, query: Select[Any]) -> pd.DataFrame:
    """The rows of a query as a frame, with floats where the table has floats, even if all are NULL.

    Whole numbers are exact unless one is NULL: pandas then makes floats of all of them.
    """
    import pandas as pd

    numbers = [column.name for column in query.selected_columns if isinstance(column.type, Double)]
    rows = pd.read_sql(query, connection, dtype=dict.fromkeys(numbers, "float64"))
    return rows.copy()  # into few blocks of memory: pandas has cast column by column


def names_phase(table: Table, spec: SoftSensor) -> ColumnElement[bool]:
    """Whether a row belongs to an experiment and to a phase of params.yaml.

    Another writer may leave rows that do not.
    """
    experiment, phase = (table.c[key] for key in spec.columns.keys)
    return and_(experiment.is_not(None), phase.in_([each.value for each in spec.phases]))


def newest_predictions(ledger: Table, spec: SoftSensor) -> Select[Any]:
    """Rows of the ledger: of each phase the newest one among those that a `where` leaves.

    Rows that name no phase are left out, see `names_phase`.
    """
    keys = [ledger.c[key] for key in spec.columns.keys]
    newest_first = select(ledger).ext(distinct_on(*keys)).order_by(*keys, text(NEWEST_FIRST))
    return newest_first.where(names_phase(ledger, spec))


def newest_values(
    laboratory: Table, spec: SoftSensor, until: datetime | None = None
) -> Select[Any]:
    """Laboratory values: of each phase the samples that were loaded last, as of `until`.

    Rows that name no phase are left out, see `names_phase`.
    """
    keys = [laboratory.c[key] for key in spec.columns.keys]
    query = select(laboratory).where(names_phase(laboratory, spec))
    if until is not None:
        query = query.where(laboratory.c.loaded_at <= until)
    newest_first = laboratory.c.loaded_at.desc().nulls_last()
    age = func.rank().over(partition_by=keys, order_by=newest_first).label(AGE)
    aged = query.add_columns(age).subquery()
    return select(*(aged.c[column.name] for column in laboratory.c)).where(aged.c[AGE] == 1)


def latest_view(spec: SoftSensor, prefix: str = "") -> tuple[str, str]:
    """Name and query of the view with one row per phase: its newest prediction."""
    keys = ", ".join(f'"{key}"' for key in spec.columns.keys)
    query = (
        f'SELECT DISTINCT ON ({keys}) * FROM "{prefix}archived_data" '
        f"ORDER BY {keys}, {NEWEST_FIRST}"
    )
    return _latest(prefix), query


def _latest(prefix: str) -> str:
    return f"{prefix}latest_predictions"


def _key_columns(spec: SoftSensor) -> dict[str, Any]:
    """SQL type of each key column."""
    sql_types = {int: BigInteger, str: Text}
    return {key: sql_types[kind] for key, kind in spec.key_types.items()}


def _online_columns(spec: SoftSensor) -> list[Column[Any]]:
    keys, columns = _key_columns(spec), []
    for name in spec.columns.online:
        marks = {CONVERTED: True, UNIX_SECONDS: name == spec.columns.timestamp}
        columns.append(Column(name, keys.get(name, Double), info=marks))
    return columns


def _archived_columns(spec: SoftSensor) -> list[Column[Any]]:
    keys = [Column(name, kind) for name, kind in _key_columns(spec).items()]
    intervals = []
    for target in spec.targets:
        intervals += [target.lower, target.upper]
    numbers = [*spec.target_names, *spec.features, *intervals]
    return [
        *keys,
        *(Column(name, Double) for name in numbers),
        Column("verdict", Text),
        Column("flags", Text),
        Column("n_samples", BigInteger),
        Column("first_timestamp", Double, info={UNIX_SECONDS: True}),
        Column("last_timestamp", Double, info={UNIX_SECONDS: True}),
        Column("model_version", Text),
        Column("run_id", BigInteger),
        Column("predicted_at", DateTime(timezone=True)),
        Column("purged_at", DateTime(timezone=True)),
        *(Column(name, Double) for target in spec.targets for name in target.correction),
        Column("adaptation", Text),
        Column("laboratory_values", BigInteger),
        Column("laboratory_from", DateTime(timezone=True)),
        Column("laboratory_to", DateTime(timezone=True)),
    ]
