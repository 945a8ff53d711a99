"""What is in the images, and what is not."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine

from tests.conftest import ROOT
from tests.images.conftest import GIT_HASH, HOME, TASKS, Build, Image

# What `du` says of the installed Python packages, in MB. A container is pulled before it starts.
BUDGET = {"predict": 270, "monitor": 1000}


def shell(image: Image, script: str) -> list[str]:
    """Lines that a script in the container prints."""
    done = image.run("-c", script, options=("--entrypoint=sh",))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_installed_packages_keep_their_budget(image: Image) -> None:
    size = int(shell(image, "du -sm /venv")[0])
    print(f"{image.task}: {size} MB of packages")
    assert size <= BUDGET[image.task]


def test_an_image_says_what_it_runs_as_whom_and_from_which_commit(image: Image) -> None:
    (found,) = json.loads(image.podman.call("image", "inspect", image.id).stdout)
    config = found["Config"]
    assert config["Entrypoint"] == ["impress"] and config["Cmd"] == [image.task]
    assert config["User"] == "10001" and list(config["Volumes"]) == [HOME]
    assert config["Labels"]["org.opencontainers.image.revision"] == GIT_HASH
    assert {f"GIT_HASH={GIT_HASH}", "DO_NOT_TRACK=1", f"IMPRESS_HOME={HOME}"} <= set(config["Env"])


def test_only_the_volume_can_be_written(image: Image) -> None:
    places = f"/ /app /tmp /venv /venv/lib {HOME}"
    script = f"for place in {places}; do touch $place/file 2>/dev/null && echo $place; done; id -u"
    assert shell(image, script) == [HOME, "10001"]


def test_nothing_is_there_to_build_or_install_with(image: Image) -> None:
    tools = "cc gcc g++ make ld git curl wget /venv/bin/pip"
    assert not shell(image, f"for tool in {tools}; do command -v $tool; done; true")
    assert not shell(image, "find /root/.cache /tmp -type f 2>/dev/null; true")


@pytest.mark.parametrize("task", TASKS)
def test_params_of_another_rig_are_built_in(build: Build, task: str) -> None:
    params = ROOT / "examples" / "hydraulics" / "params.yaml"
    image = build(task, params=params)
    done = image.run("params.yaml", options=("--entrypoint=cat",))
    assert done.stdout == params.read_text(encoding="utf-8")


@pytest.mark.usefixtures("mlflow")
def test_a_start_compiles_nothing(predict: Image, monitor: Image, inbox: Engine) -> None:
    assert inbox.url.database  # the environment names this test's database
    for image, command in ((predict, "predict"), (monitor, "monitor")):
        done = image.run(command, options=("--env=PYTHONVERBOSE=1",))
        assert done.returncode == 0, done.stderr[-2000:]
        begin = "# code object from '/venv"
        read = {line.split("'")[1] for line in done.stderr.splitlines() if line.startswith(begin)}
        assert len(read) > 500
        assert not sorted(name for name in read if name.endswith(".py"))
