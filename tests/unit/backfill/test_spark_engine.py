"""What can be told about Spark without Spark."""

from __future__ import annotations

import sys

import pytest

from src.components.backfill.order import Order
from src.components.backfill.source import Source
from src.components.backfill.spark_engine import address_of, require_answer
from src.errors import SettingsError, advice
from src.soft_sensor import SoftSensor
from tests.processes import free_port


def test_without_pyspark_one_line_says_what_to_install(
    spec: SoftSensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    order = Order("history", "out", master="local[1]")
    with pytest.raises(ModuleNotFoundError) as caught:
        with order.engine(Source("history", None, ()), spec):
            pass
    line = advice(caught.value)
    assert line is not None and "\n" not in line and "install the extra `spark`" in line


def test_an_address_where_nothing_listens_is_named_at_once() -> None:
    port = free_port()
    with pytest.raises(SettingsError, match=f"no Spark Connect server answers at 127.0.0.1:{port}"):
        require_answer(f"sc://127.0.0.1:{port}/;token=s3cret")
    with pytest.raises(SettingsError) as caught:
        require_answer(f"sc://127.0.0.1:{port}/;token=s3cret")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/data/month=2026-01/a.parquet", "file:///data/month=2026-01/a.parquet"),
        ("/data/a [1]{x}*?.parquet", r"file:///data/a \[1\]\{x\}\*\?.parquet"),
        ("s3://plant/history/a.parquet", "s3a://plant/history/a.parquet"),
        ("gs://plant/a.parquet", "gs://plant/a.parquet"),
    ],
)
def test_spark_reads_the_file_of_this_name_only(path: str, address: str) -> None:
    assert address_of(path) == address
