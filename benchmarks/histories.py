"""Histories of any length: simulated experiments, repeated with new numbers, times and noise."""

from __future__ import annotations

from pathlib import Path

import duckdb

from src import simulator
from src.components.ingestion import table_file
from src.components.ingestion.cells import literal
from src.components.ingestion.data_set import sensor_columns
from src.soft_sensor import SoftSensor

EXPERIMENTS = 200  # that are simulated
NOISE = 0.002  # of each sensor, as a share of its value


def write_history(folder: Path, rows: int, spec: SoftSensor) -> int:
    """Write a history of at least so many rows, a Parquet file for each month; returns how many.

    The experiments follow each other in time and number; one that runs over the end of a month
    has rows in two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    simulator.simulate(folder / "simulated", experiments=EXPERIMENTS)
    file = folder / "simulated" / "sensors.csv"
    with table_file.read(file, sensor_columns(spec), spec.files.of_sensors) as table:
        simulated = folder / "simulated.parquet"
        table.connection.execute(f"COPY rows TO {literal(simulated)} (FORMAT parquet)")
    written = 0
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false; SET threads = 1; SELECT setseed(0.5)")
        connection.execute(f"CREATE VIEW simulated AS FROM read_parquet({literal(simulated)})")
        experiment, time = f'"{spec.columns.experiment}"', f'"{spec.columns.timestamp}"'
        first, last, count = connection.execute(
            f"SELECT min({time}), max({time}), count(*) FROM simulated"
        ).fetchall()[0]
        noisy = ", ".join(
            f'"{each.name}" * (1 + {NOISE} * (random() - 0.5)) AS "{each.name}"'
            for each in spec.sensors
        )
        for repeat in range(-(-rows // count)):
            connection.execute(f"""
                CREATE OR REPLACE TABLE part AS
                SELECT * EXCLUDE (impress_row) REPLACE (
                  {experiment} + {repeat * EXPERIMENTS} AS {experiment},
                  {time} + {repeat * (last - first + 600)} AS {time},
                  {noisy}),
                  strftime(to_timestamp({time} + {repeat * (last - first + 600)}), '%Y-%m') AS month
                FROM simulated""")
            for (month,) in connection.execute("SELECT DISTINCT month FROM part").fetchall():
                target = folder / "rows" / f"month={month}" / f"{repeat:06d}.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                connection.execute(
                    f"COPY (SELECT * EXCLUDE (month) FROM part WHERE month = {literal(month)} "
                    f"ORDER BY {time}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)"
                )
            written += count
    return int(written)
