"""With `retention: partitions` a partition is dropped when every phase in it may go, and not before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Connection, text

from src.components.inbox import partitions, rejected
from src.components.inbox.hold import hold
from src.components.inbox.states import Inbox
from tests.integration.workbench import Workbench

DAY = 86400
# Days ago that partitions begin; the last one is of the future.
BORDERS = (9, 6, 3, 0, -3)


@pytest.fixture(name="parted")
def fixture_parted(bench: Workbench) -> Workbench:
    """An inbox in partitions of three days, as Documentation/large-inbox.md makes them."""
    partition(bench, "online_data")
    bench.set(retention="partitions")
    return bench


def partition(bench: Workbench, table: str) -> None:
    """Partition an empty inbox by time."""
    now = int(bench.spec_time())
    bench.execute(f"ALTER TABLE {table} RENAME TO {table}_before")
    bench.execute(
        f"CREATE TABLE {table} (LIKE {table}_before INCLUDING DEFAULTS) "
        'PARTITION BY RANGE ("timestamp")'
    )
    bench.execute(f"DROP TABLE {table}_before")
    for place, (first, last) in enumerate(zip(BORDERS, BORDERS[1:])):
        bench.execute(
            f'CREATE TABLE "{table}: part {place}" PARTITION OF {table} '
            f"FOR VALUES FROM ({now - first * DAY}) TO ({now - last * DAY})".replace(":", "\\:")
        )
    bench.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
