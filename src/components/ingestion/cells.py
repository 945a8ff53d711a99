"""What a column makes of the text in its cells: SQL for DuckDB, and a sentence where it cannot.

In SQL a cell that its column cannot take becomes NULL; `complaint` says why.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from enum import StrEnum

from src.soft_sensor import FARTHEST_STAMP, KEY_BYTES, OF_RIG, Dialect, PhaseValue

BLANKS = " \t\u00a0"
NUMBER_WORDS = "'nan', 'inf', 'infinity'"  # as other programs write them
ISO = r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?"
OFFSET = r" ?(Z|[+-]\d{2}(:?\d{2})?)"
NUMBER = r"[+-]?\d+([.,]\d+)?"
COMPARISON = r"(<=?|>=?|≤|≥)"
RIG_AND_EXPERIMENT = f"[^{OF_RIG}]+{OF_RIG}[^{OF_RIG}]+"
SHOWN = 60  # characters of a cell in a message; it becomes visible where it leaves the program
YEAR = 365.25 * 86400  # s
EXCEL_EPOCH = 25569  # days from Excel's day 0 to 1970-01-01


class Kind(StrEnum):
    """What the cells of a column are."""

    INTEGER = "integer"
    TEXT = "text"
    NUMBER = "number"
    MEASURED = "measured"  # a number, or a limit of the assay such as <5
    STAMP = "stamp"


@dataclass(frozen=True)
class Column:
    """A column that the contract knows.

    Attributes:
        optional: the file may lack it.
        filled: a row that holds anything must hold it.
        one_of: the possible values, if only some are.
        of: the column of the rig, whose text comes before its own, see `Columns.rig`.
    """

    name: str
    kind: Kind
    optional: bool = False
    filled: bool = False
    one_of: tuple[PhaseValue, ...] = ()
    of: str | None = None


def literal(text: object) -> str:
    """A value as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


def file_literal(path: object) -> str:
    """One file as SQL of DuckDB names it, which takes some signs in a name for a pattern."""
    return literal(re.sub(r"([*?\[])", r"[\1]", str(path)))


def present(cell: str, dialect: Dialect) -> str:
    """SQL: the trimmed text of a cell, NULL where it is blank or a word for a missing value."""
    trimmed = f"trim({cell}, {literal(BLANKS)})"
    words = ", ".join(literal(word) for word in ("", *dialect.missing))
    return f"CASE WHEN {trimmed} NOT IN ({words}) THEN {trimmed} END"


def whole(text: str) -> str:
    """SQL: a text without the fraction of a whole number, which others write beside empty cells."""
    return f"regexp_replace({text}, '^(\\d+)[.]0+$', '\\1')"


def value_of(column: Column, cell: str, dialect: Dialect) -> str:
    """SQL: the value of a cell in a column, NULL where it is blank or the column cannot take it."""
    careful = typed(column, present(cell, dialect), dialect)
    if column.kind == Kind.TEXT or any(_is_number(word) for word in dialect.missing):
        return careful
    # Trimming costs more than all the rest, and few cells need it.
    fast = typed(column, cell, dialect)
    return f"CASE WHEN {fast} IS NOT NULL THEN {fast} WHEN {cell} IS NOT NULL THEN {careful} END"


def at_fault(cell: str, value: str, dialect: Dialect) -> str:
    """SQL condition: the column of a cell cannot take it; `value` is what it made of it."""
    return (
        f"CASE WHEN {cell} IS NOT NULL AND {value} IS NULL "
        f"THEN {present(cell, dialect)} IS NOT NULL ELSE false END"
    )


def _is_number(word: str) -> bool:
    return any(sign.isdigit() for sign in word) or word.casefold() in ("nan", "inf", "infinity")


def typed(column: Column, text: str, dialect: Dialect) -> str:
    """SQL: the value of a text in a column, NULL where the column cannot take it."""
    if column.kind == Kind.STAMP:
        return _seconds(text, dialect)
    if column.kind == Kind.NUMBER:
        return _number(text, dialect)
    if column.kind == Kind.MEASURED:
        value = _number(f"regexp_replace({text}, '^{COMPARISON}\\s*', '')", dialect)
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    value = _integer(text, dialect) if column.kind == Kind.INTEGER else _text(text)
    if column.of:
        value = f"CASE WHEN regexp_full_match({text}, '{RIG_AND_EXPERIMENT}') THEN {value} END"
    if not column.one_of:
        return value
    allowed = ", ".join(literal(each) for each in column.one_of)
    return f"CASE WHEN {value} IN ({allowed}) THEN {value} END"


