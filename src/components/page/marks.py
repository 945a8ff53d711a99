"""The two pictures of the pages, as inline SVG: `plot` and `gauge`.

Colours are classes of the style sheet, so that they follow dark mode and print; a colour never
stands alone, it comes with a shape. Labels come from params.yaml and are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from markupsafe import Markup, escape

from src.components.page.axis import Axis, spanning
from src.components.predictor.judgement import Judgement
from src.language import Language

WIDTH, HEIGHT = 360, 190  # of a plot, in pixels of a narrow screen
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 22  # around what is plotted
GAUGE, LINE = 150, 16  # width and height of a gauge
# What a verdict looks like: a class of the style sheet, which is also a shape, see _SHAPES.
KINDS = {Judgement.CLEAN: "c", Judgement.UNCERTAIN: "u", Judgement.NOT_CLEAN: "n", None: "c"}
LABEL = 46  # pixels that a date needs below an axis


@dataclass(frozen=True)
class Dot:
    """A value at a place of a picture, with the ends of its interval; `kind` is a class of CSS."""

    place: float
    value: float
    lower: float = math.nan
    upper: float = math.nan
    kind: str = "c"


@dataclass(frozen=True)
class Limit:
    """What must be kept: the most (`side` 1) or the least (-1)."""

    bound: float
    side: int


@dataclass(frozen=True)
class Picture:  # pylint: disable=too-many-instance-attributes  # a plot has as many parts
    """What a plot shows.

    Attributes:
        title: for a reader who does not see it.
        dots: one mark each.
        lines: values at places, drawn as lines; NaN interrupts one. `kind` is a class of CSS.
        marks: places of vertical lines, with their labels.
        places: labels below the axis; those that would overlap are left out.
        band: values that are usual.
        include: values that must fit into the picture.
    """

    title: str
    dots: Sequence[Dot] = ()
    lines: Sequence[tuple[str, Sequence[tuple[float, float]]]] = ()
    limits: Sequence[Limit] = ()
    marks: Sequence[tuple[float, str]] = ()
    places: Sequence[tuple[float, str]] = ()
    band: tuple[float, float] | None = None
    log: bool = False
    include: Sequence[float] = field(default=())


def plot(picture: Picture, language: Language) -> Markup:
    """Values with their intervals, lines, limits and changes, over time or in order."""
    horizontal = _places(picture)
    vertical = _values(picture)
    parts = [
        *_zones(picture, vertical),
        *_grid(vertical, language),
        *_dates(picture, horizontal),
        *_limits(picture, vertical),
        *_changes(picture, horizontal),
        *_lines(picture, horizontal, vertical),
        *_whiskers(picture.dots, horizontal, vertical),
        *_dots(picture.dots, horizontal, vertical),
    ]
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(picture.title)}">'
        f"{''.join(parts)}</svg>"
    )


def _places(picture: Picture) -> Axis:
    places = [dot.place for dot in picture.dots]
    places += [place for _, points in picture.lines for place, _ in points]
    return spanning(places, LEFT, WIDTH - RIGHT, margin=0.03)


def _values(picture: Picture) -> Axis:
    values = [end for dot in picture.dots for end in (dot.value, dot.lower, dot.upper)]
    values += [value for _, points in picture.lines for _, value in points]
    values += [limit.bound for limit in picture.limits]
    values += [*picture.include, *(picture.band or ())]
    return spanning(values, HEIGHT - BOTTOM, TOP, picture.log)


def _zones(picture: Picture, vertical: Axis) -> list[str]:
    """Where a limit is broken, and what is usual."""
    zones = []
    if picture.band:
        zones.append(("b", vertical(picture.band[1]), vertical(picture.band[0])))
    for limit in picture.limits:
        ends = (TOP, vertical(limit.bound)) if limit.side > 0 else (vertical(limit.bound), None)
        zones.append(("z", ends[0], HEIGHT - BOTTOM if ends[1] is None else ends[1]))
    width = WIDTH - RIGHT - LEFT
    return [
        f'<rect class="{kind}" x="{LEFT}" y="{_n(top)}" width="{width}" '
        f'height="{_n(max(0, bottom - top))}"/>'
        for kind, top, bottom in zones
    ]


def _grid(vertical: Axis, language: Language) -> list[str]:
    ticks = vertical.ticks()
    steps = "".join(f"M{LEFT} {_n(vertical(value))}H{WIDTH - RIGHT}" for value in ticks)
    labels = [
        f'<text class="e" x="{LEFT - 5}" y="{_n(vertical(value) + 4)}">{escape(label)}</text>'
        for value, label in zip(ticks, _labels(ticks, language))
    ]
    return [f'<path class="g" d="{steps}"/>', *labels]


def _labels(ticks: Sequence[float], language: Language) -> list[str]:
    """Numbers with just as many digits as tell them apart."""
    for digits in range(9):
        labels = [language.number(value, f",.{digits}f") for value in ticks]
        if all(math.isclose(value, round(value, digits), abs_tol=1e-12) for value in ticks):
            break
    return labels


def _dates(picture: Picture, horizontal: Axis) -> list[str]:
    """Labels below, as far as they do not overlap."""
    labels, free = [], -math.inf
    for place, label in picture.places:
        pixel = horizontal(place)
        left = min(max(pixel, LABEL / 2), WIDTH - LABEL / 2)
        if left - LABEL / 2 < free:
            continue
        free = left + LABEL / 2
        labels.append(
            f'<path class="g" d="M{_n(pixel)} {HEIGHT - BOTTOM}v4"/>'
            f'<text class="m" x="{_n(left)}" y="{HEIGHT - 6}">{escape(label)}</text>'
        )
    return labels


def _limits(picture: Picture, vertical: Axis) -> list[str]:
    return [
        f'<path class="l" d="M{LEFT} {_n(vertical(limit.bound))}H{WIDTH - RIGHT}"/>'
        for limit in picture.limits
    ]


def _changes(picture: Picture, horizontal: Axis) -> list[str]:
    return [
        f'<path class="v" d="M{_n(horizontal(place))} {TOP}V{HEIGHT - BOTTOM}"/>'
        f'<text class="s" x="{_n(horizontal(place) + 3)}" y="{TOP + 10}">{escape(label)}</text>'
        for place, label in picture.marks
    ]


def _lines(picture: Picture, horizontal: Axis, vertical: Axis) -> list[str]:
    drawn = []
    for kind, points in picture.lines:
        steps, pen = [], "M"
        for place, value in points:
            if math.isfinite(value):
                steps.append(f"{pen}{_n(horizontal(place))} {_n(vertical(value))}")
            pen = "L" if math.isfinite(value) else "M"
        drawn.append(f'<path class="{kind}" d="{"".join(steps)}"/>')
    return drawn


def _whiskers(dots: Iterable[Dot], horizontal: Axis, vertical: Axis) -> list[str]:
    """The intervals of each kind as one path."""
    paths: dict[str, str] = {}
    for dot in dots:
        if math.isfinite(dot.lower) and math.isfinite(dot.upper):
            line = (
                f"M{_n(horizontal(dot.place))} {_n(vertical(dot.lower))}V{_n(vertical(dot.upper))}"
            )
            paths[dot.kind] = paths.get(dot.kind, "") + line
    return [f'<path class="w w{kind}" d="{path}"/>' for kind, path in paths.items()]


# The shape of each kind around a point: a dot, a ring, a cross, a diamond.
_SHAPES = {
    "c": "h0",
    "u": "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0",
    "n": "m-3.5-3.5l7 7m0-7l-7 7",
    "k": "m0-4l4 4l-4 4l-4-4z",
}


def _dots(dots: Iterable[Dot], horizontal: Axis, vertical: Axis) -> list[str]:
    """The values of each kind as one path; those that matter most on top."""
    paths = dict.fromkeys(_SHAPES, "")
    for dot in dots:
        if math.isfinite(dot.value):
            paths[
                dot.kind
            ] += f"M{_n(horizontal(dot.place))} {_n(vertical(dot.value))}{_SHAPES[dot.kind]}"
    return [f'<path class="d d{kind}" d="{path}"/>' for kind, path in paths.items() if path]


def gauge(  # pylint: disable=too-many-arguments  # each is a part of the picture
    low: float,
    high: float,
    ends: tuple[float, float],
    *,
    value: float | None = None,
    mark: float | None = None,
    kind: str = "c",
    log: bool = False,
) -> Markup:
    """A bar on a line from `low` to `high`, a value on it, and a mark across it.

    It stands beside its numbers, so it says nothing to a reader who does not see it.
    """
    if not all(map(math.isfinite, (low, high, *ends))) or low >= high:
        return Markup("")
    axis, middle = Axis(low, high, 4, GAUGE - 4, log), LINE / 2
    parts = [f'<path class="a" d="M4 {_n(middle)}H{GAUGE - 4}"/>']
    parts.append(
        f'<path class="o o{kind}" d="M{_n(axis(ends[0]))} {_n(middle)}H{_n(axis(ends[1]))}"/>'
    )
    if mark is not None:
        parts.append(f'<path class="l" d="M{_n(axis(mark))} 0V{LINE}"/>')
    if value is not None and math.isfinite(value):
        shape = _SHAPES[kind]
        parts.append(f'<path class="d d{kind}" d="M{_n(axis(value))} {_n(middle)}{shape}"/>')
    return Markup(
        f'<svg class="gauge" viewBox="0 0 {GAUGE} {LINE}" aria-hidden="true">{"".join(parts)}</svg>'
    )


def _n(number: float) -> str:
    """A coordinate in few characters."""
    return f"{number:.1f}".removesuffix(".0")


def day_labels(
    moments: Sequence[tuple[float, datetime]], language: Language
) -> list[tuple[float, str]]:
    """Where a new day begins among moments at places in order, and which: 3 Jun, or 3. Jun."""
    labels, last = [], None
    for place, when in moments:
        if when.date() != last:
            labels.append((place, short_date(when, language)))
            last = when.date()
    return labels


def short_date(when: datetime, language: Language) -> str:
    """A day and the first letters of its month."""
    day, month, _ = language.day(when).split()
    return f"{day} {month[:3]}"
