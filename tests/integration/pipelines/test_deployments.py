"""prefect.yaml on a real Prefect server: deployed, scheduled, and run by a worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.conftest import ROOT
from tests.integration.pipelines.test_orchestration import ask, log_of, secrets_in
from tests.processes import running, wait_for

SCHEDULES = {
    "weekly": {"cron": "0 6 * * 1", "timezone": "Europe/Berlin"},
    "monthly": {"cron": "0 8 1 * *", "timezone": "Europe/Berlin"},
}


@pytest.fixture(name="checkout")
def fixture_checkout(home: Path, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a user has it who deploys."""
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    shutil.copy(ROOT / "prefect.yaml", home)
    (home / "src").symlink_to(ROOT / "src")
    monkeypatch.setenv("PWD", str(home))
    return home


def prefect_command(*words: str) -> list[str]:
    """A command of Prefect, without questions."""
    return [sys.executable, "-m", "prefect", "--no-prompt", *words]


def call(*words: str) -> str:
    """Run a command of Prefect to its good end. Returns what it printed."""
    done = subprocess.run(prefect_command(*words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def flow_run(api: str, deployment: dict[str, Any], state: str) -> dict[str, Any]:
    """The only run of a deployment that was not scheduled, when it is in a state."""
    of_it = {"deployments": {"id": {"any_": [deployment["id"]]}}}

    def found() -> list[dict[str, Any]]:
        runs = ask(api, "flow_runs", **of_it)
        return [run for run in runs if not run["auto_scheduled"] and run["state_type"] == state]

    wait_for(lambda: bool(found()), f"a run of {deployment['name']} that is {state}")
    return found()[0]


def has_logged(api: str, run: dict[str, Any], words: str) -> bool:
    """Whether the server knows these words of a run; it gets lines a little later than states."""
    return words in log_of(api, run)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("mlflow", "checkout")
def test_both_jobs_are_deployed_scheduled_and_run(
    prefect: str, inbox: Engine, secrets: dict[str, str]
) -> None:
    with inbox.begin() as connection:  # too few for a report, which takes long to draw
        connection.exec_driver_sql("DELETE FROM online_data WHERE experimentnummer > 5")
    call("work-pool", "create", "--type", "process", "impress", "--overwrite")
    call("deploy", "--all")
    deployments = {each["name"]: each for each in ask(prefect, "deployments")}
    assert deployments.keys() == SCHEDULES.keys()
    for name, deployment in deployments.items():
        (schedule,) = deployment["schedules"]
        assert schedule["active"] and schedule["schedule"].items() >= SCHEDULES[name].items()
        assert deployment["work_pool_name"] == "impress"
        assert deployment["global_concurrency_limit"]["limit"] == 1
    with running(prefect_command("worker", "start", "--pool", "impress"), env=dict(os.environ)):
        for flow, name in (("predict", "weekly"), ("monitor", "monthly")):
            call("deployment", "run", f"{flow}/{name}")
            run = flow_run(prefect, deployments[name], "COMPLETED")
            assert secrets_in(prefect, run, secrets) == []
            words = {"predict": " 0 rejected", "monitor": "report: "}[flow]
            wait_for(partial(has_logged, prefect, run, words), f"{words!r} in the log of {flow}")
        # One that fails says why, and is no completed one.
        with inbox.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE archived_data RENAME TO gone")
        call("deployment", "run", "monitor/monthly")
        run = flow_run(prefect, deployments["monthly"], "FAILED")
        assert "archived_data" in run["state"]["message"]
    with inbox.connect() as connection:
        runs = connection.execute(text("SELECT pipeline, outcome FROM runs ORDER BY id")).all()
    assert [tuple(run) for run in runs if run.pipeline == "predict"] == [("predict", "done")]
    assert [run.outcome for run in runs if run.pipeline == "monitor"][0] not in ("failed", "died")
