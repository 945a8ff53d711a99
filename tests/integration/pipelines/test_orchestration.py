"""The three jobs as flow runs on a real Prefect server, and without one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine, text

from tests.processes import DEADLINE, wait_for
from tests.stopping import ends_in_time, started, waits_for_a_lock

PIPELINES = Path(__file__).resolve().parents[3] / "src" / "pipelines"
Impress = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(name="configured", autouse=True)
def fixture_configured(secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords in the environment, as in production."""
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)


def ask(api: str, kind: str, **question: Any) -> list[dict[str, Any]]:
    """What the server has of a kind."""
    answer = requests.post(f"{api}/{kind}/filter", json=question, timeout=DEADLINE)
    answer.raise_for_status()
    return list(answer.json())


def newest_run(api: str, flow: str) -> dict[str, Any]:
    """The last flow run of a flow."""
    named = {"flows": {"name": {"any_": [flow]}}}
    return ask(api, "flow_runs", sort="EXPECTED_START_TIME_DESC", limit=1, **named)[0]


def completed_tasks(api: str, run: dict[str, Any], expected: set[str]) -> None:
    """Wait until the server knows that these tasks of a flow run, and all others, are completed.

    It notes a task run a little later than the flow run that it belongs to.
    """
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}

    def completed() -> bool:
        tasks = ask(api, "task_runs", **of_run)
        states = {task["name"].rsplit("-", 1)[0]: task["state_type"] for task in tasks}
        assert not set(states.values()) & {"FAILED", "CRASHED"}, states
        return expected <= states.keys() and set(states.values()) == {"COMPLETED"}

    wait_for(completed, f"the completed task runs {expected}")


def log_of(api: str, run: dict[str, Any]) -> str:
    """All log lines of a flow run on the server."""
    question = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC"}
    return "\n".join(line["message"] for line in ask(api, "logs", **question))


def secrets_in(api: str, run: dict[str, Any], secrets: dict[str, str]) -> list[str]:
    """Names of the passwords that stand in what the server knows of a flow run."""
    known = f"{run} {log_of(api, run)} {ask(api, 'task_runs')}"
    assert run["name"] in known
    return [name for name, value in secrets.items() if value in known]


@pytest.mark.usefixtures("trained")
def test_train_is_a_completed_flow_run(
    prefect: str, small_dataset: Path, secrets: dict[str, str]
) -> None:
    run = newest_run(prefect, "train")
    assert run["state_type"] == "COMPLETED"
    asked = {"folder": str(small_dataset), "trials": 1}
    assert run["parameters"] == {**asked, "retrain": False, "cold": False, "accept_outliers": None}
    completed_tasks(prefect, run, {"prepare", "evaluate_and_register"})
    assert "errors on unseen experiments" in log_of(prefect, run)
    assert secrets_in(prefect, run, secrets) == []


@pytest.mark.usefixtures("mlflow")
def test_predict_and_monitor_are_completed_flow_runs(
    prefect: str, impress: Impress, inbox: Engine, secrets: dict[str, str]
) -> None:
    with inbox.begin() as connection:  # too few for a report, which takes long to draw
        connection.exec_driver_sql("DELETE FROM online_data WHERE experimentnummer > 5")
    script = [sys.executable, str(PIPELINES / "predict_pipeline.py")]
    predicted = subprocess.run(script, capture_output=True, text=True, check=False)
    assert predicted.returncode == 0, predicted.stderr
    monitored = impress("monitor")
    assert monitored.returncode == 0, monitored.stderr
    for flow, tasks, words in (
        ("predict", {"fetch_production"}, " 0 rejected"),
        ("monitor", {"fetch_production", "write_report", "deliver_kept"}, "report: "),
    ):
        run = newest_run(prefect, flow)
        assert run["state_type"] == "COMPLETED"
        completed_tasks(prefect, run, tasks)
        assert words in log_of(prefect, run)
        assert secrets_in(prefect, run, secrets) == []


def test_predicting_without_a_database_is_a_failed_flow_run(
    prefect: str,
    impress: Impress,
    closed_port: int,
    secrets: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DB_HOSTNAME", "127.0.0.1")
    monkeypatch.setenv("DB_PORT", str(closed_port))
    assert impress("predict").returncode == 1
    run = newest_run(prefect, "predict")
    assert run["state_type"] == "FAILED"
    assert str(closed_port) in run["state"]["message"]
    assert "Traceback" in log_of(prefect, run)
    assert secrets_in(prefect, run, secrets) == []


def test_a_failed_flow_run_shows_no_secret_that_a_server_repeats(
    prefect: str,
    impress: Impress,
    inbox: Engine,
    echo: str,
    secrets: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert inbox.dialect.name == "postgresql"
    address = "s3cret/in-the-address"
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    for uri in (f"http://{echo}", f"http://somebody:{address}@{echo}"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        failed = impress("predict")
        assert failed.returncode == 1
        run = newest_run(prefect, "predict")
        assert run["state_type"] == "FAILED" and "MLflow" in log_of(prefect, run)
        assert secrets_in(prefect, run, {**secrets, "address": address}) == []
        assert address not in str(run["state"]) + failed.stderr


@pytest.mark.usefixtures("mlflow")
@pytest.mark.parametrize("table", ["online_data", "archived_data"])
def test_a_flow_run_that_is_asked_to_stop_rolls_back_in_time(
    prefect: str, inbox: Engine, table: str
) -> None:
    with inbox.connect() as other:
        other.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        with started("predict") as process:
            wait_for(lambda: waits_for_a_lock(inbox), "predict at work")
            said = ends_in_time(process)
    assert "asked to stop: what was not committed is rolled back" in said
    assert newest_run(prefect, "predict")["state_type"] == "CRASHED"
    with inbox.connect() as connection:
        outcomes = connection.execute(text("SELECT outcome FROM runs WHERE pipeline = 'predict'"))
        assert outcomes.scalars().all() == ["stopped"]
        assert connection.scalar(text("SELECT count(*) FROM archived_data")) == 0
        assert connection.scalar(text("SELECT count(*) FROM online_data")) > 0


@pytest.mark.usefixtures("inbox", "mlflow")
def test_without_a_server_prefect_is_not_even_imported() -> None:
    program = (
        "import sys; from src.pipelines.predict_pipeline import predict;"
        "from src.settings import Settings;"
        "print(predict(Settings()).phases > 40, 'prefect' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True False\n", done.stderr
