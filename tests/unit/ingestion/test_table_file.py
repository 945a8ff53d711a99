"""A table reads back exactly as it was written, in any dialect that params.yaml can describe."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.components.ingestion import table_file
from src.components.ingestion.cells import Column, Kind
from src.errors import DataError
from src.soft_sensor import Dialect

COLUMNS = [
    Column("key", Kind.INTEGER, filled=True),
    Column("name", Kind.TEXT),
    Column("value", Kind.NUMBER),
    Column("when", Kind.STAMP, filled=True),
]
HEADER = [column.name for column in COLUMNS]
LARGEST = 2**63 - 1
NOW = 1_790_000_000
DAY = 86400


@dataclass(frozen=True)
class Written:
    """A table as its author meant it, and the file that holds it."""

    rows: list[list[Any]]
    dialect: Dialect
    content: bytes
    lines: list[int]  # of each row


def read_back(content: bytes, dialect: Dialect, suffix: str = ".csv") -> pd.DataFrame:
    """The rows that the reader finds in a file."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        file.write(content)
        file.flush()
        with table_file.read(Path(file.name), COLUMNS, dialect) as table:
            return table.frame()


def number(thousandths: int, dialect: Dialect) -> str:
    """A number as a plant writes it."""
    mark = dialect.thousands or ""
    digits = f"{abs(thousandths) // 1000:,}".replace(",", mark)
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{digits}{dialect.decimal}{abs(thousandths) % 1000:03}"


