"""Files of a data set folder are checked as they are read, and keys come in their own type."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.components.ingestion.account import Account
from src.components.ingestion.data_set import read_groups, read_laboratory
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
    laboratory = spec.laboratory.model_copy(update={"sample_column": None})
    return spec.model_copy(
        update={"columns": columns, "training": training, "laboratory": laboratory}
    )


@pytest.fixture(name="plain", scope="module")
def fixture_plain(spec: SoftSensor) -> SoftSensor:
    """The laundry with laboratory files that do not tell samples apart."""
    laboratory = spec.laboratory.model_copy(update={"sample_column": None})
    return spec.model_copy(update={"laboratory": laboratory})


def test_missing_columns_are_named_and_so_are_those_there(
    tmp_path: Path, plain: SoftSensor
) -> None:
    file = tmp_path / "lab.csv"
    file.write_text("bemerkungen;oberflaechenspannung\nW1;40\n", encoding="utf-8")
    missing = "columns experimentnummer, anionischetenside, nichtionischentenside are missing"
    with pytest.raises(DataError, match=f"{missing}; it has bemerkungen, oberflaechenspannung$"):
        read_laboratory(file, plain)


def test_a_number_that_is_none_is_named_with_its_line(tmp_path: Path, plain: SoftSensor) -> None:
    file = tmp_path / "lab.csv"
    file.write_text(f"{HEADER}\n1;W1;40;1;1\n2;S1;n.d.;1;1\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3, column oberflaechenspannung: 'n.d.' is not a"):
        read_laboratory(file, plain)
    file.write_text(f"{HEADER}\n1;W1;40;1;1\ntwo;S1;41;1;1\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 3, column experimentnummer: 'two' is not a whole"):
        read_laboratory(file, plain)


def test_experiments_are_numbers_or_text_as_params_say(
    tmp_path: Path, plain: SoftSensor, named: SoftSensor
) -> None:
    file = tmp_path / "lab.csv"
    file.write_text(f"{HEADER}\n007;W1;40;1;1\n", encoding="utf-8")
    assert read_laboratory(file, plain)["experimentnummer"].tolist() == [7]
    assert read_laboratory(file, named)["experimentnummer"].tolist() == ["007"]


def test_rows_that_name_no_phase_are_counted_by_label(tmp_path: Path, plain: SoftSensor) -> None:
    file = tmp_path / "lab.csv"
    rows = [
        "1;W1;40;1;1",
        "1;w1;40;1;1",
        "1;S 1;60;1;1",
        "1;;60;1;1",
        "1;blank;60;1;1",
        "2;S1;60;1;1",
    ]
    file.write_text("\n".join([HEADER, *rows, ";;;;"]) + "\n", encoding="utf-8")
    account = Account()
    read_laboratory(file, plain, account)
    assert account.lines()[:2] == ["6 rows in lab.csv", "1 row without any value"]
    (line,) = account.lines()[2:]
    assert line.startswith("4 rows of no phase: ")
    for name in ("w1 (1, is W1 meant?)", "S 1 (1, is S1 meant?)", "empty (1)", "blank (1)"):
        assert name in line


def test_a_value_outside_the_range_of_its_target_is_refused_unless_accepted(
    tmp_path: Path, plain: SoftSensor
) -> None:
    file = tmp_path / "lab.csv"
    file.write_text(f"{HEADER}\n1;W1;40;302400;1\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2, column anionischetenside: 302400 is outside 0 to"):
        read_laboratory(file, plain)
    accepted = read_laboratory(file, plain, accept_outliers=True)
    assert accepted["anionischetenside"].tolist() == [302400]
    # Pure water and an instrument's noise, a value that was not measured, and one of no phase.
    file.write_text(f"{HEADER}\n1;W1;73.1;-1;1\n1;blank;72;5000;1\n", encoding="utf-8")
    assert len(read_laboratory(file, plain)) == 2
    for word in ("inf", "nan", "-inf", "1e999"):
        file.write_text(f"{HEADER}\n1;W1;40;{word};1\n", encoding="utf-8")
        with pytest.raises(DataError, match=f"line 2, column anionischetenside: '{word}' is not"):
            read_laboratory(file, plain, accept_outliers=True)


def test_values_beyond_a_limit_of_the_assay_are_marked(tmp_path: Path, plain: SoftSensor) -> None:
    file = tmp_path / "lab.csv"
    file.write_text(f"{HEADER}\n1;W1;40;<5;> 900\n1;S1;60;≤ 0.5;3\n", encoding="utf-8")
    frame = read_laboratory(file, plain)
    assert frame["anionischetenside"].tolist() == [5, 0.5]
    assert frame["anionischetenside_censored"].tolist() == ["<", "<"]
    assert frame["nichtionischentenside"].tolist() == [900, 3]
    assert frame["nichtionischentenside_censored"].fillna("").tolist() == [">", ""]


def test_groups_are_read_by_experiment(tmp_path: Path, spec: SoftSensor, named: SoftSensor) -> None:
    assert read_groups(tmp_path, spec) is None
    file = tmp_path / "groups.csv"
    file.write_text("experimentnummer;batch_name\n007;a\n008;1\n", encoding="utf-8")
    groups = read_groups(tmp_path, named)
    assert groups is not None and groups.to_dict() == {"007": "a", "008": "1"}
    file.write_text("experimentnummer;batch\n007;a\n", encoding="utf-8")
    with pytest.raises(DataError, match="column batch_name is missing"):
        read_groups(tmp_path, named)
    file.write_text("experimentnummer;batch_name\n007;a\n008;1\n007;b\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 4: experiment 007 has another group before"):
        read_groups(tmp_path, named)
