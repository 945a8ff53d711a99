"""Both languages say the same: no text without a translation, no translation without a text."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from datetime import date
from string import Formatter

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from src.components.drift_reporter.findings import AS_BEFORE
from src.components.drift_reporter.findings import ENTRIES as FINDINGS
from src.components.drift_reporter.findings import ONE_OF, REPAIR_FIRST
from src.components.drift_reporter.indicators import SENSOR_INDICATORS
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import HARDLY_ANY, ONE_VALUE
from src.components.predictor.flags import Flag
from src.components.predictor.judgement import Judgement
from src.components.predictor.reasons import Reason
from src.language import BLANK, CATALOGUES, CODES, Language, headed, shown_unit
from src.soft_sensor import Wording
from tests.conftest import ROOT

ENGLISH, GERMAN = Language("en"), Language("de")
DAY = date(2026, 6, 3)
SAY = "say"  # the function whose first argument is shown to people
# Texts that are not written where they are shown.
LISTED = [
    *(flag.meaning for flag in Flag),
    *(reason.remedy for reason in Reason),
    *map(str, Judgement),
    *(verdict.short for verdict in Judgement),
    *map(str, Status),
    *(entry.words for entry in FINDINGS.values()),
    *(entry.advice for entry in FINDINGS.values()),
    *(indicator.name for indicator in SENSOR_INDICATORS if indicator.line),
    *(ONE_OF, REPAIR_FIRST, AS_BEFORE, HARDLY_ANY, ONE_VALUE),
    *Wording().model_dump().values(),
]


def _entries(code: str) -> list[dict[str, str]]:
    """All entries of a language's catalogue."""
    files = sorted((CATALOGUES / code).glob("*.yaml"))
    return [entry for file in files for entry in yaml.safe_load(file.read_text(encoding="utf-8"))]


ENTRIES = [
    pytest.param(code, entry, id=entry["en"][:40]) for code in CODES[1:] for entry in _entries(code)
]


def _texts_of_modules() -> Iterator[str]:
    """Constants in the first argument of `say`, wherever it is called."""
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and _name(node.func) == SAY:
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _texts_of_templates() -> Iterator[str]:
    for file in (ROOT / "src").rglob("*.j2"):
        tree = jinja2.Environment().parse(file.read_text(encoding="utf-8"))
        for call in tree.find_all(jinja2.nodes.Call):
            if isinstance(call.node, jinja2.nodes.Name) and call.node.name == SAY:
                yield from (part.value for part in call.args[0].find_all(jinja2.nodes.Const))
                if isinstance(call.args[0], jinja2.nodes.Const):
                    yield call.args[0].value


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("code", CODES[1:])
def test_every_text_is_in_the_catalogue_and_no_other(code: str) -> None:
    shown = {*LISTED, *_texts_of_modules(), *_texts_of_templates()}
    translated = {entry["en"] for entry in _entries(code)}
    assert sorted(shown - translated) == []
    assert sorted(translated - shown) == []


@pytest.mark.parametrize(("code", "entry"), ENTRIES)
def test_an_entry_has_both_languages_and_the_same_placeholders(
    code: str, entry: dict[str, str]
) -> None:
    assert set(entry) == {"en", code}
    assert all(isinstance(text, str) and text == text.strip() and text for text in entry.values())
    assert _placeholders(entry["en"]) == _placeholders(entry[code])


@pytest.mark.parametrize("code", CODES[1:])
def test_no_text_is_translated_twice(code: str) -> None:
    english = [entry["en"] for entry in _entries(code)]
    assert len(english) == len(set(english))


def test_numbers_in_sentences_are_those_of_the_language() -> None:
    values = {"share": 0.0432, "rows": 12345, "name": "1.5,2"}
    assert ENGLISH.say("{share:.1%} of {rows:,} {name}", **values) == "4.3% of 12,345 1.5,2"
    assert GERMAN.say("{share:.1%} of {rows:,} {name}", **values) == (
        f"4,3{BLANK}% of 12.345 1.5,2"
    )


def test_a_text_without_a_translation_stays_as_it_is() -> None:
    assert GERMAN.say("a name {that} a user gave") == "a name {that} a user gave"
    assert GERMAN.say("clean") == "sauber"


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [
        (0.043478260869565216, "0.0435", "0,0435"),
        (144.2, "144", "144"),
        (1927.3, "1,927", "1.927"),
        (-7.1234, "-7.12", "-7,12"),
        (0, "0.00", "0,00"),
        (math.nan, "\N{EN DASH}", "\N{EN DASH}"),
        (math.inf, "inf", "inf"),
    ],
)
def test_figures_have_three_digits(value: float, english: str, german: str) -> None:
    assert ENGLISH.figure(value) == english
    assert GERMAN.figure(value) == german


@given(st.floats(min_value=1e-6, max_value=1e9), st.sampled_from([1, -1]))
def test_a_figure_is_its_number(size: float, sign: int) -> None:
    """To three digits, without an exponent, and both languages mean the same number."""
    english = ENGLISH.figure(sign * size)
    assert float(english.replace(",", "")) == pytest.approx(sign * size, rel=0.005)
    swapped = GERMAN.figure(sign * size).translate(str.maketrans(",.", ".,"))
    assert swapped == english
    assert "e" not in english


def test_quantities_have_the_units_of_readers() -> None:
    assert ENGLISH.quantity(927.31, "uS/cm", sign=True) == f"+927{BLANK}µS/cm"
    assert GERMAN.quantity(1234.5, "m3/h") == f"1.234{BLANK}m³/h"
    assert GERMAN.quantity(7.123, "1") == "7,12"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("uS/cm", "µS/cm"),
        ("m3/h", "m³/h"),
        ("1", ""),
        ("mg/L", "mg/L"),
        ("ug/L", "µg/L"),
        ("unit", "unit"),
        ("W/m2", "W/m²"),
        ("degC", "°C"),
        ("µS/cm", "µS/cm"),
        ("NTU", "NTU"),
    ],
)
def test_units_are_written_as_people_read_them(written: str, read: str) -> None:
    assert shown_unit(written) == read


def test_a_heading_has_its_unit_if_there_is_one() -> None:
    assert headed("flow", "m3/h") == "flow [m³/h]"
    assert headed("pH", "1") == "pH"


def test_dates_and_weeks() -> None:
    assert ENGLISH.day(DAY) == "3 June 2026"
    assert GERMAN.day(DAY) == "3. Juni 2026"
    assert GERMAN.month(date(2026, 3, 1)) == "März 2026"
    assert (ENGLISH.week(DAY), GERMAN.week(DAY)) == ("week 23", "KW 23")
    # The first days of a year can belong to the last week of the year before.
    assert GERMAN.week(date(2027, 1, 1)) == "KW 53"


def test_shares_and_lists() -> None:
    assert ENGLISH.percent(0.0432, 1, sign=True) == f"+4.3{BLANK}%"
    assert GERMAN.percent(0.0432, 1) == f"4,3{BLANK}%"
    assert ENGLISH.listed(["a", "b", "c"]) == "a, b and c"
    assert GERMAN.either(["a", "b"]) == "a oder b"
    assert GERMAN.listed(["a"]) == "a"