def stamp(milliseconds: int, dialect: Dialect) -> str:
    """A time stamp as a plant writes it."""
    if dialect.timestamp == "seconds":
        return number(milliseconds, Dialect(decimal=dialect.decimal))
    if dialect.timestamp == "milliseconds":
        return str(milliseconds)
    local = datetime.fromtimestamp(milliseconds / 1000, ZoneInfo(dialect.time_zone or "UTC"))
    if dialect.timestamp != "excel":
        return local.strftime(dialect.timestamp)
    days = (local.replace(tzinfo=None) - datetime(1899, 12, 30)).total_seconds() / DAY
    return f"{days:.10f}".replace(".", dialect.decimal)


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    """Any dialect, but for separators that a number could hold."""
    decimal = draw(st.sampled_from(".,"))
    marks = [None, *(mark for mark in ".,' " if mark != decimal)]
    how = st.sampled_from(
        ["seconds", "milliseconds", "excel", "%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S%z"]
    )
    return Dialect(
        separator=draw(st.sampled_from(";\t|")),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16"])),
        decimal=decimal,
        thousands=draw(st.sampled_from(marks)),
        missing=tuple(draw(st.lists(st.sampled_from(["Bad", "n.d.", "NA", "-"]), unique=True))),
        skip_rows=draw(st.integers(0, 3)),
        units_row=draw(st.booleans()),
        timestamp=draw(how),
        time_zone=draw(st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"])),
    )


@st.composite
def tables(draw: st.DrawFn) -> Written:
    """Any table in any dialect."""
    dialect = draw(dialects())
    letters = st.characters(max_codepoint=255, exclude_categories=("Cc", "Cs", "Zs"))
    texts = st.text(letters, min_size=1, max_size=20).filter(
        lambda text: text not in dialect.missing
    )
    # A stamp in the hour that a clock shows twice could mean either; here it is none of them.
    step = 1 if dialect.timestamp in ("seconds", "milliseconds") else 1000
    stamps = st.integers(-300, 300).map(lambda days: (NOW + days * DAY) * 1000)
    stamps = stamps.flatmap(
        lambda start: st.integers(0, 3_000_000 // step).map(lambda k: start + k * step)
    )
    row = st.tuples(
        st.integers(-(2**63), LARGEST),
        st.none() | texts,
        st.none() | st.integers(-(10**12), 10**12),
        stamps,
    )
    rows = draw(st.lists(row, min_size=1, max_size=6))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    trailing = draw(st.booleans())
    quote_all = draw(st.booleans())
    empty = st.sampled_from(["", " ", *dialect.missing])
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=dialect.separator,
        lineterminator=end,
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
    )
    for _ in range(dialect.skip_rows):
        text.write(f"exported by a plant{end}")
    tail = [""] if trailing else []
    writer.writerow([*HEADER, *tail])
    if dialect.units_row:
        writer.writerow(["1", "", "mg/L", "s", *tail])
    lines = []
    for key, name, value, when in rows:
        for _ in range(draw(st.integers(0, 1))):
            writer.writerow(["", "", "", "", *tail])
        lines.append(text.getvalue().count("\n") + 1)
        cells = [
            str(key),
            draw(empty) if name is None else name,
            draw(empty) if value is None else number(value, dialect),
            stamp(when, dialect),
        ]
        writer.writerow([*cells, *tail])
    content = text.getvalue().encode(dialect.encoding)
    if draw(st.booleans()):
        content = gzip.compress(content)
    return Written([list(row) for row in rows], dialect, content, lines)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_any_table_in_any_dialect_reads_back_exactly(written: Written) -> None:
    frame = read_back(written.content, written.dialect)
    assert frame["key"].tolist() == [row[0] for row in written.rows]
    names = [None if pd.isna(name) else name for name in frame["name"]]
    assert names == [row[1] for row in written.rows]
    for value, (_, _, thousandths, milliseconds), when in zip(
        frame["value"], written.rows, frame["when"]
    ):
        assert pd.isna(value) if thousandths is None else value == thousandths / 1000
        assert abs(when - milliseconds / 1000) < 1e-3


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.data())
def test_a_cell_that_cannot_be_read_is_named_with_its_line(
    written: Written, data: st.DataObject
) -> None:
    text = _decoded(written)
    row = data.draw(st.integers(0, len(written.rows) - 1))
    column = data.draw(st.sampled_from([0, 2, 3]))
    garbage = data.draw(st.sampled_from(["x", "12.5.1", "0x10", "1e3e", "1_000", "--1", "#REF!"]))
    lines = re.split("(?<=\n)", text)
    cells = next(csv.reader([lines[written.lines[row] - 1]], delimiter=written.dialect.separator))
    cells[column] = garbage
    changed = io.StringIO()
    csv.writer(changed, delimiter=written.dialect.separator, lineterminator="").writerow(cells)
    end = "\r\n" if "\r\n" in text else "\n"
    lines[written.lines[row] - 1] = changed.getvalue() + end
    content = "".join(lines).encode(written.dialect.encoding)
    expected = f"line {written.lines[row]}, column {HEADER[column]}: {garbage!r}"
    with pytest.raises(DataError, match=re.escape(expected)):
        read_back(content, written.dialect)


def _decoded(written: Written) -> str:
    content = written.content
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return content.decode(written.dialect.encoding)


def _table(*rows: str, header: str = "key;name;value;when") -> bytes:
    return "\n".join([header, *rows, ""]).encode()


@pytest.mark.parametrize(
    "key",
    [
        "12.5",
        "1.234",
        "1e3",
        "0x10",
        "inf",
        "nan",
        "1_000",
        "1,0",
        "١",
        "9223372036854775808",
        "1 2",
        "TRUE",
        "1.000",
    ],
)
def test_a_key_is_never_a_float(key: str) -> None:
    with pytest.raises(DataError, match=f"line 3, column key: '{re.escape(key)}' is"):
        read_back(_table(f"1;a;1;{NOW}", f"{key};a;1;{NOW}"), Dialect())


@pytest.mark.parametrize(
    ("key", "value"),
    [("007", 7), ("+5", 5), ("101.0", 101), (" 9223372036854775807 ", LARGEST), ("-1", -1)],
)
def test_whole_numbers_are_read_exactly(key: str, value: int) -> None:
    assert read_back(_table(f"{key};a;1;{NOW}"), Dialect())["key"].tolist() == [value]


