"""Files as plants and laboratories write them are read alike by every command, or refused alike."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, text

from src.components.ingestion import data_set, laboratory
from src.components.ingestion.load import load_sensor_rows
from src.components.transformation.training_table import laboratory_targets
from src.errors import DataError
from src.soft_sensor import Files, SoftSensor

Edit = Callable[[str], str | bytes]
ROWS = 200


def _quoted(content: str) -> str:
    lines = content.splitlines()
    return "\n".join(";".join(f'"{cell}"' for cell in line.split(";")) for line in lines) + "\n"


def _first_column(change: Callable[[str], str]) -> Edit:
    def edit(content: str) -> str:
        header, *lines = content.splitlines()
        cells = [line.split(";", maxsplit=1) for line in lines]
        return "\n".join([header, *(f"{change(first)};{rest}" for first, rest in cells)]) + "\n"

    return edit


def _stamps(change: Callable[[float], str]) -> Edit:
    def edit(content: str) -> str:
        header, *lines = content.splitlines()
        place = header.split(";").index("timestamp")
        rows = [line.split(";") for line in lines]
        for cells in rows:
            cells[place] = change(float(cells[place]))
        return "\n".join([header, *(";".join(cells) for cells in rows)]) + "\n"

    return edit


def _iso(seconds: float, form: str = "%Y-%m-%dT%H:%M:%S+00:00", zone: str = "UTC") -> str:
    return pd.Timestamp(seconds, unit="s", tz="UTC").tz_convert(zone).strftime(form)


def _days(seconds: float) -> str:
    return f"{seconds / 86400 + 25569:.8f}"


def _without_repeated_numbers(content: str) -> str:
    """The number of an experiment in its first row only, as merged cells of a sheet are saved."""
    seen = set()
    lines = []
    for line in content.splitlines():
        number, rest = line.split(";", maxsplit=1)
        lines.append(f"{'' if number in seen else number};{rest}")
        seen.add(number)
    return "\n".join(lines) + "\n"


def _second_line(line: str) -> Edit:
    return lambda content: content.replace("\n", f"\n{line}\n", 1)


def _decimal_commas(content: str) -> str:
    return content.replace(".", ",")


SENSORS: dict[str, tuple[Edit, dict[str, Any], str | None]] = {
    "as it is": (lambda content: content, {}, None),
    "every cell quoted": (_quoted, {}, None),
    "separators at the end": (lambda content: content.replace("\n", ";\n"), {}, None),
    "separators at the end of rows": (
        lambda content: content.replace("\n", ";\n").replace(";\n", "\n", 1),
        {},
        None,
    ),
    "an empty row at the end": (lambda content: content + ";" * 20 + "\n", {}, None),
    "empty lines": (lambda content: content.replace("\n", "\n\n"), {}, None),
    "Windows": (lambda content: "\ufeff" + content.replace("\n", "\r\n"), {}, None),
    "no line end at the end": (lambda content: content.rstrip("\n"), {}, None),
    "float keys": (_first_column(lambda number: f"{number}.0"), {}, None),
    "compressed": (lambda content: gzip.compress(content.encode()), {}, None),
    "ISO 8601": (_stamps(_iso), {}, None),
    "ISO 8601, local": (
        _stamps(lambda seconds: _iso(seconds, "%Y-%m-%d %H:%M:%S")),
        {},
        "line 2, column timestamp: .* names no time zone: set files.time_zone",
    ),
    "ISO 8601, local, with a zone": (
        _stamps(lambda seconds: _iso(seconds, "%Y-%m-%d %H:%M:%S", "Europe/Berlin")),
        {"time_zone": "Europe/Berlin"},
        None,
    ),
    "German dates": (
        _stamps(lambda seconds: _iso(seconds, "%d.%m.%Y %H:%M:%S", "Europe/Berlin")),
        {"timestamp": "%d.%m.%Y %H:%M:%S", "time_zone": "Europe/Berlin"},
        None,
    ),
    "milliseconds": (
        _stamps(lambda seconds: f"{seconds * 1000:.0f}"),
        {"timestamp": "milliseconds"},
        None,
    ),
    "milliseconds, not described": (
        _stamps(lambda seconds: f"{seconds * 1000:.0f}"),
        {},
        "line 2, column timestamp: .* looks like milliseconds",
    ),
    "Excel days": (_stamps(_days), {"timestamp": "excel", "time_zone": "UTC"}, None),
    "Excel days, not described": (
        _stamps(_days),
        {},
        "line 2, column timestamp: .* looks like days of a spreadsheet",
    ),
    "decimal commas": (_decimal_commas, {"decimal": ","}, None),
    "decimal commas, not described": (
        _decimal_commas,
        {},
        "line 2, column .* has a decimal comma: set files.decimal",
    ),
    "UTF-16": (lambda content: content.encode("utf-16"), {"encoding": "utf-16"}, None),
    "UTF-16, not described": (
        lambda content: content.encode("utf-16"),
        {},
        "set files.encoding: utf-16",
    ),
    "words for missing values": (
        lambda content: content.replace(";;", ";Bad;").replace(";;", ";No Data;"),
        {"missing": ("Bad", "No Data")},
        None,
    ),
    "words for missing values, not described": (
        lambda content: content.replace(";;", ";Bad;", 1),
        {},
        "line 2, column .*: 'Bad' is not a number: .* files.missing",
    ),
    "lines before the header": (
        lambda content: f"Export; from the plant\n\n{content}",
        {"skip_rows": 2},
        None,
    ),
    "a row of units": (_second_line("-;s" + ";1" * 19), {"units_row": True}, None),
    "a row of units, not described": (
        _second_line("-;s" + ";" * 19),
        {},
        "line 2, column experimentnummer: '-' is not .* set files.units_row: true",
    ),
    "a column too many": (
        lambda content: content.replace("\n", ";1\n").replace(";1\n", ";operator\n", 1),
        {},
        None,
    ),
    "cut off": (
        lambda content: content.rstrip("\n;")[:-30],
        {},
        f"line {ROWS + 1}: .* cells where the header has 21: the line is cut off",
    ),
    "a column twice": (
        lambda content: content.replace("\n", ";7\n").replace(";7\n", ";ph\n", 1),
        {},
        "more than one column ph",
    ),
    "the header twice": (
        lambda content: content + content,
        {},
        f"line {ROWS + 2}: 'experimentnummer' repeats the column names",
    ),
    "a comment": (_second_line("# by hand"), {}, "line 2: 1 cells where the header has 21"),
    "hexadecimal keys": (
        _first_column(lambda number: f"0x{number}"),
        {},
        "line 2, column experimentnummer: .* is not a whole number",
    ),
}


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_file_is_good_for_every_command_or_for_none(
    name: str, engine: Engine, small_dataset: Path, tmp_path: Path, spec: SoftSensor
) -> None:
    edit, dialect, complaint = SENSORS[name]
    plain = (small_dataset / "sensors.csv").read_text(encoding="utf-8").splitlines()[: ROWS + 1]
    content = "\n".join(plain) + "\n"
    (tmp_path / "plain.csv").write_text(content, encoding="utf-8")
    changed = edit(content)
    file = tmp_path / "sensors.csv"
    file.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    described = spec.model_copy(update={"files": Files(**dialect)})
    if complaint:
        with pytest.raises(DataError, match=complaint) as by_load:
            load_sensor_rows(engine, described, file)
        with pytest.raises(DataError) as by_train:
            data_set.read_features(tmp_path, described)
        assert str(by_train.value) == str(by_load.value)
        return
    assert load_sensor_rows(engine, described, file) == ROWS
    as_it_is = spec.model_copy(update={"files": Files(sensors="plain.csv")})
    expected = data_set.read_features(tmp_path, as_it_is)
    found = data_set.read_features(tmp_path, described)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9, atol=1e-3)
    load_sensor_rows(engine, as_it_is, tmp_path / "plain.csv", prefix="test_", again=True)
    differences = text("""
        SELECT count(*) FROM online_data JOIN test_online_data AS t USING (experimentnummer, waschen)
        WHERE abs(online_data.timestamp - t.timestamp) < 0.5
          AND online_data.ph IS NOT DISTINCT FROM t.ph
          AND online_data.csbeq IS NOT DISTINCT FROM t.csbeq""")
    with engine.connect() as connection:
        assert connection.scalar(differences) == ROWS


def _label(label: str, written: str) -> Edit:
    return lambda content: content.replace(f";{label};", f";{written};")


LABORATORY: dict[str, tuple[Edit, dict[str, Any], str | None]] = {
    "as it is": (lambda content: content, {}, None),
    "blanks around labels": (_label("W1", " W1 "), {}, None),
    "float keys": (_first_column(lambda number: f"{number}.0"), {}, None),
    "empty rows": (lambda content: content.replace("\n", "\n;;;;;;;;\n"), {}, None),
    "separators at the end of rows": (
        lambda content: content.replace("\n", ";\n").replace(";\n", "\n", 1),
        {},
        None,
    ),
    "decimal commas": (_decimal_commas, {"laboratory_dialect": {"decimal": ","}}, None),
    "decimal commas, not described": (
        _decimal_commas,
        {},
        "line 2, column .*: set files.laboratory_dialect.decimal: ','",
    ),
    "a row of units": (
        _second_line(";;;;;mN/m;mg/L;mg/L;mg/L"),
        {"laboratory_dialect": {"units_row": True}},
        None,
    ),
    "a row of units, not described": (
        _second_line(";;;;;mN/m;mg/L;mg/L;mg/L"),
        {},
        "line 2: experimentnummer is empty.* set files.laboratory_dialect.units_row: true",
    ),
    "merged cells": (_without_repeated_numbers, {}, "line 3: experimentnummer is empty, but the"),
    "another unit": (
        lambda content: re.sub(r";W1;([\d.]+);([\d.]+);", r";W1;\1;302400;", content, count=1),
        {},
        "line 2, column anionischetenside: 302400 is outside 0 to 1000 mg/L",
    ),
    "infinity": (
        lambda content: re.sub(r";W1;([\d.]+);([\d.]+);", r";W1;\1;inf;", content, count=1),
        {},
        "line 2, column anionischetenside: 'inf' is not a number",
    ),
    "a label in small letters": (_label("W1", "w1"), {}, ""),
}


@pytest.mark.parametrize("name", LABORATORY)
def test_a_laboratory_file_is_good_for_every_command_or_for_none(
    name: str,
    engine: Engine,
    small_dataset: Path,
    tmp_path: Path,
    spec: SoftSensor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    edit, dialect, complaint = LABORATORY[name]
    content = (small_dataset / "lab.csv").read_text(encoding="utf-8")
    file = tmp_path / "lab.csv"
    changed = edit(content)
    assert isinstance(changed, str)
    file.write_text(changed, encoding="utf-8")
    described = spec.model_copy(update={"files": Files(**dialect)})
    if complaint:
        with pytest.raises(DataError, match=complaint) as by_load:
            laboratory.load(engine, described, file)
        with pytest.raises(DataError) as by_train:
            data_set.read_laboratory(file, described)
        assert str(by_train.value) == str(by_load.value)
        return
    laboratory.load(engine, described, file)
    found = laboratory_targets(data_set.read_laboratory(file, described), described)
    expected = laboratory_targets(data_set.read_laboratory(small_dataset / "lab.csv", spec), spec)
    if complaint == "":
        assert "is W1 meant?" in caplog.text
        expected = expected[expected["waschen"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
