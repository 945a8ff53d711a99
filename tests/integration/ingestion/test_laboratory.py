"""Laboratory values as they arrive: new ones, corrected ones, further replicates."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.database.tables import newest_values, tables
from src.components.ingestion.laboratory import load
from src.components.transformation import censoring
from src.errors import DataError
from src.soft_sensor import SoftSensor

HEADER = (
    "experimentnummer;timestamp_messung;bemerkungen;oberflaechenspannung;anionischetenside;"
    "nichtionischentenside"
)


def _file(folder: Path, *rows: str, header: str = HEADER) -> Path:
    file = folder / "lab.csv"
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return file


def _means(engine: Engine, spec: SoftSensor) -> list[list[float]]:
    """What counts as measured: experiment, phase and targets."""
    with engine.connect() as connection:
        values = pd.read_sql(newest_values(tables(spec).laboratory, spec), connection)
    columns = [*spec.columns.keys, *spec.target_names]
    return censoring.means(values, spec)[columns].to_numpy(dtype=float).tolist()


def test_a_file_that_grows_adds_what_is_new(
    engine: Engine, spec: SoftSensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    first, second = "1;100;S1;60;5;3", "1;200;S1;62;5;3"
    load(engine, spec, _file(tmp_path, first))
    load(engine, spec, _file(tmp_path, first, second, "2;100;W1;40;300;50"))
    assert _means(engine, spec) == [[1, 0, 61, 5, 3], [2, 1, 40, 300, 50]]
    assert "1 phase with first values" in caplog.text
    assert "averaged with them: 1 rinsing" in caplog.text
    caplog.clear()
    assert load(engine, spec, _file(tmp_path, first, second)).samples.empty
    assert "1 phase unchanged" in caplog.text


def test_a_further_replicate_in_a_file_of_its_own_is_averaged(
    engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    load(engine, spec, _file(tmp_path, "1;100;S1;60;5;3"))
    load(engine, spec, _file(tmp_path, "1;200;S1;62;7;3"))
    assert _means(engine, spec) == [[1, 0, 61, 6, 3]]


def test_a_corrected_value_replaces_and_is_named(
    engine: Engine, spec: SoftSensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    load(engine, spec, _file(tmp_path, "1;100;S1;60;5;3", "1;200;S1;62;5;3"))
    load(engine, spec, _file(tmp_path, "1;200;S1;64;5;3"))
    assert _means(engine, spec) == [[1, 0, 62, 5, 3]]
    assert "1 rinsing oberflaechenspannung 62 -> 64" in caplog.text


def test_without_names_of_samples_the_newest_file_counts(
    engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    laboratory = spec.laboratory.model_copy(update={"sample_column": None})
    nameless = spec.model_copy(update={"laboratory": laboratory})
    load(engine, nameless, _file(tmp_path, "1;0;S1;60;5;3", "1;0;S1;62;5;3", "1;0;S1;70;5;3"))
    assert _means(engine, spec) == [[1, 0, 64, 5, 3]]
    load(engine, nameless, _file(tmp_path, "1;0;S1;60;5;3", "1;0;S1;62;5;3"))
    assert _means(engine, spec) == [[1, 0, 61, 5, 3]]


def test_values_of_an_older_version_are_replaced(
    engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    old = """INSERT INTO laboratory_data (experimentnummer, waschen, oberflaechenspannung)
        VALUES (1, 0, 50)"""
    with engine.begin() as connection:
        connection.execute(text(old))
    load(engine, spec, _file(tmp_path, "1;100;S1;60;5;3"))
    assert _means(engine, spec) == [[1, 0, 60, 5, 3]]


def test_batch_numbers_of_17_digits_stay_apart(
    engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    numbers = [20260105060000101 + place for place in range(5)] + [2**63 - 1]
    rows = [f"{number};S1;60;5;3" for number in numbers]
    header = HEADER.replace("timestamp_messung;", "")
    load(engine, spec, _file(tmp_path, *rows, ";;;;", header=header))
    with engine.connect() as connection:
        query = text("SELECT experimentnummer FROM laboratory_data ORDER BY 1")
        assert connection.execute(query).scalars().all() == numbers


def test_limits_of_the_assay_are_kept(engine: Engine, spec: SoftSensor, tmp_path: Path) -> None:
    load(engine, spec, _file(tmp_path, "1;100;S1;60;<5;3"))
    with engine.connect() as connection:
        query = "SELECT anionischetenside, anionischetenside_censored FROM laboratory_data"
        assert connection.execute(text(query)).one() == (5, "<")


def test_an_accepted_outlier_is_recorded_with_its_reason(
    engine: Engine, spec: SoftSensor, tmp_path: Path
) -> None:
    file = _file(tmp_path, "1;100;S1;60;1500;3")
    with pytest.raises(DataError, match="1500 is outside 0 to 1000 mg/L"):
        load(engine, spec, file)
    load(engine, spec, file, "me: a spill")
    with engine.connect() as connection:
        query = "SELECT details->>'accepted_outliers' FROM runs WHERE pipeline = 'load'"
        assert connection.execute(text(query)).scalars().all() == ["me: a spill"]
