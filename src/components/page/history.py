"""The history: every target over time, with limits, laboratory values and changes of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from statistics import median

from markupsafe import Markup

from src.components.page.marks import KINDS, Dot, Limit, Picture, plot, short_date
from src.components.page.results import Result, counted, ended, read_results, thinned
from src.components.page.source import Source
from src.components.predictor.judgement import Judgement
from src.language import Language
from src.soft_sensor import Phase, Target

DRAWN = 800  # points in all pictures together, three in each slice of time
WEEKS = 60  # lines of the table
LABELS = 6  # dates below a picture
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Week:
    """The results of one week: how many, by verdict, and the median of each target by phase."""

    monday: date
    count: int
    counts: dict[Judgement, int]
    medians: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """One target in one kind of phase.

    Attributes:
        shown: number of results in the picture, of `count`.
    """

    target: Target
    phase: Phase
    picture: Markup
    shown: int
    count: int


@dataclass(frozen=True)
class History:
    """What the page of the history shows; weeks newest first."""

    since: datetime
    until: datetime
    curves: tuple[Curve, ...]
    weeks: tuple[Week, ...]
    more_weeks: int
    judged: bool


def read_history(source: Source) -> History | None:
    """Read it from the database; None without a dated result."""
    with source.engine.connect() as connection:
        results = read_results(connection, source.spec)
    dated = [result for result in results if result.ended and result.ended < source.now + _DAY]
    if not dated:
        return None
    weeks = _weeks(dated, source)
    since, until = (result.ended or source.now for result in (dated[0], dated[-1]))
    return History(
        since=since,
        until=until,
        curves=tuple(_curves(dated, source)),
        weeks=tuple(weeks[:WEEKS]),
        more_weeks=len(weeks[WEEKS:]),
        judged=any(result.verdict for result in dated),
    )


def _weeks(dated: Sequence[Result], source: Source) -> list[Week]:
    """The weeks with results, newest first; of judged phases alone where there are any."""
    judged = [result for result in dated if result.verdict] or dated
    by_monday = dict[date, list[Result]]()
    for result in judged:
        assert result.ended is not None
        day = result.ended.date()
        by_monday.setdefault(day - timedelta(days=day.weekday()), []).append(result)
    return [
        Week(monday, len(own), counted(own), _medians(own, source))
        for monday, own in sorted(by_monday.items(), reverse=True)
    ]


def _medians(results: Sequence[Result], source: Source) -> tuple[float, ...]:
    columns = range(len(source.spec.targets))
    return tuple(_median([result.estimates[n].value for result in results]) for n in columns)


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return median(known) if known else math.nan


def _curves(dated: Sequence[Result], source: Source) -> list[Curve]:
    spec, curves = source.spec, []
    judged_first = sorted(spec.phases, key=lambda phase: not phase.judged)
    slices = max(4, DRAWN // (3 * len(spec.targets) * len(spec.phases)))
    for phase in judged_first:
        own = [result for result in dated if result.phase == phase]
        for place, target in enumerate(spec.targets) if own else ():
            shown = thinned(own, place, slices)
            picture = plot(_picture(shown, place, target, phase, source), source.language)
            curves.append(Curve(target, phase, picture, len(shown), len(own)))
    return curves


def _picture(
    shown: Sequence[Result], place: int, target: Target, phase: Phase, source: Source
) -> Picture:
    dots = []
    for result in shown:
        estimate, when = result.estimates[place], ended(result)
        ends = estimate.lower, estimate.upper
        dots.append(Dot(when, estimate.value, *ends, kind=KINDS[result.verdict]))
        dots.append(Dot(when, estimate.measured, kind="k"))
    title = source.language.say(
        "{target} over time, {phase}", target=target.title, phase=phase.shown
    )
    return Picture(
        title=title,
        dots=dots,
        limits=limits(target, phase),
        marks=_changes(shown, source.language),
        places=time_labels(ended(shown[0]), ended(shown[-1]), source.language),
        log=target.scale == "log",
    )


def limits(target: Target, phase: Phase) -> list[Limit]:
    """The limit of a target, if it has one and the phase is judged by it."""
    if target.limit is None or not phase.judged:
        return []
    return [Limit(target.limit.bound, target.limit.side)]


def _changes(shown: Sequence[Result], language: Language) -> list[tuple[float, str]]:
    """Where another version of the model begins."""
    changes, last = [], shown[0].version
    for result in shown:
        if result.version != last:
            label = language.say("model {version}", version=result.version)
            changes.append((ended(result), label))
            last = result.version
    return changes


def time_labels(first: float, last: float, language: Language) -> list[tuple[float, str]]:
    """Dates along an axis of time (Unix seconds)."""
    places = [first + (last - first) * n / (LABELS - 1) for n in range(LABELS)]
    hours = last - first < 2 * _DAY.total_seconds()
    labels: list[tuple[float, str]] = []
    for place in places:
        when = datetime.fromtimestamp(place, UTC)
        labels.append((place, f"{when:%H:%M}" if hours else short_date(when, language)))
    return labels
