"""What several modules of unit tests need."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(name="small_heap", scope="module")
def fixture_small_heap() -> Iterator[None]:
    """Leave little garbage to look for: Holm's correction in statsmodels collects it each time."""
    gc.freeze()
    yield
    gc.unfreeze()
