"""Where files name one of several rigs, an experiment is called RIG/EXPERIMENT."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from src.components.ingestion import table_file
from src.components.ingestion.cells import Column, Kind
from src.components.ingestion.data_set import read_groups, read_laboratory
from src.components.ingestion.table_file import TableFile
from src.errors import DataError
from src.soft_sensor import Dialect, Group, SoftSensor, rig_of

COLUMNS = [
    Column("number", Kind.TEXT, filled=True, of="machine"),
    Column("value", Kind.NUMBER),
]


def _read(file: Path) -> tuple[pd.DataFrame, TableFile]:
    with table_file.read(file, COLUMNS, Dialect()) as table:
        return table.frame(), table


def _written(rows: pd.DataFrame, folder: Path, kind: str) -> Path:
    file = folder / f"rows.{kind}"
    if kind == "csv":
        rows.to_csv(file, sep=";", index=False)
    else:
        rows.to_parquet(file, index=False)
    return file


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_rig_comes_before_the_experiment(tmp_path: Path, kind: str) -> None:
    rows = pd.DataFrame({"value": [1.5, 2.0], "number": [7, 7], "machine": ["north 1", "north 2"]})
    frame, table = _read(_written(rows, tmp_path, kind))
    assert frame["number"].tolist() == ["north 1/7", "north 2/7"]
    assert list(frame.columns) == ["value", "number"]
    assert [rig_of(name) for name in frame["number"]] == ["north 1", "north 2"]
    assert rig_of("7") == ""
    assert not table.ignored


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (";7;1", "line 3: machine or number is empty, but the row holds values"),
        ("north;;1", "line 3: machine or number is empty, but the row holds values"),
        (";7;", "line 3: machine or number is empty, but the row holds values"),
        ("a/b;7;1", "line 3, column number: 'a/b/7' is not machine/number: one of them holds /"),
        (f"{'n' * 199};7;1", "is not machine/number"),
    ],
)
def test_what_names_no_rig_and_experiment_is_refused_by_its_line(
    tmp_path: Path, row: str, words: str
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"machine;number;value\nnorth;1;2\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError, match=words):
        _read(file)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_whole_number_beside_empty_cells_is_one(tmp_path: Path, kind: str) -> None:
    rows = pd.DataFrame(
        {"machine": ["a", "a", None], "number": [17, 1.5, None], "value": [1, 2, None]}
    )
    frame, _ = _read(_written(rows, tmp_path, kind))
    assert frame["number"].tolist() == ["a/17", "a/1.5"]


def test_a_row_without_anything_is_blank(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("machine;number;value\nnorth;1;2\n;;\n", encoding="utf-8")
    _, table = _read(file)
    assert (table.rows, table.blank) == (1, 1)


def test_a_file_must_have_the_column_of_the_rig_once(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("number;value\n1;2\n", encoding="utf-8")
    with pytest.raises(DataError, match="column machine is missing"):
        _read(file)
    file.write_text("machine;machine;number;value\na;b;1;2\n", encoding="utf-8")
    with pytest.raises(DataError, match="there is more than one column machine"):
        _read(file)


def test_rigs_are_groups_by_the_laboratory_file(tmp_path: Path, spec: SoftSensor) -> None:
    columns = spec.columns.model_copy(update={"rig": "machine", "experiment_type": "text"})
    training = spec.training.model_copy(update={"group": Group(column="machine", file="lab.csv")})
    of_rigs = spec.model_copy(update={"columns": columns, "training": training})
    header = ";".join(["machine", "experimentnummer", "bemerkungen", *spec.target_names])
    rows = "north;1;W1;60;1;1\nnorth;1;S1;61;1;1\nsouth;1;W1;62;1;1\n"
    (tmp_path / "lab.csv").write_text(f"{header}\n{rows}", encoding="utf-8")
    groups = read_groups(tmp_path, of_rigs)
    assert groups is not None
    assert groups.to_dict() == {"north/1": "north", "south/1": "south"}
    laboratory = read_laboratory(tmp_path / "lab.csv", of_rigs)
    assert laboratory["experimentnummer"].tolist() == ["north/1", "north/1", "south/1"]
