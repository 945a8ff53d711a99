"""One statement, the same features on every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components import database, ingestion
from src.components.transformation import features_query, typed_features
from src.errors import DataError
from src.soft_sensor import SoftSensor


@pytest.fixture(name="rows")
def fixture_rows(sensor: SoftSensor) -> pd.DataFrame:
    """Sensor rows with everything that can be wrong with them."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(columns=list(sensor.columns.online), dtype=float)
    count = 4000
    frame["experimentnummer"] = random.integers(1, 15, count)
    frame["waschen"] = random.integers(0, 2, count)
    frame["timestamp"] = 1.7e9 + np.arange(count)
    frame["vorschlagsnummer"] = np.where(random.random(count) < 0.05, -1, 1)
    frame.loc[random.random(count) < 0.1, "vorschlagsnummer"] = np.nan
    for part in sensor.sensors:
        span = part.high - part.low
        values = part.low + span * random.beta(2, 50, count)
        for wrong in (np.nan, np.inf, -np.inf, part.high + span, part.low - 1e-9, part.high):
            values[random.random(count) < 0.03] = wrong
        frame[part.name] = values
    frame.loc[frame["experimentnummer"] == 3, "ph"] = np.nan
    single = pd.DataFrame({"experimentnummer": [99], "waschen": [1], "timestamp": [1.7e9]})
    single[[part.name for part in sensor.sensors]] = 5.0
    return pd.concat([frame, single], ignore_index=True)


@pytest.fixture(name="csv")
def fixture_csv(rows: pd.DataFrame, tmp_path: Path, sensor: SoftSensor) -> Path:
    """The same rows as a data set folder."""
    folder = tmp_path / "Dataset"
    folder.mkdir()
    text_rows = rows.astype({"experimentnummer": int, "waschen": int}).replace(np.nan, "nan")
    text_rows["vorschlagsnummer"] = text_rows["vorschlagsnummer"].replace("nan", "")
    text_rows.to_csv(folder / sensor.files.sensors, sep=sensor.files.separator, index=False)
    return folder


def _by_hand(rows: pd.DataFrame, sensor: SoftSensor) -> pd.DataFrame:
    """An independent second opinion, in pandas."""
    valid = rows[~(rows["vorschlagsnummer"] < 0)].copy()
    outside = {}
    for part in sensor.sensors:
        out = valid[part.name].notna() & ~valid[part.name].between(part.low, part.high)
        outside[f"{part.name}_out_of_bounds"] = out
        valid[part.name] = valid[part.name].where(valid[part.name].between(part.low, part.high))
    grouped = valid.groupby(sensor.columns.keys)
    columns: dict[str, pd.Series] = {"n_samples": grouped.size()}
    for name, out in outside.items():
        columns[name] = out.groupby([valid[key] for key in sensor.columns.keys]).sum()
    for part in sensor.sensors:
        values = grouped[part.name]
        columns[f"{part.name}_mean"] = values.mean()
        columns[f"{part.name}_std"] = values.std().mask(values.count() == 1, 0.0)
        columns[f"{part.name}_median"] = values.median()
        columns[f"{part.name}_percentile25"] = values.quantile(0.25)
        columns[f"{part.name}_percentile75"] = values.quantile(0.75)
    return pd.DataFrame(columns).reset_index()


def test_duckdb_and_postgresql_and_pandas_agree(
    engine: Engine, csv: Path, rows: pd.DataFrame, sensor: SoftSensor, tmp_path: Path
) -> None:
    database.load(engine, sensor, csv / sensor.files.sensors)
    with engine.connect() as connection:
        query = text(features_query(sensor, "online_data"))
        postgresql = typed_features(pd.read_sql(query, connection), sensor)
    from_csv = ingestion.read_features(csv, sensor)
    rows.to_parquet(tmp_path / "sensors.parquet")
    files = sensor.files.model_copy(update={"sensors": "sensors.parquet"})
    as_parquet = sensor.model_copy(update={"files": files})
    from_parquet = ingestion.read_features(tmp_path, as_parquet)
    by_hand = _by_hand(rows, sensor)

    assert (postgresql["experimentnummer"] == 99).sum() == 1
    assert postgresql.loc[postgresql["experimentnummer"] == 3, "ph_mean"].isna().all()
    assert not np.isinf(postgresql[sensor.features].to_numpy()).any()
    for other in (from_csv, from_parquet, by_hand):
        pd.testing.assert_frame_equal(
            other[by_hand.columns],
            postgresql[by_hand.columns],
            check_dtype=False,
            rtol=1e-9,
            atol=1e-9,
        )


def _edit(folder: Path, sensor: SoftSensor, old: str, new: str, count: int = -1) -> Path:
    file = folder / sensor.files.sensors
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new, count), encoding="utf-8")
    return file


def test_a_missing_column_is_named(csv: Path, sensor: SoftSensor) -> None:
    _edit(csv, sensor, ";ph;", ";pH_neu;", 1)
    with pytest.raises(DataError, match="column ph is missing"):
        ingestion.read_features(csv, sensor)


def test_a_wrong_separator_is_named(csv: Path, sensor: SoftSensor) -> None:
    _edit(csv, sensor, ";", ",")
    with pytest.raises(DataError, match="not separated by ';'"):
        ingestion.read_features(csv, sensor)


def test_an_empty_and_an_absent_file_are_named(csv: Path, sensor: SoftSensor) -> None:
    (csv / sensor.files.sensors).write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="is empty"):
        ingestion.read_features(csv, sensor)
    with pytest.raises(DataError, match="not found"):
        ingestion.read_features(csv / "nowhere", sensor)


def test_an_unknown_phase_is_named(csv: Path, sensor: SoftSensor) -> None:
    file = csv / sensor.files.sensors
    lines = file.read_text(encoding="utf-8").splitlines()
    lines.append(lines[-1].replace("99;1700000000.0;1;", "99;1700000000.0;7;"))
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"waschen holds \[7\], params.yaml knows \[0, 1\]"):
        ingestion.read_features(csv, sensor)


def test_text_among_numbers_is_named_with_its_line(csv: Path, sensor: SoftSensor) -> None:
    _edit(csv, sensor, ";5.0;", ";5,0;", 1)
    with pytest.raises(DataError, match="5,0"):
        ingestion.read_features(csv, sensor)
