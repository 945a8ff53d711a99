"""Both tasks on the share of a core and the memory that Fargate gives them.

`make test-images` prints what was measured: the figures of deploy/README.md.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.images.conftest import TASKS, Image, size_of

# As version 1 and version 2 of control groups name it.
PEAKS = ("memory.max_usage_in_bytes", "memory.peak")
OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Watch(threading.Thread):
    """When a container first speaks to the database, and the most memory that it has."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self.engine = engine
        self.older = set(_groups())
        self.begin = time.monotonic()
        self.over = threading.Event()
        self.first, self.peak = 0.0, 0

    def run(self) -> None:
        """Look ten times a second."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self.over.wait(0.1):
                if not self.first and connection.scalar(OTHERS):
                    self.first = time.monotonic() - self.begin
                for group in set(_groups()) - self.older:
                    self.peak = max(self.peak, *(_number(group / name) for name in PEAKS))


def _groups() -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob("**/libpod-*"))


def _number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except OSError:  # the group is of another kind, or gone by now
        return 0


@pytest.mark.usefixtures("mlflow")
def test_the_tasks_do_with_what_fargate_gives_them(
    images: dict[str, Image], inbox: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    for task in TASKS:
        cores, memory = size_of(task)
        watch = Watch(inbox)
        watch.start()
        done = images[task].run(options=(f"--cpus={cores}",))
        whole = time.monotonic() - watch.begin
        watch.over.set()
        watch.join()
        assert done.returncode == 0, done.stderr
        assert 0 < watch.first < whole
        with capsys.disabled():
            print(
                f"\n{task} on {cores} cores and {memory} MB: first query after "
                f"{watch.first:.1f} s, done after {whole:.0f} s, at most {watch.peak >> 20} MB"
            )
