"""PostgreSQL, DuckDB and Spark give the same features, and so the same predictions and verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sqlalchemy import Engine, text

from src.components.backfill.admission import admit
from src.components.backfill.duckdb_engine import DuckDB
from src.components.backfill.order import Order
from src.components.backfill.source import find
from src.components.backfill.spark_engine import spark
from src.components.backfill.survey import survey
from src.components.backfill.units import Unit, plan
from src.components.predictor.flags import Flag, has_flag
from src.components.predictor.scoring import Served, score
from src.components.registry import cache
from src.components.registry.versions import Registry
from src.components.transformation.features import features_query
from src.pipelines.backfill_pipeline import backfill as pipeline
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.integration.backfill.conftest import phases, refused
from tests.spark.cluster import Cluster
from tests.spark.conftest import UNIT_ROWS, Backfill
from tests.spark.history import FILES, history_rows

NUMBERS = 1e-9  # how far features may differ between engines, relative to max(1, |value|)
Answers = tuple[pd.DataFrame, pd.DataFrame]  # scored phases, and refused ones


@pytest.fixture(name="model")
def fixture_model(small_production: Path, spec: SoftSensor) -> Served:
    """What is in production."""
    assert small_production
    return cache.fetch_production(Registry(Settings(), spec.name))


@pytest.fixture(name="unit")
def fixture_unit(history: Path, spec: SoftSensor, tmp_path: Path) -> Unit:
    """The whole history."""
    return plan(survey(find(str(history)), spec, tmp_path / "converted"), spec, 10**9)[0]


@pytest.fixture(name="expected")
def fixture_expected(history: Path, unit: Unit, model: Served, spec: SoftSensor) -> Answers:
    """By DuckDB, in one query."""
    return answers(DuckDB(find(str(history)), spec).features(unit), unit, model, spec)


def answers(table: pa.Table, unit: Unit, model: Served, spec: SoftSensor) -> Answers:
    """What is made of features."""
    features, inadmissible = admit(table, unit, spec)
    scored = score(features, model, spec)
    sizes = features[[*spec.columns.keys, "n_samples"]]
    unsound = scored.refused.merge(sizes, on=spec.columns.keys)
    none = pd.concat([inadmissible, unsound[inadmissible.columns]])
    return (
        scored.ledger.sort_values(spec.columns.keys).reset_index(drop=True),
        none.sort_values(["reason", *spec.columns.keys]).reset_index(drop=True),
    )


def assert_same(found: Answers, expected: Answers, spec: SoftSensor) -> None:
    """Features agree within NUMBERS, everything else exactly."""
    (ledger, none), (other, other_none) = found, expected
    assert list(ledger.columns) == list(other.columns)
    first, second = (each[spec.features].to_numpy(float) for each in (ledger, other))
    assert (np.isnan(first) == np.isnan(second)).all()
    assert np.nanmax(np.abs(first - second) / np.maximum(1, np.abs(second))) <= NUMBERS
    rest = [name for name in other.columns if name not in spec.features]
    pd.testing.assert_frame_equal(ledger[rest], other[rest], check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(none, other_none, check_dtype=False)


def test_the_history_has_what_can_befall_rows(expected: Answers, spec: SoftSensor) -> None:
    ledger, none = expected
    assert ledger["n_samples"].min() == 1 and (ledger["verdict"] != "").any()
    assert has_flag(ledger["flags"], Flag.FEW_SAMPLES).any()
    assert ledger[spec.features].isna().any().any()
    assert ledger[spec.target_names].nunique().min() > 20  # predictions tell phases apart
    assert none["reason"].nunique() == 4 and none["waschen"].isna().any()


def test_postgresql_and_duckdb(
    engine: Engine, expected: Answers, unit: Unit, model: Served, spec: SoftSensor
) -> None:
    with engine.begin() as connection:
        for table in history_rows(spec):
            names = ", ".join(f'"{name}"' for name in table.column_names)
            places = ", ".join(f":{name}" for name in table.column_names)
            statement = text(f"INSERT INTO online_data ({names}) VALUES ({places})")
            connection.execute(statement, table.to_pylist())
        rows = connection.execute(text(features_query(spec, "online_data"))).mappings().all()
    known = [dict(row) for row in rows if row[spec.columns.experiment] is not None]
    assert len(known) == len(rows) - 1  # rows without an experiment belong to no unit
    assert_same(answers(pa.Table.from_pylist(known), unit, model, spec), expected, spec)


def test_duckdb_by_units(
    history: Path, small_production: Path, expected: Answers, spec: SoftSensor, tmp_path: Path
) -> None:
    assert small_production
    out = tmp_path / "out"
    pipeline(Settings(), Order(str(history), str(out), unit_rows=UNIT_ROWS))
    assert_same((phases(out, spec), refused(out, spec)), expected, spec)


def test_spark(
    backfill: Backfill, cluster: Cluster, expected: Answers, spec: SoftSensor, tmp_path: Path
) -> None:
    """By a driver of its own; test_survival.py compares what Spark Connect gives."""
    out = tmp_path / "out"
    with backfill(out, cluster.master, "--spark", "spark.sql.shuffle.partitions=3") as run:
        run.communicate()
    assert run.returncode == 0, (tmp_path / "stderr").read_text("utf-8")
    assert_same((phases(out, spec), refused(out, spec)), expected, spec)
    # No warehouse or metastore of Spark is left where the command was started.
    assert {each.name for each in (tmp_path / "work").iterdir()} <= {"logs"}


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
def test_a_missing_column_is_found_by_the_survey_and_not_by_spark(
    cluster: Cluster, history: Path, spec: SoftSensor, tmp_path: Path
) -> None:
    from pyarrow import parquet

    whole = tmp_path / "history" / "a.parquet"
    lacking = tmp_path / "history" / "b.parquet"
    whole.parent.mkdir()
    table = parquet.ParquetFile(history / next(iter(FILES))).read()
    parquet.write_table(table, whole)
    parquet.write_table(table.drop_columns(["ph"]), lacking)
    with spark(cluster.connect, {}, spec) as engine:
        rows = engine.session.read.parquet(str(whole), str(lacking))
        assert rows.where("ph IS NULL").count() >= len(table)
    found = survey(find(str(tmp_path / "history")), spec, tmp_path / "converted")
    assert [str(each) for each in found.unreadable] == [f"{lacking}: column ph is missing"]
