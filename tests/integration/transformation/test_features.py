"""One statement, the same features on every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.ingestion import data_set
from src.components.ingestion.account import Account
from src.components.ingestion.load import load_sensor_rows
from src.components.transformation.features import features_query, typed_features
from src.errors import DataError
from src.soft_sensor import SoftSensor


@pytest.fixture(name="rows")
def fixture_rows(spec: SoftSensor) -> pd.DataFrame:
    """Sensor rows with everything that can be wrong with them."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(columns=list(spec.columns.online), dtype=float)
    count = 4000
    frame["experimentnummer"] = random.integers(1, 15, count)
    frame["waschen"] = random.integers(0, 2, count)
    frame["timestamp"] = 1.7e9 + np.arange(count)
    frame["vorschlagsnummer"] = np.where(random.random(count) < 0.05, -1, 1)
    frame.loc[random.random(count) < 0.1, "vorschlagsnummer"] = np.nan
    for sensor in spec.sensors:
        span = sensor.high - sensor.low
        values = sensor.low + span * random.beta(2, 50, count)
        for wrong in (np.nan, np.inf, -np.inf, sensor.high + span, sensor.low - 1e-9, sensor.high):
            values[random.random(count) < 0.03] = wrong
        frame[sensor.name] = values
    frame.loc[frame["experimentnummer"] == 3, "ph"] = np.nan
    single = pd.DataFrame({"experimentnummer": [99], "waschen": [1], "timestamp": [1.7e9]})
    single[[sensor.name for sensor in spec.sensors]] = 5.0
    return pd.concat([frame, single], ignore_index=True)


@pytest.fixture(name="csv")
def fixture_csv(rows: pd.DataFrame, tmp_path: Path, spec: SoftSensor) -> Path:
    """The same rows as a data set folder."""
    folder = tmp_path / "Dataset"
    folder.mkdir()
    text_rows = rows.astype({"experimentnummer": int, "waschen": int}).replace(np.nan, "nan")
    text_rows["vorschlagsnummer"] = text_rows["vorschlagsnummer"].replace("nan", "")
    text_rows.to_csv(folder / spec.files.sensors, sep=spec.files.separator, index=False)
    return folder


def _by_hand(rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """An independent second opinion, in pandas."""
    valid = rows[~(rows["vorschlagsnummer"] < 0)].copy()
    outside = {}
    for sensor in spec.sensors:
        out = valid[sensor.name].notna() & ~valid[sensor.name].between(sensor.low, sensor.high)
        outside[f"{sensor.name}_out_of_bounds"] = out
        valid[sensor.name] = valid[sensor.name].where(
            valid[sensor.name].between(sensor.low, sensor.high)
        )
    grouped = valid.groupby(spec.columns.keys)
    columns: dict[str, pd.Series] = {"n_samples": grouped.size()}
    for name, out in outside.items():
        columns[name] = out.groupby([valid[key] for key in spec.columns.keys]).sum()
    for sensor in spec.sensors:
        values = grouped[sensor.name]
        columns[f"{sensor.name}_mean"] = values.mean()
        columns[f"{sensor.name}_std"] = values.std().mask(values.count() == 1, 0.0)
        columns[f"{sensor.name}_median"] = values.median()
        columns[f"{sensor.name}_percentile25"] = values.quantile(0.25)
        columns[f"{sensor.name}_percentile75"] = values.quantile(0.75)
    return pd.DataFrame(columns).reset_index()


def test_duckdb_and_postgresql_and_pandas_agree(
    engine: Engine, csv: Path, rows: pd.DataFrame, spec: SoftSensor, tmp_path: Path
) -> None:
    load_sensor_rows(engine, spec, csv / spec.files.sensors)
    with engine.connect() as connection:
        query = text(features_query(spec, "online_data"))
        postgresql = typed_features(pd.read_sql(query, connection), spec)
    from_csv = data_set.read_features(csv, spec)
    rows.to_parquet(tmp_path / "sensors.parquet")
    files = spec.files.model_copy(update={"sensors": "sensors.parquet"})
    as_parquet = spec.model_copy(update={"files": files})
    from_parquet = data_set.read_features(tmp_path, as_parquet)
    by_hand = _by_hand(rows, spec)

    assert (postgresql["experimentnummer"] == 99).sum() == 1
    assert postgresql.loc[postgresql["experimentnummer"] == 3, "ph_mean"].isna().all()
    assert not np.isinf(postgresql[spec.features].to_numpy()).any()
    for other in (from_csv, from_parquet, by_hand):
        pd.testing.assert_frame_equal(
            other[by_hand.columns],
            postgresql[by_hand.columns],
            check_dtype=False,
            rtol=1e-9,
            atol=1e-9,
        )


def _edit(folder: Path, spec: SoftSensor, old: str, new: str, count: int = -1) -> Path:
    file = folder / spec.files.sensors
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new, count), encoding="utf-8")
    return file


def test_a_missing_column_is_named(csv: Path, spec: SoftSensor) -> None:
    _edit(csv, spec, ";ph;", ";pH_neu;", 1)
    with pytest.raises(DataError, match="column ph is missing"):
        data_set.read_features(csv, spec)


def test_a_wrong_separator_is_named(csv: Path, spec: SoftSensor) -> None:
    _edit(csv, spec, ";", ",")
    with pytest.raises(DataError, match="not separated by ';'"):
        data_set.read_features(csv, spec)


def test_an_empty_and_an_absent_file_are_named(csv: Path, spec: SoftSensor) -> None:
    (csv / spec.files.sensors).write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="is empty"):
        data_set.read_features(csv, spec)
    with pytest.raises(DataError, match="not found"):
        data_set.read_features(csv / "nowhere", spec)


def test_an_unknown_phase_is_named(csv: Path, spec: SoftSensor) -> None:
    file = csv / spec.files.sensors
    lines = file.read_text(encoding="utf-8").splitlines()
    lines.append(lines[-1].replace("99;1700000000.0;1;", "99;1700000000.0;7;"))
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"column waschen: '7' is not among the phases of params.yaml: 1, 0"
    ):
        data_set.read_features(csv, spec)


def test_text_among_numbers_is_named_with_its_line(csv: Path, spec: SoftSensor) -> None:
    _edit(csv, spec, ";5.0;", ";5,0;", 1)
    with pytest.raises(DataError, match="5,0"):
        data_set.read_features(csv, spec)


def test_phases_of_a_number_that_was_used_twice_are_left_out(csv: Path, spec: SoftSensor) -> None:
    file = csv / spec.files.sensors
    lines = file.read_text(encoding="utf-8").splitlines()
    days_later = lines[-1].replace("99;1700000000.0;1;", "99;1700500000.0;1;")
    file.write_text("\n".join([*lines, days_later, ""]), encoding="utf-8")
    account = Account()
    features = data_set.read_features(csv, spec, account)
    assert 99 not in features["experimentnummer"].tolist()
    assert any("phase of a number that was used twice: 99" in line for line in account.lines())
