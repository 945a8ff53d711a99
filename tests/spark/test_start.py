"""What cannot be started is named in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from src.components.backfill.spark_engine import spark
from src.errors import advice
from src.soft_sensor import SoftSensor


def test_without_java_one_line_says_what_to_install(
    spec: SoftSensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in ("bash", "dirname", "env", "uname"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(Exception) as caught:
        with spark("local[1]", {}, spec):
            pass
    line = advice(caught.value)
    assert line is not None and "\n" not in line and "install Java 17 or newer" in line
