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
HEAVY = [
    *("dvc", "duckdb", "evidently", "matplotlib", "mlflow", "optuna", "prefect"),
    *("scipy", "sklearn", "skops", "xgboost"),
]
NEEDED = ["numpy", "pandas"]


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
def test_neither_mlflow_nor_a_model_library_is_loaded_to_fetch_and_to_predict(
    inbox: Engine,
) -> None:
    assert _predict() == ["47", *NEEDED]  # fetched from the server
    with inbox.begin() as connection:
        connection.execute(text("TRUNCATE archived_data"))
    assert _predict() == ["47", *NEEDED]  # from the cache
    assert _predict() == ["0"]
