"""What a person would see of a page, and what would disturb them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, ViewportSize

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 900}
A4: ViewportSize = {"width": 794, "height": 1123}  # at 96 pixels an inch
SERIOUS = ("serious", "critical")
KIBIBYTE = 1024


@dataclass
class Look:
    """A page as a browser has opened it.

    Attributes:
        troubles: what the console said, and requests for anything but the page itself.
    """

    page: Page
    troubles: list[str] = field(default_factory=list)


def opened(browser: Browser, address: str, **context: Any) -> Look:
    """Open a page, and note what goes wrong."""
    page = browser.new_context(**context).new_page()
    look = Look(page)

    def note(request: Request) -> None:
        if request.url != address and not request.url.startswith("data:"):
            look.troubles.append(f"request for {request.url}")

    page.on("request", note)
    page.on("console", lambda message: look.troubles.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: look.troubles.append(f"error: {error}"))
    page.goto(address)
    return look


def examine(browser: Browser, file: Path, pictures: Path) -> list[str]:
    """Everything that is wrong with a page, on a telephone, at a desk, in the dark and in print."""
    faults = []
    if file.stat().st_size > 100 * KIBIBYTE:
        faults.append(f"{file.stat().st_size} bytes")
    for name, size, scheme in (
        ("phone", PHONE, "light"),
        ("desk", DESK, "light"),
        ("dark", DESK, "dark"),
    ):
        look = opened(browser, file.as_uri(), viewport=size, color_scheme=scheme)
        faults += look.troubles + _overflow(look.page, name) + _inaccessible(look.page, name)
        look.page.screenshot(path=pictures / f"{file.stem}-{name}.png", full_page=True)
        look.page.context.close()
    faults += _printed(browser, file, pictures)
    return [f"{file.name}: {fault}" for fault in faults]


def _overflow(page: Page, where: str) -> list[str]:
    """Whether the page is wider than the screen."""
    wide, screen = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return [f"{where}: {wide} pixels wide on {screen}"] if wide > screen else []


def _inaccessible(page: Page, where: str) -> list[str]:
    """What axe-core finds that bars somebody from reading the page."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{where}: {violation['id']}: {violation['nodes'][0]['html'][:200]}"
        for violation in violations
        if violation["impact"] in SERIOUS
    ]


def _printed(browser: Browser, file: Path, pictures: Path) -> list[str]:
    """Print to A4; whether a line is cut at the right edge."""
    page = browser.new_context(viewport=A4).new_page()
    page.emulate_media(media="print")
    page.goto(file.as_uri())
    faults = _overflow(page, "A4")
    cut = page.evaluate(
        "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth + 1)"
        ".map(e => e.getAttribute('aria-label'))"
    )
    faults += [f"A4: the table {label} is cut" for label in cut]
    content = page.pdf(path=pictures / f"{file.stem}.pdf", prefer_css_page_size=True)
    (width, height), *_ = {
        (float(match[1]), float(match[2]))
        for match in re.finditer(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", content)
    }
    if (round(width), round(height)) != (595, 842):
        faults.append(f"printed on {width} x {height} points")
    page.context.close()
    return faults
