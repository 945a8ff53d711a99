"""A history is scored as the weekly task scores: the same features, predictions and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.backfill.survey import N_ROWS
from src.components.database.tables import records
from src.components.predictor.reasons import Reason
from src.pipelines.predict_pipeline import predict
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.builders.history import odd_rows
from tests.integration.backfill.conftest import Score, content, phases, refused

NUMBERS = 1e-9  # how far features may differ between engines, relative to max(1, |value|)


def test_units_and_one_pass_are_equal_to_the_last_bit(
    score: Score, spec: SoftSensor, tmp_path: Path
) -> None:
    by_units = score(jobs=2)
    at_once = score(out=str(tmp_path / "once"), unit_rows=10**9)
    assert by_units.units > 3 and at_once.units == 1
    assert not by_units.missing and not at_once.missing
    assert by_units.counts == at_once.counts
    pd.testing.assert_frame_equal(
        phases(tmp_path / "out", spec), phases(tmp_path / "once", spec), check_exact=True
    )


def test_the_rows_add_up(score: Score, spec: SoftSensor) -> None:
    rows = odd_rows(spec)
    summary = score()
    counts = summary.counts
    assert counts.rows + summary.history.without_experiment == len(rows)
    invalid = int((rows["vorschlagsnummer"] < 0).sum())
    assert counts.rows == counts.scored_rows + counts.refused_rows + invalid
    assert str(counts.phases) in str(counts)
    assert summary.history.counts[N_ROWS].sum() == counts.rows


def test_phases_are_refused_for_the_reasons_of_the_weekly_task(
    score: Score, spec: SoftSensor, tmp_path: Path
) -> None:
    score()
    found = refused(tmp_path / "out", spec)
    reasons = dict(zip(found["experimentnummer"], found["reason"]))
    assert reasons == {
        104: Reason.NO_SENSOR_VALUES,
        108: Reason.UNKNOWN_PHASE,
        109: Reason.UNKNOWN_PHASE,
        110: Reason.IMPOSSIBLE_TIMESTAMP,
        111: Reason.NUMBER_REUSED,
    }


def test_the_weekly_task_predicts_the_same_from_the_same_rows(
    score: Score, engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    rows = odd_rows(spec)
    score()
    names = ", ".join(f'"{name}"' for name in rows.columns)
    binds = ", ".join(f":{name}" for name in rows.columns)
    with engine.begin() as connection:
        insert = text(f"INSERT INTO online_data ({names}) VALUES ({binds})")
        connection.execute(insert, records(rows))
    predict(Settings())
    with engine.connect() as connection:
        ledger = pd.read_sql(text("SELECT * FROM archived_data"), connection)
        rejected = pd.read_sql(
            text("SELECT DISTINCT experimentnummer, waschen, reason FROM rejected_data"), connection
        )
    weekly = ledger.sort_values(spec.columns.keys).reset_index(drop=True)
    history = phases(tmp_path / "out", spec)
    exact = [*spec.columns.keys, "n_samples", "flags", "verdict", "model_version"]
    pd.testing.assert_frame_equal(history[exact], weekly[exact], check_exact=True)
    assert_close(history[spec.features], weekly[spec.features])
    predicted = [name for each in spec.targets for name in (each.name, each.lower, each.upper)]
    assert_close(history[predicted], weekly[predicted])
    known = rejected.dropna(subset=["experimentnummer"])
    known = known[known["reason"] != Reason.NO_VALID_ROWS]  # rows that a history only counts
    reasons = refused(tmp_path / "out", spec)
    assert dict(zip(reasons["experimentnummer"], reasons["reason"])) == dict(
        zip(known["experimentnummer"], known["reason"])
    )


def assert_close(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Numbers of two engines agree, also in what is missing."""
    first, second = one.to_numpy(float), other.to_numpy(float)
    assert (np.isnan(first) == np.isnan(second)).all()
    difference = np.abs(first - second) / np.maximum(1, np.abs(second))
    assert np.nanmax(difference) <= NUMBERS


def test_whole_keys_beyond_floats_stay_exact(
    score: Score, spec: SoftSensor, tmp_path: Path
) -> None:
    score()
    assert 2**62 in set(phases(tmp_path / "out", spec)["experimentnummer"])


def test_phases_are_in_the_month_in_which_they_began(score: Score, tmp_path: Path) -> None:
    score()
    files = {file.parent.name for file in (tmp_path / "out" / "phases").rglob("*.parquet")}
    assert files == {"month=2025-12", "month=2026-01"}
    assert content(tmp_path / "out")


@pytest.mark.parametrize("kind", ["timestamp[us, tz=UTC]", "timestamp[ns]", "int64"])
def test_time_stamps_may_be_of_any_type_that_means_a_moment(
    score: Score, history: Path, spec: SoftSensor, tmp_path: Path, kind: str
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    score(out=str(tmp_path / "seconds"))
    for file in history.rglob("*.parquet"):
        table = parquet.ParquetFile(file).read()
        place = table.schema.get_field_index("timestamp")
        seconds = table.column(place)
        if kind.startswith("timestamp"):
            unit = kind[10:12]
            factor = {"us": 10**6, "ns": 10**9}[unit]
            zone = "UTC" if "UTC" in kind else None
            whole = pa.array((seconds.to_numpy() * factor).round().astype("int64"))
            moments = whole.cast(pa.timestamp(unit, zone))
        else:
            moments = seconds.cast(pa.int64())
        parquet.write_table(table.set_column(place, "timestamp", moments), file)
    score()
    pd.testing.assert_frame_equal(
        phases(tmp_path / "out", spec), phases(tmp_path / "seconds", spec), check_exact=True
    )