@pytest.mark.parametrize(
    ("when", "complaint"),
    [
        ("46039.75", "looks like days of a spreadsheet.*set files.timestamp: excel"),
        (f"{NOW}000", "looks like milliseconds: set files.timestamp: milliseconds"),
        ("inf", "is not a time stamp"),
        ("nan", "is not a time stamp"),
        ("1e308", "is not a time stamp"),
        ("0", "is more than 30 years away"),
        ("2026-01-05T06:00:00", "names no time zone: set files.time_zone"),
        ("05.01.2026 06:00", "is not a time stamp of the form that files.timestamp"),
        ("2026-01-05", "is not a time stamp"),
        ("1970-01-01T00:00:00Z", "is not a time stamp|decades"),
    ],
)
def test_a_time_stamp_that_cannot_be_meant_is_refused(when: str, complaint: str) -> None:
    with pytest.raises(DataError, match=f"line 2, column when: .*{complaint}"):
        read_back(_table(f"1;a;1;{when}"), Dialect())


@pytest.mark.parametrize(
    "when",
    [
        "2026-01-05T06:00:00Z",
        "2026-01-05 07:00:00+01:00",
        "2026-01-05T07:00+01",
        "2026-01-05T06:00:00.000Z",
    ],
)
def test_iso_stamps_with_an_offset_are_read_in_any_case(when: str) -> None:
    for how in ("seconds", "milliseconds"):
        assert read_back(_table(f"1;a;1;{when}"), Dialect(timestamp=how))["when"].tolist() == [
            1767592800
        ]


