"""params.yaml is checked on load, and its faults are named by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.errors import ParamsError
from src.soft_sensor import SoftSensor, load_soft_sensor, usable_key


def _changed(home: Path, old: str, new: str) -> Path:
    file = home / "params.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


def _line(file: Path, part: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if part in line)


def test_features_are_named_sensor_by_sensor(spec: SoftSensor) -> None:
    assert spec.features[:5] == [
        "truebung_mean",
        "truebung_std",
        "truebung_median",
        "truebung_percentile25",
        "truebung_percentile75",
    ]
    assert len(spec.features) == 25


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("high: 14,", "high: fourteen,", "valid number"),
        ("seed: 0", "sed: 0", "Extra inputs"),
        ("median, percentile25", "median, percentil25", "not one of mean"),
        ("name: ph,", 'name: "p; DROP TABLE x",', "not a column name"),
        ("limit: {min: 60}", "limit: {}", "either min or max"),
        ("holdout: 0.2 ", "holdout: 1.2 ", "less than 1"),
    ],
)
def test_a_fault_is_named_by_its_line(home: Path, old: str, new: str, complaint: str) -> None:
    file = _changed(home, old, new)
    with pytest.raises(ParamsError, match=complaint) as caught:
        load_soft_sensor(file)
    assert f"line {_line(file, new)}:" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("name: druck1, title", "name: ph, title", "sensors named twice: ph"),
        ("low: 0, high: 14", "low: 14, high: 0", "ph: low 14.0 is not below high 0.0"),
        ("fluss2, ph, leit", "fluss2, leit", "columns.online lacks ph"),
        ("std, median, per", "std, per", "which monitoring needs"),
        ("value: 0, label", "value: rinse, label", "all numbers or all text"),
        ("reserv1, reserv2]", "reserv1, run_id]", "columns.online has run_id"),
        ("phase: waschen", "phase: state", "a key column is named state"),
        ("phase: waschen", "phase: flags", "a key column is named flags"),
        ("name: anionischetenside", "name: ph_mean", "the ledger would be called ph_mean"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    home: Path, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(ParamsError, match=complaint):
        load_soft_sensor(_changed(home, old, new))


def test_broken_yaml_and_a_missing_file_say_what_to_do(home: Path) -> None:
    with pytest.raises(ParamsError, match="params.yaml, line 4: expected"):
        load_soft_sensor(_changed(home, "name: laundry ", "name: [laundry "))
    with pytest.raises(ParamsError, match="set IMPRESS_PARAMS"):
        load_soft_sensor(home / "absent.yaml")


def test_keys_have_the_type_that_params_give_them(spec: SoftSensor) -> None:
    assert spec.key_types == {"experimentnummer": int, "waschen": int}
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    phase = spec.phases[0].model_copy(update={"value": "wash"})
    named = spec.model_copy(update={"columns": columns, "phases": (phase,)})
    assert named.key_types == {"experimentnummer": str, "waschen": str}


def test_keys_that_a_table_a_file_name_and_a_mail_can_hold() -> None:
    for text in (
        "42",
        "x" * 200,
        "ä" * 100,
        "a b ",
        'q"uote',
        "\u202eright to left",
        "😀",
        "../up",
    ):
        assert usable_key(text), text
    for text in ("x" * 201, "ä" * 101, "two\nlines", "\x1b[31m", "\x85", "\x7f", "nul\0", "\ud800"):
        assert not usable_key(text), ascii(text)
