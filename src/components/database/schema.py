"""Create the tables and the view, and upgrade existing ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, Engine, Inspector, Table, inspect, text
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from src.components.database.tables import TWINS, latest_view, tables
from src.soft_sensor import SoftSensor

# Types of existing columns that can hold what a column is declared to hold. Seconds since 1970 need
# more digits than REAL has.
FITTING = {
    "BIGINT": {"SMALLINT", "INTEGER", "BIGINT"},
    "DOUBLE PRECISION": {"DOUBLE PRECISION", "NUMERIC", "REAL"},
    "TEXT": {"TEXT", "VARCHAR", "CHAR"},
    "TIMESTAMP WITH TIME ZONE": {"TIMESTAMP"},
    "JSONB": {"JSONB"},
}


def initialise(engine: Engine, spec: SoftSensor) -> list[str]:
    """Create the tables and their twins; add columns that existing tables lack.

    Nothing is ever dropped, so a table with only its original columns keeps its rows.

    Returns:
        One line for each change, none when everything was there.
    """
    changes = []
    with engine.begin() as connection:
        present = set(inspect(connection).get_table_names())
        for prefix in TWINS:
            for table in vars(tables(spec, prefix)).values():
                if table.name in present:
                    changes += _upgrade(connection, table)
                else:
                    table.create(connection)
                    changes.append(f"created {table.name}")
            changes += _create_view(connection, spec, prefix)
    return changes


def _upgrade(connection: Connection, table: Table) -> list[str]:
    """Add the columns and indexes that an existing table lacks; one line for each column."""
    added = []
    for column in lacking(inspect(connection), table):
        definition = CreateColumn(column).compile(dialect=connection.dialect)
        connection.execute(text(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}'))
        added.append(f"added {table.name}.{column.name}")
    for index in table.indexes:
        index.create(connection, checkfirst=True)
    return added


def _create_view(connection: Connection, spec: SoftSensor, prefix: str) -> list[str]:
    """Create the view of the newest predictions, or add the columns that its table was given."""
    name, query = latest_view(spec, prefix)
    inspector = inspect(connection)
    exists = name in inspector.get_view_names()
    ledger = tables(spec, prefix).archived.name
    if exists and len(inspector.get_columns(name)) == len(inspector.get_columns(ledger)):
        return []
    connection.execute(text(f'CREATE OR REPLACE VIEW "{name}" AS {query}'))
    return [f"{'renewed' if exists else 'created'} {name}"]


def missing(engine: Engine, spec: SoftSensor) -> list[str]:
    """Tables and columns that `initialise` would add."""
    inspector = inspect(engine)
    present = set(inspector.get_table_names())
    found = []
    for table in vars(tables(spec)).values():
        if table.name in present:
            found += [f"{table.name}.{column.name}" for column in lacking(inspector, table)]
        else:
            found.append(table.name)
    return found


def lacking(inspector: Inspector, table: Table) -> list[Column[Any]]:
    """The columns that an existing table does not have."""
    present = {column["name"] for column in inspector.get_columns(table.name)}
    return [column for column in table.columns if column.name not in present]


def misfits(engine: Engine, spec: SoftSensor) -> list[str]:
    """What `initialise` leaves as it is although it does not fit: one sentence each, with the
    statement that changes it.
    """
    inspector = inspect(engine)
    present, views = set(inspector.get_table_names()), set(inspector.get_view_names())
    found = []
    for table in vars(tables(spec)).values():
        if table.name in views:
            found.append(f"{table.name} is a view: rows cannot be taken from it; make it a table")
        if table.name not in present:
            continue
        types = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name in types:
                is_time = column.name == spec.columns.timestamp
                found += _misfit(table, column, types[column.name], is_time, engine)
    return found


def _misfit(
    table: Table, column: Column[Any], there: TypeEngine[Any], is_time: bool, engine: Engine
) -> list[str]:
    """The sentence about a column whose type does not fit, if it does not."""
    wanted = column.type.compile(dialect=engine.dialect)
    found = there.compile(dialect=engine.dialect)
    kind = found.partition("(")[0].split(" WITH")[0]
    if kind in FITTING[wanted] and not (is_time and kind == "REAL"):
        return []
    using = ""
    if kind == "TIMESTAMP":
        using = f' USING extract(epoch FROM "{column.name}")'
    elif kind in FITTING["TEXT"] | {"BOOLEAN"}:
        using = f' USING "{column.name}"::{wanted}'
    change = f'ALTER TABLE "{table.name}" ALTER COLUMN "{column.name}" TYPE {wanted}{using}'
    return [f"{table.name}.{column.name} is {found}, but must be {wanted}: {change}"]
