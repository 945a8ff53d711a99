"""The site: which pages there are, and each of them as one HTML text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from src.components.page.axis import spanning
from src.components.page.first import first_steps
from src.components.page.history import read_history
from src.components.page.marks import KINDS, gauge
from src.components.page.model import read_model
from src.components.page.phase import Detail, Reader
from src.components.page.results import Estimate, Result
from src.components.page.sensors import read_sensors
from src.components.page.source import Source
from src.components.page.state import read_state
from src.components.page.trace import whole
from src.components.page.week import read_week, worst
from src.components.page.words import (
    about_sensors,
    actions,
    ago,
    belief,
    counts,
    day,
    events,
    headline,
    in_week,
    outcomes,
    pipelines,
    statistic,
    verdict_words,
    week_plots,
)
from src.components.predictor.judgement import Judgement
from src.language import Language, headed, shown_unit
from src.progress import step
from src.safe_text import safe
from src.soft_sensor import Target

INDEX = "index.html"
SHOWN, MORE = 8, 60  # results that are not clean: with their value, and with their number only

Values = dict[str, Any]


def render(name: str, source: Source) -> str:
    """A page as HTML.

    Args:
        name: of MENU.
    """
    steps = first_steps(name, source)
    template, read = _PAGES[name]
    if steps:
        return _html("first", name, source, steps=steps)
    return _html(template, name, source, **read(source))


def render_phase(detail: Detail, source: Source) -> str:
    """The page of a phase."""
    values = detail.prediction.values
    return _html(
        "phase",
        detail.result.page,
        source,
        detail=detail,
        values=values,
        purged=None if pd.isna(values["purged_at"]) else values["purged_at"],
        predicted=None if pd.isna(values["predicted_at"]) else values["predicted_at"],
        sensor_names=[sensor.name for sensor in source.spec.sensors],
        KINDS=KINDS,
        interval_mark=_interval_mark,
        pull=_pull,
        whole=whole,
        statistic_words=lambda name: statistic(name, source.language),
    )


def all_pages(source: Source) -> Iterator[tuple[str, str]]:
    """Every page of a site that is written as files: its name and its HTML.

    Phases have a page if they are in the table of the week.
    """
    for name in MENU:
        yield name, render(name, source)
    if first_steps(INDEX, source):
        return
    listed = read_week(source).listed
    wanted = [(result.experiment, result.phase) for result in listed]
    with step("writing the pages of phases", len(wanted)) as advance:
        for detail in Reader(source).read(wanted):
            yield detail.result.page, render_phase(detail, source)
            advance(1)


def _pull(value: float, most: float, target: Target) -> Markup:
    """How far a sensor moves a prediction; towards a broken limit in the colour of one."""
    worse = target.limit is not None and target.limit.side * value > 0
    return gauge(-most, most, (0, value), kind="n" if worse else "c")


def _interval_mark(estimate: Estimate, kind: str) -> Markup:
    """An interval with its value and its limit."""
    limit = estimate.target.limit
    shown = [estimate.lower, estimate.upper, estimate.value, *([limit.bound] if limit else [])]
    log = estimate.target.scale == "log"
    axis = spanning(shown, 0, 1, log, margin=0.15)
    ends = estimate.lower, estimate.upper
    bound = limit.bound if limit else None
    return gauge(axis.low, axis.high, ends, value=estimate.value, mark=bound, kind=kind, log=log)


def _html(template: str, name: str, source: Source, **values: Any) -> str:
    page = _templates().get_template(f"{template}.html.j2")
    return page.render(**_common(name, source), **values)


def _common(name: str, source: Source) -> Values:
    """What every page uses."""
    return {
        "here": name,
        "menu": _menu(source.language),
        "now": source.now,
        "spec": source.spec,
        "language": source.language,
        "say": source.language.say,
        "headed": headed,
        "shown_unit": shown_unit,
        "Judgement": Judgement,
        "day": day,
    }


def _menu(language: Language) -> Values:
    say = language.say
    titles = [say("Week"), say("History"), say("Sensors"), say("Model"), say("State")]
    return dict(zip(_PAGES, titles))


def _week(source: Source) -> Values:
    week = read_week(source)
    return {
        "week": week,
        "headline": headline(week, source),
        "actions": actions(week, source),
        "belief": belief(week, source),
        "plots": week_plots(week, source),
        "worst": worst,
        "shown": SHOWN,
        "more": MORE,
        "link": link,
        "in_week": lambda moment: in_week(moment, source.language),
    }


def _history(source: Source) -> Values:
    return {
        "history": read_history(source),
        "phases": sorted(source.spec.phases, key=lambda phase: not phase.judged),
    }


def _state(source: Source) -> Values:
    return {
        "state": read_state(source),
        "counts": counts(source.language),
        "pipelines": pipelines(source.language),
        "outcomes": outcomes(source.language),
        "ago": lambda age: ago(age, source.language),
    }


def _sensors(source: Source) -> Values:
    sensors = read_sensors(source)
    newest = sensors.reports[0]
    return {
        "sensors": sensors,
        "about": about_sensors(source.language),
        "outcomes": outcomes(source.language),
        "titles": [source.spec.sensor(name).title for name in newest.sensors],
        "report_link": newest.name if newest.name in source.report_pages else "",
    }


def _model(source: Source) -> Values:
    return {
        "model": read_model(source),
        "verdict_words": verdict_words(source.language),
        "events": events(source.language),
        "gauge": gauge,
    }


_PAGES: dict[str, tuple[str, Callable[[Source], Values]]] = {
    INDEX: ("week", _week),
    "history.html": ("history", _history),
    "sensors.html": ("sensors", _sensors),
    "model.html": ("model", _model),
    "state.html": ("state", _state),
}
MENU = tuple(_PAGES)  # in the order of the menu


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
