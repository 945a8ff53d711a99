"""What it costs to score a history, by its length, beside other ways to compute the same features.

    python -m benchmarks.backfill [ROWS ...] [PICTURE]        by default 1, 10 and 100 million

PICTURE (.png or .svg) shows the CPU seconds of each way. Polars and Spark are among the ways where
they are installed (`pip install -c constraints.txt ".[benchmarks,spark]"`, and Java): Spark as a
standalone cluster on loopback, with workers of one core. Every way runs in a
process of its own over the same files, which are simulated here: CPU seconds count, as wall time
depends on what else the machine does. `units` is what `impress backfill` does, without scoring;
`scored` is all of it, with a model that is trained here. A way that does not fit into the memory of
this machine, or would take hours, is left out by its limit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.histories import write_history
from src.components.backfill.duckdb_engine import DuckDB
from src.components.backfill.engine import features_of
from src.components.backfill.order import UNIT_ROWS, Order
from src.components.backfill.rows import database, rows_of
from src.components.backfill.source import find
from src.components.backfill.survey import survey
from src.components.backfill.units import plan
from src.components.ingestion.cells import literal
from src.components.transformation.features import features_query
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.spark.cluster import standalone

ROOT = Path(__file__).resolve().parent.parent
MASTER = "BENCHMARK_SPARK"  # variable with the address of the cluster
SIZES = (1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True)
class Way:
    """A way to compute the features of a history.

    Attributes:
        compute: called with the folder of the files, returns the number of phases.
        up_to: rows, at most, that it is tried with; more do not fit into 24 GB, or take hours.
    """

    compute: Callable[[Path, SoftSensor], int]
    up_to: int = 10**12


@dataclass(frozen=True)
class Cost:
    """What a way has cost; memory is that of its own process."""

    rows: int
    cpu: float
    wall: float
    megabytes: float

    def __str__(self) -> str:
        per_second = self.rows / self.cpu / 1e6
        return f"{self.cpu:.1f} | {self.wall:.1f} | {self.megabytes:,.0f} | {per_second:.2f}"


def units(jobs: int) -> Callable[[Path, SoftSensor], int]:
    """As `impress backfill`, so many units at a time."""

    def compute(folder: Path, spec: SoftSensor) -> int:
        source = find(str(folder))
        planned = plan(survey(source, spec, folder.parent / "converted"), spec, UNIT_ROWS)
        phases = 0
        for _, table in features_of(DuckDB(source, spec), planned, jobs):
            if isinstance(table, Exception):
                raise table
            phases += table.num_rows
        return phases

    return compute


def by_spark(folder: Path, spec: SoftSensor) -> int:
    """As `impress backfill --engine spark`, on the cluster that the environment names."""
    from src.components.backfill.spark_engine import spark

    source = find(str(folder))
    planned = plan(survey(source, spec, folder.parent / "converted"), spec, UNIT_ROWS)
    phases = 0
    with spark(os.environ[MASTER], {}, spec) as engine:
        for _, table in features_of(engine, planned, jobs=1):
            if isinstance(table, Exception):
                raise table
            phases += table.num_rows
    return phases


def one_query(threads: int) -> Callable[[Path, SoftSensor], int]:
    """DuckDB over everything at once."""

    def compute(folder: Path, spec: SoftSensor) -> int:
        source = find(str(folder))
        found = survey(source, spec, folder.parent / "converted")
        rows = rows_of(found.files, spec.required_columns, spec)
        with database(source) as connection:
            connection.execute(f"SET threads = {threads}")
            connection.execute(f"CREATE VIEW history AS {rows}")
            table = connection.sql(features_query(spec, "history")).to_arrow_table()
        return int(table.num_rows)

    return compute


def scan(folder: Path, spec: SoftSensor) -> int:
    """Read the columns and add them up: the floor under every way."""
    files = ", ".join(literal(file) for file in sorted(folder.rglob("*.parquet")))
    sums = ", ".join(f'sum("{name}")' for name in spec.required_columns)
    with database(find(str(folder))) as connection:
        connection.execute("SET threads = 1")
        connection.execute(f"SELECT {sums} FROM read_parquet([{files}])").fetchall()
    return 0


def plain_pandas(folder: Path, spec: SoftSensor) -> int:
    """What a notebook would do: all rows in memory, groupby."""
    import pandas as pd

    rows = pd.concat(
        [
            pd.read_parquet(file, columns=spec.required_columns)
            for file in sorted(folder.rglob("*.parquet"))
        ]
    )
    if rule := spec.valid_rows:
        rows = rows[~(rows[rule.column] < rule.min)]
    for sensor in spec.sensors:
        rows[sensor.name] = rows[sensor.name].where(
            rows[sensor.name].between(sensor.low, sensor.high)
        )
    groups = rows.groupby(spec.columns.keys)[[sensor.name for sensor in spec.sensors]]
    statistics = [groups.mean(), groups.std(), *(groups.quantile(q) for q in (0.25, 0.5, 0.75))]
    return len(statistics[0])


def polars_streaming(folder: Path, spec: SoftSensor) -> int:
    """The features in Polars' own expressions, as it runs no such SQL."""
    import polars as pl

    shares = {"percentile25": 0.25, "median": 0.5, "percentile75": 0.75}
    features = []
    for sensor in spec.sensors:
        value = pl.col(sensor.name)
        value = pl.when(value.is_between(sensor.low, sensor.high)).then(value)
        kinds = {"mean": value.mean(), "std": value.std()}
        kinds |= {name: value.quantile(share, "linear") for name, share in shares.items()}
        features += [kinds[name].alias(sensor.feature(name)) for name in spec.statistics]
    rows = pl.scan_parquet(sorted(folder.rglob("*.parquet")), hive_partitioning=False)
    if rule := spec.valid_rows:
        rows = rows.remove(pl.col(rule.column) < rule.min)
    phases = rows.group_by(spec.columns.keys).agg(features)
    return int(phases.collect(engine="streaming").height)


