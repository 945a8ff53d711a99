"""Rows of files mean the same whatever else is in their footers, or in the files beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from src.components.backfill.duckdb_engine import DuckDB
from src.components.backfill.source import find
from src.components.backfill.survey import survey
from src.components.backfill.units import plan
from src.soft_sensor import SoftSensor
from tests.builders.history import LENGTH, Rows


def features(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Of all phases of a folder, by key."""
    source = find(str(folder))
    unit = plan(survey(source, spec, folder), spec, 10**9)[0]
    table: pd.DataFrame = DuckDB(source, spec).features(unit).to_pandas()
    return table.sort_values(spec.columns.keys).reset_index(drop=True)


@pytest.mark.parametrize("broken", [slice(0, 30), slice(None)], ids=["some", "all"])
def test_nan_is_missing_although_footers_do_not_count_it(
    spec: SoftSensor, tmp_path: Path, broken: slice
) -> None:
    rows = Rows(spec).add(1, 1)
    numbers = rows["ph"].to_numpy(copy=True)
    numbers[broken] = np.nan
    table = pa.Table.from_pandas(rows, preserve_index=False)
    place = table.schema.get_field_index("ph")
    parquet.write_table(table.set_column(place, "ph", pa.array(numbers)), tmp_path / "a.parquet")
    found = features(tmp_path, spec).iloc[0]
    sound = pd.Series(numbers).dropna()
    assert found["ph_out_of_bounds"] == 0 and found["n_samples"] == LENGTH
    expected = [sound.mean(), sound.median()] if len(sound) else [np.nan, np.nan]
    np.testing.assert_allclose(found[["ph_mean", "ph_median"]].to_numpy(float), expected)


def test_fractions_stay_so_behind_a_file_of_whole_numbers(spec: SoftSensor, tmp_path: Path) -> None:
    rows = Rows(spec)
    whole, fractions = rows.add(1, 1, ph=8), rows.add(2, 1)
    for name, part in (("a", whole), ("b", fractions)):
        table = pa.Table.from_pandas(part, preserve_index=False)
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    assert pa.types.is_integer(parquet.read_schema(tmp_path / "a.parquet").field("ph").type)
    found = features(tmp_path, spec)["ph_mean"]
    np.testing.assert_allclose(found, [8, fractions["ph"].mean()])


def test_names_that_differ_only_in_case_are_refused(spec: SoftSensor, tmp_path: Path) -> None:
    rows = Rows(spec)
    parquet.write_table(
        pa.Table.from_pandas(rows.add(1, 1), preserve_index=False), tmp_path / "a.parquet"
    )
    doubled = rows.add(2, 1).assign(PH=1.0)
    parquet.write_table(pa.Table.from_pandas(doubled, preserve_index=False), tmp_path / "b.parquet")
    (fault,) = survey(find(str(tmp_path)), spec, tmp_path).unreadable
    assert fault.path.endswith("b.parquet") and fault.why == "column ph is there twice"


@pytest.mark.parametrize("sign", ["*", "?", "[12]"])
def test_a_name_of_a_file_is_not_a_pattern(spec: SoftSensor, tmp_path: Path, sign: str) -> None:
    rows = Rows(spec)
    for name, experiment in ((f"rows{sign}", 1), ("rows1", 2)):
        table = pa.Table.from_pandas(rows.add(experiment, 1), preserve_index=False)
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    assert features(tmp_path, spec)["n_samples"].tolist() == [LENGTH, LENGTH]
