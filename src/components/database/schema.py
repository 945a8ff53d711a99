"""Create the tables and the view, and upgrade existing ones."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, Table, inspect, text
from sqlalchemy.schema import CreateColumn

from src.components.database.tables import TWINS, latest_view, tables
from src.soft_sensor import SoftSensor


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
    columns = inspect(connection).get_columns(table.name)
    present = {column["name"] for column in columns}
    added = []
    for column in table.columns:
        if column.name not in present:
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