def comparison(text: str) -> str:
    """SQL: `<` or `>` where a text is a limit of the assay, else NULL."""
    sign = f"regexp_extract({text}, '^{COMPARISON}', 1)"
    return f"CASE WHEN {sign} IN ('<', '<=', '≤') THEN '<' WHEN {sign} <> '' THEN '>' END"


def repeated_hour(value: str, zone: str) -> str:
    """SQL condition: the clocks of a zone showed the time of these Unix seconds twice."""
    shown = f"to_timestamp({value}) AT TIME ZONE {literal(zone)}"
    again = f"to_timestamp({value} - 3600) AT TIME ZONE {literal(zone)}"
    return f"{shown} = {again}"


def _text(text: str) -> str:
    fits = (
        f"octet_length(encode({text})) <= {KEY_BYTES} AND NOT regexp_matches({text}, '\\p{{Cc}}')"
    )
    return f"CASE WHEN {fits} THEN {text} END"


def _integer(text: str, dialect: Dialect) -> str:
    """Digits alone, or followed by the zeros with which a program writes a whole float.

    Three zeros would be thousands in some country.
    """
    pattern = rf"^([+-]?\d{{1,19}})({re.escape(dialect.decimal)}00?)?$"
    return f"try_cast(nullif(regexp_extract({text}, {literal(pattern)}, 1), '') AS BIGINT)"


def _number(text: str, dialect: Dialect) -> str:
    if dialect.decimal == "." and dialect.thousands is None:
        # DuckDB takes 1_000 for a number.
        return f"CASE WHEN NOT contains({text}, '_') THEN try_cast({text} AS DOUBLE) END"
    point = re.escape(dialect.decimal)
    digits, plain = r"\d+", text
    if dialect.thousands:
        mark = "[ \u00a0\u202f]" if dialect.thousands == " " else re.escape(dialect.thousands)
        digits = rf"(\d{{1,3}}({mark}\d{{3}})+|\d+)"
        plain = f"regexp_replace({text}, {literal(mark)}, '', 'g')"
    pattern = rf"[+-]?({digits}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?"
    plain = f"replace({plain}, {literal(dialect.decimal)}, '.')"
    return (
        f"CASE WHEN regexp_full_match({text}, {literal(pattern)}) THEN try_cast({plain} AS DOUBLE) "
        f"WHEN lower(ltrim({text}, '+-')) IN ({NUMBER_WORDS}) THEN try_cast({text} AS DOUBLE) END"
    )


def _seconds(text: str, dialect: Dialect) -> str:
    """Unix seconds near now, of a stamp in the dialect's unit or in ISO 8601."""
    with_offset = f"regexp_full_match({text}, {literal(ISO + OFFSET)})"
    ways = [
        _by_setting(text, dialect),
        f"CASE WHEN {with_offset} THEN epoch(try_cast({text} AS TIMESTAMPTZ)) END",
    ]
    if dialect.time_zone:
        local = _local(f"try_cast({text} AS TIMESTAMP)", dialect.time_zone)
        ways.append(f"CASE WHEN regexp_full_match({text}, {literal(ISO)}) THEN {local} END")
    value = f"coalesce({', '.join(ways)})"
    now = time.time()
    near = f"BETWEEN {now - FARTHEST_STAMP} AND {now + FARTHEST_STAMP}"
    return f"CASE WHEN {value} {near} THEN {value} END"


def _by_setting(text: str, dialect: Dialect) -> str:
    if dialect.timestamp == "seconds":
        return _number(text, dialect)
    if dialect.timestamp == "milliseconds":
        return f"{_number(text, dialect)} / 1000"
    if dialect.timestamp == "excel":
        ms = f"({_number(text, dialect)} - {EXCEL_EPOCH}) * 86400000"
        return _local(f"make_timestamp(try_cast(round({ms}) AS BIGINT) * 1000)", dialect.time_zone)
    read = f"try_strptime({text}, {literal(dialect.timestamp)})"
    return f"epoch({read})" if "%z" in dialect.timestamp else _local(read, dialect.time_zone)


