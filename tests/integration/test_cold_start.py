"""A run loads only what it uses: most of the time of a small one is that of its imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy import Engine, text

PROGRAM = """
import sys
from src.pipelines.predict_pipeline import predict
from src.settings import Settings
outcome = predict(Settings())
print(outcome.phases, *(name for name in {names} if name in sys.modules))
"""
HEAVY = ("evidently", "optuna", "matplotlib", "mlflow", "prefect", "duckdb", "dvc")
NEEDED = ("pandas", "sklearn", "xgboost")


def _predict() -> list[str]:
    """Run in a process of its own. Returns the number of scored phases, and what was loaded."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=HEAVY + NEEDED)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_empty_inbox_loads_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM online_data")) == 0
    assert _predict() == ["0"]


@pytest.mark.usefixtures("mlflow")
def test_mlflow_is_loaded_only_to_fetch_a_model_that_is_not_there(inbox: Engine) -> None:
    assert _predict() == ["47", "mlflow", *NEEDED]
    with inbox.begin() as connection:
        connection.execute(text("TRUNCATE archived_data"))
    assert _predict() == ["47", *NEEDED]
    assert _predict() == ["0"]
