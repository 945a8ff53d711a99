"""The site: which pages there are, and each of them as one HTML text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from src.components.page.first import first_steps
from src.components.page.history import read_history
from src.components.page.marks import gauge
from src.components.page.model import read_model
from src.components.page.results import Result
from src.components.page.sensors import read_sensors
from src.components.page.source import Source
from src.components.page.state import COUNTS, read_state
from src.components.page.week import read_week, worst
from src.components.page.words import ago, belief, day, headline, week_plots
from src.components.predictor.judgement import Judgement
from src.language import headed, shown_unit
from src.safe_text import safe

INDEX = "index.html"
MENU = {
    INDEX: "Week",
    "history.html": "History",
    "sensors.html": "Sensors",
    "model.html": "Model",
    "state.html": "State",
}
SHOWN, MORE = 8, 60  # results that are not clean: with their value, and with their number only

Values = dict[str, Any]


def render(name: str, source: Source) -> str:
    """A page as HTML.

    Args:
        name: of MENU.
    """
    steps = first_steps(name, source)
    values = {} if steps else _READ[name](source)
    template = _templates().get_template(f"{_template(name)}.html.j2")
    return template.render(**_common(name, source), first=steps, **values)


def all_pages(source: Source) -> Iterator[tuple[str, str]]:
    """Every page of a site that is written as files: its name and its HTML."""
    for name in MENU:
        yield name, render(name, source)


def _template(name: str) -> str:
    return "week" if name == INDEX else name.removesuffix(".html")


def _common(name: str, source: Source) -> Values:
    """What every page uses."""
    return {
        "here": name,
        "menu": MENU,
        "now": source.now,
        "spec": source.spec,
        "language": source.language,
        "say": source.language.say,
        "headed": headed,
        "shown_unit": shown_unit,
        "Judgement": Judgement,
        "day": day,
    }


def _week(source: Source) -> Values:
    week = read_week(source)
    return {
        "week": week,
        "headline": headline(week, source),
        "belief": belief(week, source),
        "plots": week_plots(week, source),
        "worst": worst,
        "shown": SHOWN,
        "more": MORE,
        "link": link,
    }


def _history(source: Source) -> Values:
    return {
        "history": read_history(source),
        "phases": sorted(source.spec.phases, key=lambda phase: not phase.judged),
    }


def _state(source: Source) -> Values:
    return {
        "state": read_state(source),
        "counts": COUNTS,
        "ago": lambda age: ago(age, source.language),
    }


def _sensors(source: Source) -> Values:
    sensors = read_sensors(source)
    newest = sensors.reports[0]
    return {
        "sensors": sensors,
        "titles": [source.spec.sensor(name).title for name in newest.sensors],
        "report_link": "",
    }


def _model(source: Source) -> Values:
    return {"model": read_model(source), "gauge": gauge}


_READ: dict[str, Callable[[Source], Values]] = {
    INDEX: _week,
    "history.html": _history,
    "sensors.html": _sensors,
    "model.html": _model,
    "state.html": _state,
}


def link(result: Result) -> Markup:
    """An experiment, with the address of its page."""
    words = safe(str(result.experiment))
    return Markup('<a href="{}">{}</a>').format(address(result.page), words)


def address(page: str) -> str:
    """A page as an address beside this one; a name may contain percent signs."""
    return page.replace("%", "%25")


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("src.components.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_safe,
    )


def _safe(value: Any) -> Any:
    """A text without secrets and control characters; what is HTML already stays as it is."""
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value
