"""What the console says of odd values."""

from __future__ import annotations

import pytest

from src.cli.console import stamp


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1770000000.0, "2026-02-02 02:40"),
        (-1.0, "1969-12-31 23:59"),
        (1770000000000.0, "1.77e+12 s"),
        (float("inf"), "inf s"),
        (float("nan"), "nan s"),
    ],
)
def test_any_stamp_can_be_told(seconds: float, words: str) -> None:
    assert stamp(seconds) == words
