"""A standalone Spark cluster on loopback: a master, workers and a Spark Connect server."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import Popen

import psutil

from tests.processes import free_port, running, wait_for

# Timeouts are for a machine with other work to do: at a load of 40 a session with the defaults lost
# its own block manager.
SETTINGS = """
spark.network.timeout 900s
spark.executor.heartbeatInterval 120s
spark.rpc.askTimeout 600s
spark.driver.host 127.0.0.1
spark.driver.bindAddress 127.0.0.1
spark.driver.memory 640m
spark.executor.memory 640m
spark.executor.cores 1
spark.cores.max 2
spark.sql.shuffle.partitions 2
spark.ui.enabled false
"""
# For tests: what takes seconds to compile would not pay in a run of minutes.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"


@dataclass
class Cluster:  # pylint: disable=too-many-instance-attributes  # all that runs
    """A master, workers and a Spark Connect server, each a JVM.

    Attributes:
        folder: for everything that they write.
        size, cores: how many workers there are, and cores of each.
        workers: processes by number; executors are their children.
    """

    folder: Path
    size: int
    cores: int
    environment: dict[str, str]
    master_port: int = field(default_factory=free_port)
    connect_port: int = field(default_factory=free_port)
    workers: dict[int, Popen[bytes]] = field(default_factory=dict)
    processes: list[Popen[bytes]] = field(default_factory=list)
    _running: ExitStack = field(default_factory=ExitStack)

    @property
    def master(self) -> str:
        """For sessions whose driver is a JVM here."""
        return f"spark://127.0.0.1:{self.master_port}"

    @property
    def connect(self) -> str:
        """For sessions whose driver is the Spark Connect server."""
        return f"sc://127.0.0.1:{self.connect_port}"

    def log(self, name: str) -> str:
        """What one of them has printed."""
        return (self.folder / f"{name}.log").read_text("utf-8", errors="replace")

    def start(self) -> None:
        """Start all; each is ready when this returns."""
        self._start(
            "master",
            "spark-class org.apache.spark.deploy.master.Master "
            f"--host 127.0.0.1 --port {self.master_port} --webui-port 0",
        )
        wait_for(lambda: listens(self.master_port), "a master")
        for number in range(self.size):
            self.start_worker(number)
        wait_for(lambda: self._registered() == self.size, "workers")
        server = self._start(
            "connect",
            "spark-submit --class org.apache.spark.sql.connect.service.SparkConnectServer "
            f"--master {self.master} --conf spark.connect.grpc.binding.address=127.0.0.1 "
            f"--conf spark.connect.grpc.binding.port={self.connect_port} spark-internal",
        )
        alive = partial(_runs, server)
        wait_for(lambda: listens(self.connect_port), "a Spark Connect server", alive)

    def start_worker(self, number: int) -> None:
        """Start one, or another in its place."""
        self.workers[number] = self._start(
            f"worker{number}",
            "spark-class org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --webui-port 0 "
            f"--cores {self.cores} --memory 2g --work-dir {self.folder}/work{number} {self.master}",
        )

    def tasks(self) -> int:
        """How many tasks executors have begun."""
        logs = self.folder.glob("work*/app-*/*/stderr")
        return sum(log.read_text("utf-8", errors="replace").count("Running task") for log in logs)

    def cpu(self) -> float:
        """CPU seconds of all of it so far, those of executors that have ended included."""
        roots = [psutil.Process(process.pid) for process in self.processes]
        times = [each.cpu_times() for root in roots for each in (root, *root.children(True))]
        return float(sum(t.user + t.system + t.children_user + t.children_system for t in times))

    def stop(self) -> None:
        """End all, and the children of each."""
        self._running.close()

    def _start(self, name: str, command: str) -> Popen[bytes]:
        program, *words = command.split()
        log = self._running.enter_context((self.folder / f"{name}.log").open("ab"))
        process = self._running.enter_context(
            running(
                [f"{self.environment['SPARK_HOME']}/bin/{program}", *words],
                env={**os.environ, **self.environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        )
        self.processes.append(process)
        return process

    def _registered(self) -> int:
        return self.log("master").count("Registering worker")


def _runs(process: Popen[bytes]) -> bool:
    return process.poll() is None


def listens(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def standalone(folder: Path, workers: int, cores: int, java: str = "") -> Iterator[Cluster]:
    """A cluster of workers with so many cores each, which runs in the block.

    Args:
        folder: for everything that they write.
        java: options of all JVMs.
    """
    import pyspark

    for name in ("conf", "local", "tmp"):
        (folder / name).mkdir()
    (folder / "conf" / "spark-defaults.conf").write_text(SETTINGS, encoding="utf-8")
    environment = {
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "640m",
        "JAVA_TOOL_OPTIONS": f"{java} -Djava.io.tmpdir={folder / 'tmp'}",
        "TMPDIR": str(folder / "tmp"),
    }
    cluster = Cluster(folder, workers, cores, environment)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
