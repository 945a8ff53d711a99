"""Both tasks stop in time when the platform asks them to, as process 1 and under an init."""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from src.process import STOPPED
from src.settings import variables
from tests.images.conftest import HARDENED, Image
from tests.processes import wait_for
from tests.stopping import waits_for_a_lock

IN_TIME = timedelta(seconds=2)  # podman's own start included


@pytest.mark.usefixtures("mlflow")
@pytest.mark.parametrize("init", [(), ("--init",)], ids=["as process 1", "under an init"])
def test_a_task_at_work_stops_in_time(image: Image, inbox: Engine, init: tuple[str, ...]) -> None:
    table = {"predict": "online_data", "monitor": "archived_data"}[image.task]
    name = f"impress-{uuid.uuid4().hex}"
    configured = [f"--env={name}" for name in variables() if name in os.environ]
    hardened = [option for option in HARDENED if option != "--rm"]
    podman = image.podman
    with inbox.connect() as other:
        other.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        podman.call("run", "--detach", f"--name={name}", *init, *hardened, *configured, image.id)
        try:
            wait_for(lambda: waits_for_a_lock(inbox), f"{image.task} at work")
            asked = datetime.now(UTC)
            podman.call("stop", "--time=10", name)
            state = json.loads(podman.call("inspect", "--format={{json .State}}", name).stdout)
            assert state["ExitCode"] == STOPPED, podman.call("logs", name).stderr
            took = datetime.fromisoformat(state["FinishedAt"]) - asked
            said = podman.call("logs", "--timestamps", name).stderr
            assert took < IN_TIME, f"asked at {asked}, it took {took}: {said}"
        finally:
            podman.call("rm", "--force", "--volumes", name)
    with inbox.connect() as connection:
        outcomes = connection.execute(text("SELECT outcome FROM runs WHERE pipeline <> 'load'"))
        assert outcomes.scalars().all() == ["stopped"]
