"""A database and a home for predictions as processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from src.soft_sensor import SoftSensor
from tests.faults.rig import Rig


@pytest.fixture(name="rig")
def fixture_rig(engine: Engine, spec: SoftSensor, production: Path, home: Path) -> Iterator[Rig]:
    """An empty database, a Production model, and the params of the repository to be changed."""
    assert production.is_dir()
    rig = Rig(engine, spec, home)
    yield rig
    rig.end()


@pytest.fixture(name="at_once")
def fixture_at_once(home: Path) -> None:
    """Rows go at once, phases are predicted one by one."""
    params = home / "params.yaml"
    words = params.read_text(encoding="utf-8")
    for old, new in {
        "retention_days: 30 ": "retention_days: 0 ",
        "batch: 1000 ": "batch: 1 ",
    }.items():
        assert old in words
        words = words.replace(old, new)
    params.write_text(words, encoding="utf-8")
