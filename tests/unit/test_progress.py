"""Long steps report how far they are, to a log or to whoever watches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from src import progress
from src.progress import Advance, step, through, watched


def test_a_log_gets_a_line_at_times(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO), step("scoring", 30) as advance:
        advance(10)
        advance(20)
    assert caplog.messages == ["scoring: 10 of 30", "scoring: 30 of 30"]


def test_a_short_step_leaves_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(through([[1], [2]], "scoring")) == [[1], [2]]
    assert not caplog.messages


def test_a_watcher_sees_every_batch() -> None:
    seen: list[int | str | None] = []

    @contextmanager
    def watch(title: str, total: int | None) -> Iterator[Advance]:
        seen.extend([title, total])
        yield seen.append
        seen.append("ended")

    with watched(watch):
        assert list(through([[1, 2], [3]], "scoring", 3)) == [[1, 2], [3]]
    assert seen == ["scoring", 3, 2, 1, "ended"]
