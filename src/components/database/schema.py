"""Create the tables and the view, and upgrade existing ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Connection, DateTime, Engine, MetaData, Table, text
from sqlalchemy.schema import CreateColumn

from src.components.database.existing import Existing, find, sql_type
from src.components.database.tables import FOREIGN, TWINS, VIEW, Tables, latest_view, tables
from src.errors import DataError
from src.soft_sensor import SoftSensor

RELATIONS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}

# By wanted type and type found, the conversion where a cast does not do it.
_USING = {
    "bigint": {"boolean": "CAST({0} AS integer)"},
    "double precision": {
        "date": "extract(epoch FROM {0})",
        "timestamp with time zone": "extract(epoch FROM {0})",
        "timestamp without time zone": "extract(epoch FROM {0})",
        "boolean": "CAST({0} AS integer)",
    },
    "timestamp with time zone": {
        kind: "to_timestamp({0})"
        for kind in ("double precision", "real", "numeric", "bigint", "integer")
    },
}


def initialise(engine: Engine, spec: SoftSensor) -> list[str]:
    """Create the tables and their twins; add columns that existing tables lack.

    Nothing is ever dropped, so a table with only its original columns keeps its rows. What does
    not fit stays as it is, see `misfits`.

    Returns:
        One line for each change, none when everything was there.
    """
    changes = []
    with engine.begin() as connection:
        for prefix in TWINS:
            for existing in find(connection, _all(tables(spec, prefix))):
                if existing.relation is None:
                    existing.table.create(connection)
                    changes.append(f"created {existing.table.name}")
                elif existing.is_table:
                    changes += _upgrade(connection, existing)
            changes += _create_view(connection, spec, prefix)
    return changes


def _all(described: Tables) -> list[Table]:
    return list(vars(described).values())


def _upgrade(connection: Connection, existing: Existing) -> list[str]:
    """Add the columns and indexes that an existing table lacks; one line for each column."""
    table, added = existing.table, []
    lacking = existing.lacking()
    if any(existing.misspelt(column) for column in lacking):
        return []
    for column in lacking:
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(text(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}'))
        added.append(f"added {table.name}.{column.name}")
    for index in table.indexes:
        index.create(connection, checkfirst=True)
    return added


def _create_view(connection: Connection, spec: SoftSensor, prefix: str) -> list[str]:
    """Create the view of the newest predictions, or add the columns that its table was given."""
    name, query = latest_view(spec, prefix)
    ledger, view = find(connection, [tables(spec, prefix).archived, Table(name, MetaData())])
    if len(view.columns) == len(ledger.columns) or _misfits(ledger):
        return []
    connection.execute(text(f'CREATE OR REPLACE VIEW "{name}" AS {query}'))
    return [f"{'renewed' if view.relation else 'created'} {name}"]


def missing(engine: Engine, spec: SoftSensor) -> list[str]:
    """Tables, columns and the view that `initialise` would add."""
    lacking = []
    with engine.connect() as connection:
        for existing in find(connection, _all(tables(spec))):
            name = existing.table.name
            if existing.relation is None:
                lacking.append(name)
            elif existing.is_table:
                lacking += [f"{name}.{column.name}" for column in existing.lacking()]
        (view,) = find(connection, [Table(latest_view(spec)[0], MetaData())])
        if view.relation is None:
            lacking.append(view.table.name)
    return lacking


def misfits(engine: Engine, spec: SoftSensor) -> list[str]:
    """What `initialise` leaves as it is although it does not fit: one sentence each, with the
    statement that changes it.
    """
    with engine.connect() as connection:
        found = [each for prefix in TWINS for each in find(connection, _all(tables(spec, prefix)))]
    return [fault for existing in found for fault in _misfits(existing)]


def require_fit(connection: Connection, described: Iterable[Table]) -> list[Existing]:
    """The tables as they are; what they lack PostgreSQL will name.

    Raises:
        DataError: naming what cannot be used as it is, with the statements that change it.
    """
    found = find(connection, described)
    if faults := [fault for existing in found for fault in _misfits(existing)]:
        raise DataError("; ".join(faults))
    return found


def _misfits(existing: Existing) -> list[str]:
    name = existing.table.name
    if existing.relation is None:
        return []
    foreign = existing.is_foreign and FOREIGN in existing.table.info
    if not (existing.is_table or foreign):
        kind = RELATIONS.get(existing.relation, "something else")
        return [
            f"{name} is {kind}, but must be a table, which rows can be taken from: rename it, then "
            "run `impress init`"
        ]
    if foreign and not existing.changeable:
        return [
            f"{name} is a foreign table whose rows cannot be inserted and deleted from here: "
            "use a foreign-data wrapper that can, and a table that it may change"
        ]
    faults = []
    if foreign:
        lacking = [column for column in existing.lacking() if not existing.misspelt(column)]
        faults = [_missing_abroad(existing, column) for column in lacking]
    for column in existing.table.columns:
        if column.name not in existing.columns:
            if alike := existing.misspelt(column):
                faults.append(
                    f'{name} has a column "{alike}", and params.yaml calls it {column.name}: use '
                    f'one name: ALTER {_kind(existing)} "{name}" RENAME COLUMN "{alike}" TO '
                    f'"{column.name}"'
                )
            continue
        if not existing.fits(column):
            faults.append(_misfit(existing, column))
        elif _filled_by_now(column) and not existing.columns[column.name].filled:
            faults.append(
                f"{name}.{column.name} has no default, so new rows would have no time: "
                f'ALTER {_kind(existing)} "{name}" ALTER COLUMN "{column.name}" SET DEFAULT now()'
            )
    return faults


def _filled_by_now(column: Column[Any]) -> bool:
    """Whether PostgreSQL is to fill a column with the present time."""
    return isinstance(column.type, DateTime) and column.server_default is not None


def _kind(existing: Existing) -> str:
    return "FOREIGN TABLE" if existing.is_foreign else "TABLE"


def _missing_abroad(existing: Existing, column: Column[Any]) -> str:
    name = existing.table.name
    wanted = sql_type(column)
    default = " DEFAULT now()" if _filled_by_now(column) else ""
    return (
        f"{name}.{column.name} is missing in a foreign table, so add it on its server, and then "
        f'here: ALTER FOREIGN TABLE "{name}" ADD COLUMN "{column.name}" {wanted}{default}'
    )


def _misfit(existing: Existing, column: Column[Any]) -> str:
    """The sentence about a column whose type does not fit."""
    name, found = existing.table.name, existing.columns[column.name]
    wanted = sql_type(column)
    conversion = _USING.get(wanted, {}).get(found.kind, f"CAST({{0}} AS {wanted})")
    using = "" if existing.is_foreign else " USING " + conversion.format(f'"{column.name}"')
    change = f'ALTER {_kind(existing)} "{name}" ALTER COLUMN "{column.name}" TYPE {wanted}{using}'
    if view := existing.table.info.get(VIEW):
        change = f'DROP VIEW IF EXISTS "{view}"; {change}'
    return f"{name}.{column.name} is {found.type}, but must be {wanted}: {change}"
