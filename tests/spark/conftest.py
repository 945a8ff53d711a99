"""A standalone Spark cluster on loopback, a history to score on it, and the command that does."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import pytest

from src.components.registry.production import promote
from src.components.registry.versions import Registry
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, made_from
from tests.processes import free_port, running, wait_for
from tests.spark.history import training_table, write_history

UNIT_ROWS = 1000  # so that the history has several units
WORKERS = 2

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
# What takes seconds to compile would not pay in a run of minutes.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:-UsePerfData"

Backfill = Callable[..., AbstractContextManager[Popen[str]]]


@pytest.fixture(autouse=True)
def fixture_environment() -> Iterator[None]:
    """PySpark notes in the environment that a session is one of Connect; then no other begins."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@dataclass
class Cluster:
    """A master, two workers and a Spark Connect server, each a JVM.

    Attributes:
        folder: for everything that they write.
        workers: processes by number; executors are their children.
    """

    folder: Path
    environment: dict[str, str]
    master_port: int = field(default_factory=free_port)
    connect_port: int = field(default_factory=free_port)
    workers: dict[int, Popen[bytes]] = field(default_factory=dict)
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
        for number in range(WORKERS):
            self.start_worker(number)
        wait_for(lambda: self._registered() == WORKERS, "workers")
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
            f"--cores 2 --memory 2g --work-dir {self.folder}/work{number} {self.master}",
        )

    def tasks(self) -> int:
        """How many tasks executors have begun."""
        logs = self.folder.glob("work*/app-*/*/stderr")
        return sum(log.read_text("utf-8", errors="replace").count("Running task") for log in logs)

    def stop(self) -> None:
        """End all, and the children of each."""
        self._running.close()

    def _start(self, name: str, command: str) -> Popen[bytes]:
        program, *words = command.split()
        log = self._running.enter_context((self.folder / f"{name}.log").open("ab"))
        return self._running.enter_context(
            running(
                [f"{self.environment['SPARK_HOME']}/bin/{program}", *words],
                env={**os.environ, **self.environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        )

    def _registered(self) -> int:
        return self.log("master").count("Registering worker")


def _runs(process: Popen[bytes]) -> bool:
    return process.poll() is None


def listens(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(name="cluster", scope="session")
def fixture_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of all tests."""
    import pyspark

    if shutil.which("java") is None:
        pytest.fail("there is no Java: install a headless JRE, 17 or newer")
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("conf", "local", "tmp"):
        (folder / name).mkdir()
    (folder / "conf" / "spark-defaults.conf").write_text(SETTINGS, encoding="utf-8")
    environment = {
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "640m",
        "JAVA_TOOL_OPTIONS": f"{JAVA} -Djava.io.tmpdir={folder / 'tmp'}",
        "TMPDIR": str(folder / "tmp"),
    }
    cluster = Cluster(folder, environment)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(name="history", scope="session")
def fixture_history(spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind that a historian may have written."""
    folder = tmp_path_factory.mktemp("source") / "history"
    write_history(spec, folder)
    return folder


@pytest.fixture(name="trained_home", scope="session")
def fixture_trained_home(
    params: Path, spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home whose registry holds one version, of small members, in Production."""
    folder = tmp_path_factory.mktemp("trained")
    settings = Settings(impress_home=folder, impress_params=params, mlflow_tracking_uri=None)
    for name in ("rows", "pages"):
        (folder / name).mkdir()
    bundle = made_from(training_table(spec, folder / "rows"), spec, MEMBERS)
    registry = Registry(settings, spec.name)
    promote(registry, registry.log(bundle, {}, {}, folder / "pages"), "the first")
    return folder


@pytest.fixture(name="home")
def fixture_home(
    production: Path, params: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A home of this test's own, which has a model in production."""
    assert production
    monkeypatch.setenv("IMPRESS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMPRESS_PARAMS", str(params))
    return tmp_path / "home"


@pytest.fixture(name="backfill")
def fixture_backfill(home: Path, cluster: Cluster, history: Path, tmp_path: Path) -> Backfill:
    """`impress backfill` of the history as a process beside the test."""
    assert home
    (tmp_path / "work").mkdir()

    def run(out: Path, master: str, *options: str) -> AbstractContextManager[Popen[str]]:
        words = ["backfill", str(history), str(out), "--unit-rows", str(UNIT_ROWS)]
        return running(  # type: ignore[return-value]  # of text
            [sys.executable, "-m", "src.cli", *words, *spark(master), *options],
            env={**os.environ, **cluster.environment},
            cwd=tmp_path / "work",
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=(tmp_path / "stderr").open("ab"),
            text=True,
        )

    return run


def spark(master: str) -> list[str]:
    """Options."""
    return ["--engine", "spark", "--master", master, "--jobs", "2"]