def scored(folder: Path, spec: SoftSensor) -> int:
    """The whole of `impress backfill`, one unit at a time, with the model in production."""
    from src.pipelines.backfill_pipeline import backfill
    from src.settings import Settings

    assert spec.name
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        order = Order(str(folder), f"{out}/out")
        return backfill(Settings(), order).counts.phases


WAYS = {
    "scan": Way(scan),
    "units, 1 job": Way(units(1)),
    "units, 2 jobs": Way(units(2)),
    "one query, 1 thread": Way(one_query(1), up_to=20_000_000),
    "one query, 2 threads": Way(one_query(2), up_to=20_000_000),
    "pandas": Way(plain_pandas, up_to=20_000_000),
    "scored, 1 job": Way(scored),
}
if find_spec("polars") is not None:
    WAYS["Polars, streaming"] = Way(polars_streaming)
WORKERS = {"Spark, 1 worker": 1, "Spark, 2 workers": 2}
if find_spec("pyspark") is not None and shutil.which("java") is not None:
    WAYS |= {name: Way(by_spark, up_to=20_000_000) for name in WORKERS}


def measure(way: str, folder: Path) -> Cost | None:
    """Run a way in a process of its own; None when it failed, and the log says why."""
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        os.dup2(os.open(folder.parent / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.backfill", way, str(folder)])
    _, status, usage = os.wait4(process, 0)
    if status:
        return None
    cpu, wall = usage.ru_utime + usage.ru_stime, time.monotonic() - began
    return Cost(_rows(folder), cpu, wall, usage.ru_maxrss / 1024)


def measure_spark(way: str, folder: Path) -> Cost | None:
    """The same, with the CPU seconds of a cluster that has just been started."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        standalone(Path(scratch), WORKERS[way], cores=1) as cluster,
    ):
        os.environ[MASTER] = cluster.connect
        before = cluster.cpu()
        cost = measure(way, folder)
        return None if cost is None else replace(cost, cpu=cost.cpu + cluster.cpu() - before)


def _rows(folder: Path) -> int:
    return int(json.loads((folder.parent / "rows.json").read_text(encoding="utf-8")))


def train(home: Path) -> None:
    """A model in production, trained on simulated experiments with the default hyperparameters."""
    from src import simulator
    from src.components.backfill.training import DataSet
    from src.components.registry.production import promote
    from src.components.registry.versions import Registry
    from src.components.trainer.fitting import DEFAULTS
    from src.pipelines import train_pipeline
    from src.settings import Settings

    settings = Settings()
    spec = load_soft_sensor(settings.impress_params)
    simulator.simulate(home / "Dataset", experiments=50)
    data = DataSet(home / "Dataset")
    table, _ = train_pipeline.prepare(data, spec)
    bundle = train_pipeline.fit(table, 0, DEFAULTS, spec)
    version = train_pipeline.version_of(data)
    train_pipeline.evaluate_and_register(bundle, version, settings, spec)
    promote(Registry(settings, spec.name), "1", "benchmark")


def write(folder: Path, size: int) -> None:
    """A history, and its number of rows."""
    rows = write_history(folder, size, load_soft_sensor(ROOT / "params.yaml"))
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")


def apart(work: Callable[..., None], *arguments: Any) -> None:
    """Do something in a process of its own: the peak of those that are measured includes ours."""
    process = get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def draw(costs: dict[str, list[Cost]], file: Path) -> None:
    """CPU seconds of each way, by the rows of a history."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.4), layout="constrained")
    axis = figure.add_subplot()
    for way, own in costs.items():
        axis.plot([each.rows for each in own], [each.cpu for each in own], "o-", label=way)
    axis.set(xscale="log", yscale="log", xlabel="rows of the history", ylabel="CPU seconds")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.savefig(file, dpi=110, metadata={"Date": None} if file.suffix == ".svg" else None)


def main(sizes: list[int], picture: Path | None) -> None:
    """Print a table for each size, and draw them."""
    costs = dict[str, list[Cost]]()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        os.environ |= {"IMPRESS_HOME": str(home), "IMPRESS_PARAMS": str(ROOT / "params.yaml")}
        apart(train, home)
        for size in sizes:
            folder = home / f"{size}"
            apart(write, folder, size)
            rows = _rows(folder / "rows")
            print(f"\n{rows:,} rows\n")
            print("| way | CPU s | wall s | peak MB | million rows a CPU s |")
            print("| --- | --- | --- | --- | --- |")
            for name, way in WAYS.items():
                if rows > way.up_to:
                    continue
                cost = (measure_spark if name in WORKERS else measure)(name, folder / "rows")
                print(f"| {name} | {cost or 'failed | | |'} |", flush=True)
                if cost is not None:
                    costs.setdefault(name, []).append(cost)
            shutil.rmtree(folder)
    if picture is not None:
        draw(costs, picture)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in WAYS:
        WAYS[sys.argv[1]].compute(Path(sys.argv[2]), load_soft_sensor(ROOT / "params.yaml"))
    else:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster must not stay behind
        numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
        pictures = [Path(word) for word in sys.argv[1:] if not word.isdecimal()]
        main(numbers or list(SIZES), pictures[0] if pictures else None)
