"""What a large inbox costs in one table, and with a partition for each week.

    python -m benchmarks.partitions [ROWS ...]      by default 30 and 100 million

Five weeks of simulated rows are in the inbox, as they are with a retention time of 30 days. Both
layouts go through the same steps, one after the other on the same server: predict a week's rows in
an inbox that is otherwise empty, and beside four weeks of history; a run with nothing new; one that
removes the oldest week; VACUUM; and the rows of the next week. CPU seconds count, those of the
server included: wall time depends on what else the machine does. Allow 300 bytes of disk for each
row, in the folder that TMPDIR names.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

import psutil
from sqlalchemy import text

from benchmarks.inbox import IMPRESS, ROOT, SIMULATED, Bench, Cost, run, started
from src.soft_sensor import load_soft_sensor

SIZES = (30_000_000, 100_000_000)
ALL_STEPS_UP_TO = 30_000_000  # rows; with more, those are left out that differ by size only
WEEKS = 5
WEEK = 7 * 86400  # s
NEWEST = 6 * 3600  # s since the last of the rows
NUMBERS = 10_000_000  # experiment numbers for each week
RETENTION = {"one table": "rows", "partitions": "partitions"}  # by layout
INDEXES = {
    "B-tree of experiment and phase": "(experimentnummer, waschen)",
    "B-tree of the timestamp": '("timestamp")',
    "BRIN of the timestamp": 'USING brin ("timestamp")',
}


@dataclass(frozen=True)
class Step:
    """What a step took, and the inbox after it.

    Attributes:
        wall, cpu: seconds; the latter of the server and of `impress`.
        wal: bytes of the write-ahead log, which replicas and backups receive.
        table: bytes of the inbox.
        dead: rows that were removed and take space.
    """

    wall: float
    cpu: float
    wal: int
    table: int
    dead: int


@dataclass(frozen=True)
class Plant:
    """An inbox that is filled week by week."""

    bench: Bench
    per_week: int  # rows
    first: int  # Unix seconds at which the weeks begin

    def begin(self, layout: str) -> None:
        """An empty database whose inbox has this layout, and a sample of rows to copy."""
        self.bench.fill(0)
        self._make_sample()
        if layout == "partitions":
            self.bench.execute(
                "ALTER TABLE online_data RENAME TO plain",
                "CREATE TABLE online_data (LIKE plain INCLUDING DEFAULTS) "
                'PARTITION BY RANGE ("timestamp")',
                "DROP TABLE plain",
                "CREATE TABLE online_data_default PARTITION OF online_data DEFAULT",
                *(self._partition(week) for week in range(WEEKS + 2)),
            )

    def _partition(self, week: int) -> str:
        begin = self.first + week * WEEK
        return (
            f"CREATE TABLE online_data_{week} PARTITION OF online_data "
            f"FOR VALUES FROM ({begin}) TO ({begin + WEEK})"
        )

    def _make_sample(self) -> None:
        # In a process of its own: the peak memory of a child includes what this one has by then.
        run([*IMPRESS, "load", str(self.bench.folder / "base" / "sensors.csv")])
        # A real rig fills all of its columns; the simulator only those that we need.
        others = ", ".join(
            f'"{name}"' if name in SIMULATED else f'truebung * {place} AS "{name}"'
            for place, name in enumerate(self.bench.spec.columns.online[2:])
        )
        since = '"timestamp" - min("timestamp") OVER (PARTITION BY experimentnummer)'
        self.bench.execute(
            f"""CREATE TABLE sample AS
            SELECT dense_rank() OVER (ORDER BY experimentnummer) - 1 AS place, {since} AS since,
              {others}
            FROM online_data ORDER BY place, since""",
            "TRUNCATE online_data",
            "VACUUM ANALYZE sample",
        )

    def load(self, week: int) -> None:
        """Insert the rows of a week: experiments one after the other, which overlap in time."""
        sample = self.number("SELECT count(*) FROM sample")
        experiments = self.number("SELECT count(DISTINCT place) FROM sample")
        columns = self.bench.spec.columns.online
        names, others = (", ".join(f'"{name}"' for name in some) for some in (columns, columns[2:]))
        copies = -(-self.per_week // sample)
        apart = WEEK / (copies * experiments)
        for copy in range(copies):
            place = f"(place + {copy * experiments})"
            self.bench.execute(f"""
                INSERT INTO online_data ({names})
                SELECT {week * NUMBERS} + {place},
                       {self.first + week * WEEK} + {place} * {apart} + since, {others}
                FROM sample LIMIT {self.per_week - copy * sample}""")

    def note_predicted(self, first: int, last: int) -> None:
        """Write the ledger of weeks as if earlier runs had predicted them, without features."""
        self.bench.execute(f"""
            INSERT INTO archived_data (experimentnummer, waschen, n_samples, predicted_at)
            SELECT experimentnummer, waschen, count(*) FILTER (WHERE vorschlagsnummer >= 0),
                   now() - interval '7 days'
            FROM online_data
            WHERE experimentnummer >= {first * NUMBERS}
              AND experimentnummer < {(last + 1) * NUMBERS}
            GROUP BY experimentnummer, waschen""")

    def expire(self) -> None:
        """Let the retention time of the first week be over."""
        self.bench.execute(
            "UPDATE archived_data SET predicted_at = now() - interval '31 days' "
            f"WHERE experimentnummer < {NUMBERS}",
            "VACUUM ANALYZE archived_data",
        )

    def measure(self, action: Callable[[], Cost | None]) -> Step:
        """What an action costs."""
        self.bench.execute("CHECKPOINT")  # or it pays for what others have written
        cpu, wal, start = self._server_cpu(), self._wal(), time.perf_counter()
        client = action()
        wall = time.perf_counter() - start
        cpu = self._server_cpu() - cpu + (client.cpu if client else 0.0)
        return Step(wall, cpu, self._wal() - wal, self.size("online_data"), self._dead())

    def number(self, query: str) -> int:
        """The number that a query gives."""
        with self.bench.engine.connect() as connection:
            return int(connection.scalar(text(query)) or 0)

    def size(self, name: str) -> int:
        """Bytes of a table or index with all of its partitions."""
        tree = (
            f"SELECT '{name}'::regclass AS id UNION SELECT relid FROM pg_partition_tree('{name}')"
        )
        return self.number(f"SELECT sum(pg_relation_size(id)) FROM ({tree}) AS tree")

    def _dead(self) -> int:
        return self.number(
            "SELECT sum(n_dead_tup) FROM pg_stat_user_tables WHERE relname LIKE 'online_data%'"
        )

    def _wal(self) -> int:
        return self.number("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")

    def _server_cpu(self) -> float:
        """CPU seconds of the server: of the processes that it has, and of those that ended."""
        pid_file = self.bench.folder / "pgdata" / "postmaster.pid"
        postmaster = psutil.Process(int(pid_file.read_text(encoding="utf-8").split()[0]))
        while True:
            ended = postmaster.cpu_times()
            with suppress(psutil.NoSuchProcess):
                own = [process.cpu_times() for process in (postmaster, *postmaster.children())]
                # One that ends meanwhile may count in neither.
                if postmaster.cpu_times().children_user == ended.children_user:
                    seconds = sum(times.user + times.system for times in own)
                    return float(seconds + ended.children_user + ended.children_system)


def predict() -> Cost:
    """`impress predict`."""
    return run([*IMPRESS, "predict"])


def compare(bench: Bench, rows: int, layout: str) -> dict[str, Step]:
    """All steps of one size and layout."""
    plant = Plant(bench, rows // WEEKS, int(time.time()) - NEWEST - WEEKS * WEEK)
    plant.begin(layout)
    steps: dict[str, Step] = {}

    def step(name: str, action: Callable[[], Cost | None]) -> None:
        steps[name] = plant.measure(action)
        print(rows, layout, name, json.dumps(asdict(steps[name])), flush=True)

    complete = rows <= ALL_STEPS_UP_TO
    step("load a week", partial(plant.load, 0))
    if complete:
        bench.execute("VACUUM ANALYZE online_data")
        step("predict it alone", predict)
    for week in range(1, WEEKS - 1):
        plant.load(week)
    plant.note_predicted(1 if complete else 0, WEEKS - 2)
    plant.load(WEEKS - 1)
    bench.execute("VACUUM ANALYZE online_data, archived_data")
    step("predict a week beside four others", predict)
    step("nothing new", predict)
    plant.expire()
    with bench.params("retention: rows ", f"retention: {RETENTION[layout]} "):
        step("remove the oldest week", predict)
    step("VACUUM", partial(bench.execute, "VACUUM online_data"))
    if complete:
        step("load the next week", partial(plant.load, WEEKS))
        for title, columns in INDEXES.items():
            step(title, partial(bench.execute, f"CREATE INDEX i ON online_data {columns}"))
            print(rows, layout, title, "has bytes:", plant.size("i"), flush=True)
            bench.execute("DROP INDEX i")
    bench.execute_on("postgres", "DROP DATABASE rows_0 WITH (FORCE)")
    return steps


def report(rows: int, results: dict[str, dict[str, Step]]) -> str:
    """The table of one size, in Markdown: of each figure a column for each layout."""
    figures: dict[str, Callable[[Step], str]] = {
        "CPU s": lambda step: f"{step.cpu:.1f}",
        "wall s": lambda step: f"{step.wall:.1f}",
        "WAL MB": lambda step: f"{step.wal / 1e6:,.0f}",
        "inbox GB after": lambda step: f"{step.table / 1e9:.1f}",
        "dead rows after": lambda step: f"{step.dead:,}",
    }
    titles = [f"{figure}, {layout}" for figure in figures for layout in results]
    lines = [f"| {rows:,} rows | {' | '.join(titles)} |", "| --- " + "| ---: " * len(titles) + "|"]
    for name in next(iter(results.values())):
        cells = [figure(results[layout][name]) for figure in figures.values() for layout in results]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all sizes, print the tables."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    with started(load_soft_sensor(ROOT / "params.yaml")) as bench:
        bench.execute_on("postgres", "ALTER SYSTEM SET autovacuum = off")
        # A sample is copied from its first row on, wherever the scan before has ended.
        bench.execute_on("postgres", "ALTER SYSTEM SET synchronize_seqscans = off")
        bench.execute_on("postgres", "SELECT pg_reload_conf()")
        for rows in sizes:
            results = {layout: compare(bench, rows, layout) for layout in RETENTION}
            print(f"\n{report(rows, results)}\n", flush=True)


if __name__ == "__main__":
    main()
