"""A history with everything in it, and ways to score it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from src.cli.commands import main
from src.components.backfill.order import Order, Summary
from src.components.backfill.results import Results
from src.pipelines.backfill_pipeline import backfill
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.builders.history import odd_rows, write_months

UNIT_ROWS = 1100  # so that the history has several units
Score = Callable[..., Summary]
Command = Callable[..., Result]


@pytest.fixture(name="history")
def fixture_history(spec: SoftSensor, tmp_path: Path) -> Path:
    """Files of a few months."""
    write_months(odd_rows(spec), tmp_path / "history")
    return tmp_path / "history"


@pytest.fixture(name="score")
def fixture_score(small_production: Path, history: Path, tmp_path: Path) -> Score:
    """Backfill the history into tmp_path / out, in small units; keywords change the order."""
    assert small_production

    def run(**options: object) -> Summary:
        order = {"source": str(history), "out": str(tmp_path / "out"), "unit_rows": UNIT_ROWS}
        return backfill(Settings(), Order(**{**order, **options}))  # type: ignore[arg-type]

    return run


@pytest.fixture(name="command")
def fixture_command(small_production: Path) -> Command:
    """`impress` with arguments."""
    assert small_production
    return lambda *arguments: CliRunner().invoke(main, arguments)


def phases(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Scored phases of results, by key."""
    found = Results(str(folder)).phases()
    return found.sort_values(spec.columns.keys).reset_index(drop=True)


def refused(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Phases of results that were not scored, by reason."""
    files = sorted((folder / "refused").glob("*.parquet"))
    frames = [parquet.read_table(file).to_pandas() for file in files]
    both: pd.DataFrame = pd.concat(frames)
    return both.sort_values(["reason", *spec.columns.keys]).reset_index(drop=True)


def content(folder: Path) -> dict[str, bytes]:
    """Files of phases and refusals, by name, without what records when they were made."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*.parquet"))
    }
