"""Both images, built once, and a PostgreSQL that a container reaches over TCP.

Registry, mail and Prefect are the servers of the integration tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from src.settings import variables
from tests.conftest import ROOT
from tests.images.podman import NEEDED, Podman, of_the_tests

# Fixtures are found by being here.
# pylint: disable=unused-import
from tests.integration.conftest import (
    fixture_bench,
    fixture_certificate,
    fixture_closed_port,
    fixture_inbox,
    fixture_mlflow,
    fixture_prefect,
    fixture_secrets,
    fixture_serve_mail,
    fixture_servers,
    fixture_smtp,
    fixture_trained,
)

# pylint: enable=unused-import
from tests.postgres import folder_for_postgres, postgres_server
from tests.processes import free_port

TASKS = ("predict", "monitor")
BUILD = 3600  # s; building an image takes minutes, and its packages come over the network
HOME = "/var/lib/impress"
GIT_HASH = "a" * 40
CONTEXT = (
    ".dockerignore",
    "setup.py",
    "constraints.txt",
    "params.yaml",
    "deploy/amazon-rds.pem",
    "src",
)
# As Fargate runs them. Without a volume named here a container gets one that ends with it.
HARDENED = (
    "--rm",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--timeout=300",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of this folder time for the images, which the first one to need them builds."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(BUILD))


@dataclass(frozen=True)
class Image:
    """The built image of a task."""

    podman: Podman
    task: str
    id: str

    def run(self, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run it hardened, in the memory of its Fargate task, configured as this test is."""
        configured = [f"--env={name}" for name in variables() if name in os.environ]
        memory = f"--memory={size_of(self.task)[1]}m"
        arguments = (*HARDENED, memory, *configured, *options, self.id, *command)
        return self.podman.call("run", *arguments, code=None)


def size_of(task: str) -> tuple[float, int]:
    """What the task has on Fargate: cores, and MB."""
    variables_tf = (ROOT / "deploy" / "variables.tf").read_text(encoding="utf-8")
    found = re.search(rf"{task} += {{ cpu = (\d+), memory = (\d+) }}", variables_tf)
    assert found, f"deploy/variables.tf does not tell the size of {task}"
    return int(found[1]) / 1024, int(found[2])


@pytest.fixture(name="podman", scope="session")
def fixture_podman() -> Iterator[Podman]:
    """A podman of the tests' own."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"there is no {', '.join(missing)} on this machine (apt-get install them)")
    if os.geteuid() != 0:
        pytest.skip("containers are run by root here")
    with of_the_tests() as made:
        yield made


@pytest.fixture(name="base", scope="session")
def fixture_base(podman: Podman) -> str:
    """The image to build on."""
    return podman.base()


Build = Callable[..., Image]


@pytest.fixture(name="build", scope="session")
def fixture_build(podman: Podman, base: str, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a task's image from what a fresh clone has; with bundles of a folder, other params."""

    def build(task: str, bundles: Path | None = None, params: Path | None = None) -> Image:
        context = tmp_path_factory.mktemp("context")
        for name in (*CONTEXT, f"Dockerfile.{task}"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            (context / name).parent.mkdir(exist_ok=True)
            copy(ROOT / name, context / name)
        arguments = [f"BASE={base}", f"GIT_HASH={GIT_HASH}"]
        (context / "ml_downloads").mkdir()
        (context / "ml_downloads" / ".gitkeep").touch()
        if bundles:
            shutil.copytree(bundles, context / "ml_downloads", dirs_exist_ok=True)
            arguments.append("BUNDLES=ml_downloads")
        if params:
            (context / "rig").mkdir()
            shutil.copy2(params, context / "rig" / "params.yaml")
            arguments.append("PARAMS=rig/params.yaml")
        return Image(podman, task, podman.build(context, task, arguments))

    return build


@pytest.fixture(name="images", scope="session")
def fixture_images(build: Build) -> dict[str, Image]:
    """Image by task."""
    return {task: build(task) for task in TASKS}


@pytest.fixture(name="predict")
def fixture_predict(images: dict[str, Image]) -> Image:
    """The image of the weekly task."""
    return images["predict"]


@pytest.fixture(name="monitor")
def fixture_monitor(images: dict[str, Image]) -> Image:
    """The image of the monthly task."""
    return images["monitor"]


@pytest.fixture(name="image", params=TASKS)
def fixture_image(images: dict[str, Image], request: pytest.FixtureRequest) -> Image:
    """Either image."""
    return images[request.param]


@pytest.fixture(name="postgres", scope="session")
def fixture_postgres() -> Iterator[Engine]:
    """The embedded PostgreSQL, but on a port of 127.0.0.1; an engine of its administrator."""
    port = free_port()
    with folder_for_postgres() as folder, postgres_server(folder / "data", port):
        url = f"postgresql+psycopg2://postgres@/postgres?host=127.0.0.1&port={port}"
        yield create_engine(url, poolclass=NullPool)


@pytest.fixture(name="port", autouse=True)
def fixture_port(home: Path, postgres: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the environment name the port too."""
    assert home.is_dir()
    monkeypatch.setenv("DB_PORT", str(postgres.url.query["port"]))
    return os.environ["DB_PORT"]
