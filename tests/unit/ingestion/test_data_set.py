"""Files of a data set folder are checked as they are read, and keys come in their own type."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.components.ingestion.data_set import read_groups, read_laboratory, require_columns
from src.errors import DataError
from src.soft_sensor import Group, SoftSensor

HEADER = "experimentnummer;bemerkungen;oberflaechenspannung;anionischetenside;nichtionischentenside"


@pytest.fixture(name="named", scope="module")
def fixture_named(spec: SoftSensor) -> SoftSensor:
    """A rig whose experiments have names instead of numbers, in groups."""
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    training = spec.training.model_copy(
        update={"group": Group(column="batch_name", file="groups.csv")}
    )
    return spec.model_copy(update={"columns": columns, "training": training})


def test_missing_columns_are_named_and_so_are_those_there() -> None:
    file = Path("x.csv")
    require_columns(file, ["a", "b"], ["b"])
    with pytest.raises(DataError, match="^x.csv: column c is missing; it has a, b$"):
        require_columns(file, ["a", "b"], ["b", "c"])
    with pytest.raises(DataError, match="^x.csv: columns c, d are missing; it has a, b$"):
        require_columns(file, ["a", "b"], ["c", "d"])


def test_a_number_that_is_none_is_named_with_its_line(tmp_path: Path, spec: SoftSensor) -> None:
    file = tmp_path / "lab.csv"
    file.write_text(f"{HEADER}\n1;W1;40;1;1\n2;S1;n.d.;1;1\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3, column oberflaechenspannung: 'n.d.' is not a"):
        read_laboratory(file, spec)
    file.write_text(f"{HEADER}\n1;W1;40;1;1\ntwo;S1;41;1;1\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3, column experimentnummer: 'two' is not a number"):
        read_laboratory(file, spec)


def test_experiments_are_numbers_or_text_as_params_say(
    tmp_path: Path, spec: SoftSensor, named: SoftSensor
) -> None:
    file = tmp_path / "lab.csv"
    file.write_text(f"{HEADER}\n007;W1;40;1;1\n;S1;41;1;1\n", encoding="utf-8")
    assert read_laboratory(file, spec)["experimentnummer"].tolist() == [7]
    assert read_laboratory(file, named)["experimentnummer"].tolist() == ["007"]


def test_groups_are_read_by_experiment(tmp_path: Path, spec: SoftSensor, named: SoftSensor) -> None:
    assert read_groups(tmp_path, spec) is None
    file = tmp_path / "groups.csv"
    file.write_text("experimentnummer;batch_name\n007;a\n008;b\n", encoding="utf-8")
    groups = read_groups(tmp_path, named)
    assert groups is not None and groups.to_dict() == {"007": "a", "008": "b"}
    file.write_text("experimentnummer;batch\n007;a\n", encoding="utf-8")
    with pytest.raises(DataError, match="column batch_name is missing"):
        read_groups(tmp_path, named)
