"""What people read, in the language of params.yaml: sentences, numbers, dates and units.

Sentences are written in English where they are used. `catalogue/<language>/*.yaml` has what they
are in another language; what it lacks, such as a name that a user has given, stays as it is. The
command line and the logs are in English.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args

import yaml

Code = Literal["en", "de"]
CODES: tuple[Code, ...] = get_args(Code)
CATALOGUES = Path(__file__).parent / "catalogue"

BLANK = "\N{NO-BREAK SPACE}"  # between a number and its unit
UNKNOWN = "\N{EN DASH}"  # in place of a number that there is none of

_MONTHS: dict[Code, str] = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
}
_DAYS: dict[Code, str] = {
    "en": "Mon Tue Wed Thu Fri Sat Sun",
    "de": "Mo Di Mi Do Fr Sa So",
}
_SIGNS = str.maketrans(",.", ".,")  # 1,234.5 in English is 1.234,5 in German
# As units are written with the characters of ASCII, and as people read them.
_UNITS = {
    r"\bu(?=(?:S|A|V|W|g|L|l|m|M|s|mol)\b)": "µ",
    r"(?<=m)2\b": "²",
    r"(?<=m)3\b": "³",
    r"\bdegC\b": "°C",
}


@dataclass(frozen=True)
class Language:
    """One of the languages."""

    code: Code

    def say(self, text: str, /, **values: Any) -> str:
        """A sentence, given in English.

        Args:
            text: with `values`, a format string. Numbers are formatted by its specifications and
                written as in this language: `{share:.1%}` gives 4.3% or 4,3 %.
        """
        own = _catalogue(self.code).get(text, text)
        return _Localised(self).vformat(own, (), values) if values else own

    def number(self, value: float, specification: str = ",.0f") -> str:
        """A number, formatted by a specification of Python; a dash in place of NaN."""
        if math.isnan(value):
            return UNKNOWN
        text = format(value, specification)
        if self.code == "de":
            text = text.translate(_SIGNS).replace("%", f"{BLANK}%")
        return text

    def figure(self, value: float, digits: int = 3, sign: bool = False) -> str:
        """A number with at least so many significant digits, rounded, never with an exponent.

        Args:
            sign: whether positive numbers get a plus.
        """
        decimals = digits - 1
        if math.isfinite(value) and value:
            decimals -= math.floor(math.log10(abs(value)))
        return self.number(value, f"{_sign(sign)},.{max(0, decimals)}f")

    def quantity(self, value: float, unit: str, digits: int = 3, sign: bool = False) -> str:
        """A figure and its unit, as params.yaml has it."""
        return f"{self.figure(value, digits, sign)}{BLANK}{shown_unit(unit)}".rstrip(BLANK)

    def percent(self, share: float, digits: int = 0, sign: bool = False) -> str:
        """A share as 4 %."""
        return f"{self.number(100 * share, f'{_sign(sign)},.{digits}f')}{BLANK}%"

    def day(self, day: date) -> str:
        """A day: 3 June 2026, or 3. Juni 2026."""
        dot = "." if self.code == "de" else ""
        return f"{day.day}{dot} {self.month(day)}"

    def moment(self, moment: date) -> str:
        """A day and the time: 3 June 2026 14:05."""
        return f"{self.day(moment)} {moment:%H:%M}"

    def month(self, day: date) -> str:
        """A month: June 2026, or Juni 2026."""
        return f"{_MONTHS[self.code].split()[day.month - 1]} {day.year}"

    def weekday(self, day: date) -> str:
        """A day of a week: Wed 3 Jun, or Mi 3.6."""
        name = _DAYS[self.code].split()[day.weekday()]
        if self.code == "de":
            return f"{name} {day.day}.{day.month}."
        return f"{name} {day.day} {self.month(day)[:3]}"

    def week(self, day: date) -> str:
        """The week by ISO 8601: week 47, or KW 47."""
        return self.say("week {week}", week=day.isocalendar().week)

    def listed(self, items: Sequence[str]) -> str:
        """Items in a sentence: a, b and c."""
        return _listed(items, self.say("and"))

    def either(self, items: Sequence[str]) -> str:
        """Items in a sentence: a, b or c."""
        return _listed(items, self.say("or"))


def _listed(items: Sequence[str], last: str) -> str:
    commas = ", ".join(items[:-1])
    return f" {last} ".join(filter(None, [commas, *items[-1:]]))


@dataclass
class _Localised(Formatter):
    """str.format with numbers as in a language."""

    language: Language

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Real) and not isinstance(value, bool):
            plain = int(value) if isinstance(value, Integral) else float(value)
            return self.language.number(plain, format_spec)
        return str(super().format_field(value, format_spec))


def _sign(always: bool) -> str:
    """Of a format specification."""
    return "+" if always else ""


def shown_unit(unit: str) -> str:
    """A unit of params.yaml as people read it: µS/cm for uS/cm, m³/h for m3/h, nothing for 1."""
    if unit == "1":
        return ""
    for written, read in _UNITS.items():
        unit = re.sub(written, read, unit)
    return unit


def headed(title: str, unit: str) -> str:
    """A title with its unit, as above a column: conductivity [µS/cm], or pH."""
    shown = shown_unit(unit)
    return f"{title} [{shown}]" if shown else title


def chosen(text: Any, code: Code) -> Any:
    """A text of params.yaml in a language, if it is a mapping with all of them.

    Raises:
        ValueError: when a mapping lacks a language, or has something else.
    """
    if not isinstance(text, Mapping):
        return text
    if set(text) != set(CODES) or not all(isinstance(own, str) for own in text.values()):
        raise ValueError(f"give one text, or one for each language: {', '.join(CODES)}")
    return text[code]


@cache
def _catalogue(code: Code) -> dict[str, str]:
    """English to the text in a language."""
    texts: dict[str, str] = {}
    for file in sorted((CATALOGUES / code).glob("*.yaml")):
        for entry in yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader):
            texts[entry["en"]] = entry[code]
    return texts
