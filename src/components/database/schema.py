"""Making the tables and the view, and giving older ones what they lack."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.schema import CreateColumn

from src.components.database.tables import TWINS, latest_view, tables
from src.soft_sensor import SoftSensor


def initialise(engine: Engine, spec: SoftSensor) -> list[str]:
    """Create the tables and their twins; add columns that existing tables lack.

    Nothing is ever dropped, so a table with only its original columns keeps its rows.

    Returns:
        One line for each thing that was done, none when all was there.
    """
    done = []
    with engine.begin() as connection:
        present = set(inspect(connection).get_table_names())
        for prefix in TWINS:
            described = tables(spec, prefix)
            for table in vars(described).values():
                if table.name not in present:
                    table.create(connection)
                    done.append(f"created {table.name}")
                    continue
                existing = {
                    column["name"] for column in inspect(connection).get_columns(table.name)
                }
                for column in table.columns:
                    if column.name not in existing:
                        definition = CreateColumn(column).compile(dialect=engine.dialect)
                        connection.exec_driver_sql(
                            f'ALTER TABLE "{table.name}" ADD COLUMN {definition}'
                        )
                        done.append(f"added {table.name}.{column.name}")
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            done += _create_view(connection, spec, prefix)
    return done


def _create_view(connection: Connection, spec: SoftSensor, prefix: str) -> list[str]:
    """Create the view of the newest predictions, or give it the columns its table has got."""
    name, query = latest_view(spec, prefix)
    views = inspect(connection)
    present = name in views.get_view_names()
    if present and len(views.get_columns(name)) == len(views.get_columns(f"{prefix}archived_data")):
        return []
    connection.exec_driver_sql(f'CREATE OR REPLACE VIEW "{name}" AS {query}')
    return [f"{'renewed' if present else 'created'} {name}"]