def _local(moment: str, zone: str | None) -> str:
    """Unix seconds of the time that clocks of a zone show; NULL in an hour that they skip."""
    instant = f"({moment} AT TIME ZONE {literal(zone)})"
    return f"CASE WHEN {instant} AT TIME ZONE {literal(zone)} = {moment} THEN epoch({instant}) END"


def complaint(column: Column, text: str | None, dialect: Dialect, section: str) -> str:
    """Why a column cannot take a cell, and what to do; it follows the number of the line.

    Args:
        text: of the cell, None when it is empty.
        section: where params.yaml describes the dialect.
    """
    if text is None:
        empty = f"{column.of} or {column.name}" if column.of else column.name
        return (
            f": {empty} is empty, but the row holds values: fill it in on every row, also "
            "where a sheet has merged cells"
        )
    shown = f"'{text[:SHOWN]}'"
    if text == column.name:
        return f": {shown} repeats the column names: remove this line"
    if column.kind == Kind.STAMP:
        reason = _not_a_stamp(text, dialect, section)
    elif column.kind in (Kind.NUMBER, Kind.MEASURED):
        reason = _not_a_number(text, column.kind, dialect, section)
    elif column.one_of:
        reason = f"is not among the phases of params.yaml: {', '.join(map(str, column.one_of))}"
    elif column.of:
        reason = (
            f"is not {column.of}{OF_RIG}{column.name}: one of them holds {OF_RIG} or control "
            f"characters, or both are longer than {KEY_BYTES} bytes: rename it"
        )
    elif column.kind == Kind.TEXT:
        reason = f"is longer than {KEY_BYTES} bytes or holds control characters: rename it"
    elif re.fullmatch(r"[+-]?[0-9]+", text):
        reason = "is larger than 9223372036854775807: set columns.experiment_type: text"
    else:
        reason = (
            "is not a whole number, written with digits only; if experiments have names, set "
            "columns.experiment_type: text"
        )
    return f", column {column.name}: {shown} {reason}"


def _not_a_number(text: str, kind: Kind, dialect: Dialect, section: str) -> str:
    if re.match(COMPARISON, text) and kind == Kind.NUMBER:
        return "is a limit: only laboratory values can be below or above one"
    if dialect.decimal == "." and re.fullmatch(r"[+-]?\d*,\d+", text):
        return f"has a decimal comma: set {section}.decimal: ','"
    if re.fullmatch(r"[+-]?\d{1,3}([.,' \u00a0\u202f]\d{3})+([.,]\d+)?", text):
        return (
            f"has thousands separators, or another decimal sign: set {section}.thousands or "
            f"{section}.decimal"
        )
    if dialect.decimal == "," and re.fullmatch(r"[+-]?\d*\.\d+", text):
        return f"has a decimal point: set {section}.decimal: '.'"
    return f"is not a number: if it stands for an empty cell, add it to {section}.missing"


def _not_a_stamp(text: str, dialect: Dialect, section: str) -> str:
    if re.fullmatch(ISO, text) and dialect.time_zone is None:
        return f"names no time zone: set {section}.time_zone, or write Z or an offset behind it"
    if re.fullmatch(ISO, text):
        return f"is skipped by the clocks of {dialect.time_zone} in spring, or lies decades away"
    if dialect.timestamp in ("seconds", "milliseconds") and re.fullmatch(NUMBER, text):
        return _not_near(float(text.replace(",", ".")), dialect, section)
    return (
        f"is not a time stamp of the form that {section}.timestamp in params.yaml describes "
        f"({dialect.timestamp}), nor ISO 8601; a format is written like '%d.%m.%Y %H:%M:%S'"
    )


def _not_near(number: float, dialect: Dialect, section: str) -> str:
    """Why a number that was read as a time cannot be meant as one."""
    if 20_000 < number < 80_000:
        return (
            "looks like days of a spreadsheet, not Unix seconds: set "
            f"{section}.timestamp: excel and {section}.time_zone"
        )
    other, seconds = "milliseconds", number / 1000
    if dialect.timestamp == "milliseconds":
        other, seconds = "seconds", number
    if abs(seconds - time.time()) < FARTHEST_STAMP:
        return f"looks like {other}: set {section}.timestamp: {other}"
    return f"is more than {FARTHEST_STAMP / YEAR:.0f} years away from now"
