"""What a run says to machines: log lines as JSON, and figures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

Impress = Callable[..., subprocess.CompletedProcess[str]]


def figures(printed: str) -> dict[str, Any]:
    """The figures of a pipeline in what CloudWatch would find."""
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert all("_aws" in line for line in lines)
    return {name: value for line in lines for name, value in line.items() if name != "_aws"}


@pytest.mark.usefixtures("production")
def test_the_runs_of_a_month_as_cloudwatch_and_prometheus_get_them(
    impress: Impress, inbox: Engine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("METRICS", "emf:laundry")
    predicted = impress("predict")
    assert predicted.returncode == 0, predicted.stderr
    lines = [json.loads(line) for line in predicted.stderr.splitlines()]
    with inbox.connect() as connection:
        run = (
            connection.execute(text("SELECT id, details FROM runs WHERE pipeline = 'predict'"))
            .mappings()
            .one()
        )
    counts = lines[-1]["counts"]
    assert lines[-1]["pipeline"] == "predict" and counts["scored"] > 0
    assert counts.items() >= {key: run["details"][key] for key in ("rows", "scored")}.items()
    due = next(line for line in lines if "phases are due" in line["message"])
    assert due["run"] == run["id"]
    expected = {f"rows_{name}": counts[name] for name in ("scored", "kept", "waiting", "rejected")}
    assert figures(predicted.stdout) == {"pipeline": "predict", "rows_purged": 0, **expected}
    checked = impress("status", "--max-age", "8d")
    assert checked.stdout.startswith("last good run of predict: ")
    assert 0 <= figures(checked.stdout)["last_good_run_age_hours"] < 1
    monkeypatch.setenv("METRICS", str(home))
    monitored = impress("monitor")
    assert monitored.returncode == 0, monitored.stderr
    assert (home / "impress-monitor-run.prom").read_text("utf-8").splitlines()[-1] in {
        f'impress_verdict{{pipeline="monitor"}} {severity}' for severity in (0, 1, 2)
    }