def test_local_time_follows_the_clocks_of_its_zone() -> None:
    berlin = Dialect(time_zone="Europe/Berlin")
    summer = read_back(_table("1;a;1;2026-07-05T08:00:00"), berlin)
    assert summer["when"].tolist() == [datetime(2026, 7, 5, 6, tzinfo=ZoneInfo("UTC")).timestamp()]
    with pytest.raises(DataError, match="is skipped by the clocks of Europe/Berlin in spring"):
        read_back(_table("1;a;1;2026-03-29T02:30:00"), berlin)
    with pytest.raises(DataError, match="'Europe/Berln' is not a time zone"):
        read_back(_table(f"1;a;1;{NOW}"), Dialect(time_zone="Europe/Berln"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"key;name;value;when\n", "is empty"),
        (b"key;name;value;when", "is empty"),
        (b"\n\n", "is empty"),
        (_table(";;;"), "is empty: it needs rows"),
        (_table("1;a;1;1790000000", header="key,name,value,when"), "is not separated by ';'"),
        (_table("1;a;1;1790000000", header="key;name;key;when"), "more than one column key"),
        (
            _table("1;a;1", "2;b;1;1790000000"),
            "line 2: 3 cells where the header has 4: the line is cut",
        ),
        (
            _table("1;a;1;1790000000", "2;b;1;1790000000;7;8"),
            "line 3: 6 cells where the header has 4",
        ),
        (
            _table("1;a;1;1790000000", "2;b"),
            "line 3: 2 cells where the header has 4: the line is cut",
        ),
        (_table("# by hand", "1;a;1;1790000000"), "line 2: 1 cells where the header has 4"),
        (_table('1;"a;1;1790000000', "2;b;1;1790000000"), "line 2: the quotation marks"),
        (_table('1;"a"b;1;1790000000'), "line 2: the quotation marks"),
        (
            _table("1;a;1;1790000000", "key;name;value;when"),
            "line 3: 'key' repeats the column names",
        ),
        (_table(";;mg/L;s", "1;a;1;1790000000"), "line 2: key is empty.*files.units_row: true"),
        (_table("1;a;1;1790000000", ";b;2;1790000000"), "line 3: key is empty, but the row holds"),
        (_table("1;a;1;1790000000", "2;b;2;"), "line 3: when is empty"),
        (
            _table("1;a;1,5;1790000000"),
            "column value: '1,5' has a decimal comma: set files.decimal",
        ),
        (_table("1;a;1'000;1790000000"), "'1'000' has thousands separators|has thousands"),
        (_table("1;a;<5;1790000000"), "is a limit: only laboratory values"),
        (_table("1;a;Bad;1790000000"), "add it to files.missing"),
        (_table("1;a\x00;1;1790000000"), "column name: .* control characters"),
        (_table(f"1;{'x' * 201};1;1790000000"), "column name: .* is longer than 200 bytes"),
        (
            _table("1;a;1;1790000000;9", header="key;name;value;when;"),
            "column 5 has no name, but holds '9'",
        ),
        (
            "key;name;value;when\n1;ä;1;1790000000\n".encode("latin-1"),
            "line 2: not written in the encod",
        ),
        ("key;name;value;when\n1;a;1;1790000000\n".encode("utf-16"), "set files.encoding: utf-16"),
        (
            b"key;name;value;when\r\n1;a;1;1790000000\n2;a;1;1790000000\r\n",
            "line 2: it does not end",
        ),
        (gzip.compress(_table("1;a;1;1790000000"), mtime=0)[:-9], "is cut off or damaged"),
        (b"PK\x03\x04something", "is an Excel workbook"),
        (b"PAR1something", "is not a Parquet file"),
    ],
)
def test_what_is_not_such_a_table_is_refused_by_its_line(content: bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_back(content, Dialect())


def test_a_parquet_file_is_read_as_its_cells_would_be_written(tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    frame = pd.DataFrame(
        {
            "key": [20260105060000101, LARGEST],
            "name": [" a ", None],
            "value": [0.1, float("nan")],
            "when": pd.to_datetime(["2026-01-05T06:00:00Z", "2026-01-05T06:00:01Z"]),
            "other": [1, 2],
        }
    )
    frame.to_parquet(file)
    with table_file.read(file, COLUMNS, Dialect(decimal=",")) as table:
        found = table.frame()
        assert table.ignored == ["other"]
    assert found["key"].tolist() == [20260105060000101, LARGEST]
    assert found["name"].iloc[0] == "a" and pd.isna(found["name"].iloc[1])
    assert found["when"].tolist() == [1767592800, 1767592801]
    assert found["value"].iloc[0] == 0.1 and pd.isna(found["value"].iloc[1])
    frame.assign(key=frame["key"].astype(float)).to_parquet(file)
    with pytest.raises(DataError, match="row 1, column key: '2.026.*' is not a whole number"):
        with table_file.read(file, COLUMNS, Dialect()):
            pass
    frame.assign(when=frame["when"].dt.tz_localize(None)).to_parquet(file)
    with pytest.raises(DataError, match="row 1, column when: .* names no time zone"):
        with table_file.read(file, COLUMNS, Dialect()):
            pass
    with table_file.read(file, COLUMNS, Dialect(time_zone="UTC")) as table:
        assert table.frame()["when"].tolist() == [1767592800, 1767592801]


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    names = ["rows", "cells", "blank", "fault", "c0", "v1", "rowid", "impress", "select", "KEY"]
    columns = [Column(name, Kind.NUMBER) for name in names]
    file = tmp_path / "table.csv"
    cells = ";".join(str(place) for place in range(len(names)))
    file.write_text(f"{';'.join(names)};line\n{cells};1\n", encoding="utf-8")
    with table_file.read(file, columns, Dialect()) as table:
        assert table.frame().iloc[0].tolist() == list(range(len(names)))
        assert table.ignored == ["line"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("sign", ["*", "?", "[12]"])
def test_a_name_is_not_a_pattern(tmp_path: Path, sign: str, suffix: str) -> None:
    for name, key in ((f"rows{sign}", 1), ("rows1", 2)):
        rows = pd.DataFrame({"key": [key], "name": ["a"], "value": [1.0], "when": [NOW]})
        file = tmp_path / f"{name}.{suffix}"
        if suffix == "csv":
            rows.to_csv(file, sep=";", index=False)
        else:
            rows.to_parquet(file, index=False)
    with table_file.read(tmp_path / f"rows{sign}.{suffix}", COLUMNS, Dialect()) as table:
        assert table.frame()["key"].tolist() == [1]
