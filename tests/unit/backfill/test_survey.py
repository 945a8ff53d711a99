"""What a file that cannot be read may hold."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.components.backfill.rows import Unreadable
from src.components.backfill.source import find
from src.components.backfill.survey import Survey, survey
from src.errors import DataError
from src.soft_sensor import SoftSensor
from tests.builders.history import Rows, write

DAY = 86_400.0


def _write(spec: SoftSensor, folder: Path, name: str, begin: float, days: float) -> None:
    """A file of one experiment with a row each hour."""
    rows = Rows(spec)
    rows.add(1, 1, int(days * 24) + 1)
    frame = rows.frame().assign(timestamp=lambda rows: begin + 3600.0 * np.arange(len(rows)))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write(frame, folder / name)


def _surveyed(spec: SoftSensor, folder: Path, broken: str) -> tuple[Survey, Unreadable, set[str]]:
    (folder / broken).parent.mkdir(parents=True, exist_ok=True)
    (folder / broken).write_bytes(b"PAR1")
    found = survey(find(str(folder)), spec, folder / "converted")
    (fault,) = found.unreadable
    return found, fault, {str(Path(path).relative_to(folder)) for path in fault.beside}


def test_rows_may_be_missing_between_the_files_before_and_after(
    spec: SoftSensor, tmp_path: Path
) -> None:
    for day in (0, 1, 3, 4):
        _write(spec, tmp_path, f"{day}.parquet", day * DAY, 0.9)
    _, fault, beside = _surveyed(spec, tmp_path, "2.parquet")
    assert (fault.begin, fault.end) == pytest.approx((1.9 * DAY, 3 * DAY), abs=3600)
    assert beside == {"1.parquet", "3.parquet"}


def test_the_first_and_the_last_file_have_one_neighbour(spec: SoftSensor, tmp_path: Path) -> None:
    _write(spec, tmp_path, "1.parquet", DAY, 0.5)
    _, fault, beside = _surveyed(spec, tmp_path, "0.parquet")
    assert (fault.begin, fault.end) == (-math.inf, DAY) and beside == {"1.parquet"}


def test_a_file_without_rows_is_no_neighbour(spec: SoftSensor, tmp_path: Path) -> None:
    for day in (0, 3):
        _write(spec, tmp_path, f"{day}.parquet", day * DAY, 0.9)
    write(Rows(spec).add(1, 1, 1).head(0), tmp_path / "1.parquet")
    _, fault, beside = _surveyed(spec, tmp_path, "2.parquet")
    assert (fault.begin, fault.end) == pytest.approx((0.9 * DAY, 3 * DAY), abs=3600)
    assert beside == {"0.parquet", "3.parquet"}


@pytest.mark.parametrize("broken", ["north", "south", "west"])
def test_of_files_recorded_side_by_side_all_their_time_may_be_incomplete(
    spec: SoftSensor, tmp_path: Path, broken: str
) -> None:
    """A phase of the broken one runs over the end of the month into its next file."""
    rigs = ("north", "south", "west")
    for month, rig in [(month, rig) for month in (1, 2, 3) for rig in rigs]:
        if (month, rig) != (2, broken):
            _write(spec, tmp_path, f"{month}/{rig}.parquet", month * 30 * DAY, 29.9)
    _, fault, beside = _surveyed(spec, tmp_path, f"2/{broken}.parquet")
    assert fault.begin <= 60 * DAY and fault.end >= 89 * DAY
    assert {f"{month}/{broken}.parquet" for month in (1, 3)} <= beside


def test_a_rig_that_is_not_named_clearly_is_named_with_its_file(
    spec: SoftSensor, tmp_path: Path
) -> None:
    columns = spec.columns.model_copy(update={"rig": "machine", "experiment_type": "text"})
    of_rigs = spec.model_copy(update={"columns": columns})
    rows = Rows(spec)
    rows.add(1, 1, 3)
    for name, rig in {"1": "north", "2": "site 1/north", "3": None}.items():
        frame = rows.frame().assign(machine=pd.Series([rig] * 3, dtype=object))
        write(frame, tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="2.parquet: 'site 1/north/1' is not machine/experiment"):
        survey(find(str(tmp_path)), of_rigs, tmp_path / "converted")
    (tmp_path / "2.parquet").unlink()
    found = survey(find(str(tmp_path)), of_rigs, tmp_path / "converted")
    assert not found.unreadable and found.without_experiment == 3


def test_a_column_named_filename_is_one_like_others(spec: SoftSensor, tmp_path: Path) -> None:
    rows = Rows(spec)
    write(rows.add(1, 1, 3).assign(Filename="old.csv"), tmp_path / "1.parquet")
    assert not survey(find(str(tmp_path)), spec, tmp_path / "converted").unreadable


def test_a_column_that_is_new_in_params_is_looked_for_in_csv_again(
    spec: SoftSensor, tmp_path: Path
) -> None:
    rows = Rows(spec)
    frame = rows.add(1, 1, 3)
    frame.to_csv(tmp_path / "1.csv", sep=spec.files.separator, index=False)
    fewer = spec.model_copy(update={"sensors": spec.sensors[1:]})
    for of_spec in (fewer, spec):
        assert not survey(find(str(tmp_path / "1.csv")), of_spec, tmp_path / "c").unreadable
