"""Pictures: whatever the values are, they stay inside, are well-formed, and can be told apart."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.page.axis import spanning
from src.components.page.marks import HEIGHT, WIDTH, Dot, Limit, Picture, gauge, plot
from src.components.page.results import LONGEST_KEY, page_name
from src.language import Language

numbers = st.floats(-1e9, 1e9)
maybe = st.one_of(numbers, st.just(math.nan))
dots = st.builds(Dot, numbers, maybe, maybe, maybe, st.sampled_from("cunk"))
STYLE = Path("src/components/page/templates/style.css")
ROOT = Path(__file__).resolve().parents[3]


@given(st.lists(numbers, max_size=20), st.booleans())
def test_an_axis_holds_its_values_in_their_order_and_has_round_marks(
    values: list[float], log: bool
) -> None:
    positive = [abs(value) for value in values] if log else values
    axis = spanning(positive, 0, 300, log)
    pixels = [axis(value) for value in sorted(positive)]
    assert pixels == sorted(pixels) and all(0 <= pixel <= 300 for pixel in pixels)
    ticks = axis.ticks()
    assert len(ticks) <= 12
    assert all(axis.low <= tick <= axis.high for tick in ticks)


@given(st.lists(dots, max_size=8), numbers, st.sampled_from([-1, 1]), st.booleans())
def test_a_plot_is_well_formed_and_nothing_leaves_it(
    shown: list[Dot], bound: float, side: int, log: bool
) -> None:
    picture = Picture('<a "title">', dots=shown, limits=[Limit(bound, side)], log=log)
    svg = ET.fromstring(plot(picture, Language("de")))
    assert svg.attrib["aria-label"] == '<a "title">'
    for path in svg.iter("path"):
        for x, y in re.findall(r"M(-?[\d.]+) (-?[\d.]+)", path.attrib["d"]):
            assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT


@given(maybe, maybe, maybe, maybe)
def test_a_gauge_is_well_formed_or_absent(
    low: float, high: float, end: float, value: float
) -> None:
    drawn = gauge(low, high, (low, end), value=value, mark=high)
    assert not drawn or ET.fromstring(drawn).attrib["aria-hidden"] == "true"


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=50))
def test_the_name_of_a_page_fits_into_a_folder_and_is_that_of_one_phase(
    one: str, other: str
) -> None:
    names = {page_name(one, 0), page_name(other, 0), page_name(one, 1)}
    assert len(names) == (2 if one == other else 3)
    for name in names:
        assert re.fullmatch(r"phase-[A-Za-z0-9_.~%-]+\.html", name)
        assert len(name) <= 2 * LONGEST_KEY + 20


def _colours(css: str) -> list[dict[str, str]]:
    """Colours by name: in the light, in the dark, in print."""
    blocks = re.findall(r":root\{([^}]*)\}", css)
    return [dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", block)) for block in blocks]


def _linear(colour: str) -> np.ndarray:
    """sRGB to linear light, 0 to 1."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    share = np.array([int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)])
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""
    light, dark = sorted(
        (float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


def _seen_without_green(colour: str) -> np.ndarray:
    """CIELAB of what a deuteranope sees: Machado, Oliveira and Fernandes (2009), severity 1."""
    machado = np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    )
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = to_xyz @ np.clip(machado @ _linear(colour), 0, 1) / [0.95047, 1, 1.08883]
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("place", ["light", "dark", "print"])
def test_colours_can_be_read_and_told_apart_by_everybody(place: str) -> None:
    css = (ROOT / STYLE).read_text(encoding="utf-8")
    light, dark, printed = _colours(css)
    colours = {"light": light, "dark": {**light, **dark}, "print": {**light, **printed}}[place]
    for words in ("ink", "soft", "clean", "bad", "open"):
        for ground in ("paper", "card"):
            assert _contrast(colours[words], colours[ground]) >= 4.5, (words, ground)
    apart = _seen_without_green(colours["clean"]) - _seen_without_green(colours["bad"])
    assert np.linalg.norm(apart) > 60
