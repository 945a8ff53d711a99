"""Pictures of the pages and mails, for README, Documentation and slides: `make pictures`.

They show the installation that `make demo` has left in artifacts/demo, whose data are simulated, as
it was when the newest of its water had run.
"""

from __future__ import annotations

import os
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from email import message_from_bytes, policy
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from Presentation.browser import chromium
from src.components.database.connection import connect
from src.components.page.phase import Reader
from src.components.page.site import INDEX, render, render_phase
from src.components.page.source import Source
from src.components.page.week import Week, read_week
from src.components.predictor.judgement import Judgement
from src.components.weekly.content import content
from src.components.weekly.letter import weekly_letter
from src.settings import Settings, variables
from src.soft_sensor import load_soft_sensor

DEMO = Path("artifacts/demo")
FOLDER = Path("Documentation/pictures")
COLOURS = 96  # of a picture: a third of the size
SHARPNESS = 1.25  # pixels of a picture for each of the page

PAGE, PHONE, MAIL = 1080, 390, 624  # widths of a window, pixels


@dataclass(frozen=True)
class Shot:
    """A picture of a page.

    Attributes:
        before: selector of the element above which the picture ends; empty: at the page's end.
    """

    html: str
    width: int
    before: str = ""


def main() -> None:
    """Draw all pictures."""
    if not (DEMO / "artifacts").is_dir():
        raise SystemExit(f"{DEMO} has no installation to be shown: run `make demo` first")
    FOLDER.mkdir(exist_ok=True)
    with demo() as source, chromium() as browser:
        for name, shot in shots(source).items():
            file = FOLDER / f"{name}.png"
            file.write_bytes(few_colours(photograph(browser, shot)))
            print(f"{file}: {file.stat().st_size // 1000} kB")


@contextmanager
def demo() -> Iterator[Source]:
    """What the demo's pages are made from, whatever else is configured here."""
    for name in variables():
        os.environ.pop(name, None)
    home = DEMO.resolve()
    settings = Settings(
        _env_file=None,
        impress_home=home,
        impress_params=home / "params.yaml",
        page_url="https://impress.example.org/",
    )
    with connect(settings, read_only=True) as engine:
        yield Source(engine, settings, load_soft_sensor(settings.impress_params))


def shots(source: Source) -> Mapping[str, Shot]:
    """What to draw, by the names of the pictures."""
    week = read_week(source)
    assert week.until is not None, "the demo has predicted nothing"
    then = replace(source, now=week.until + timedelta(hours=1))
    index = render(INDEX, then)
    return {
        "week": Shot(index, PAGE, before="main > h2:last-of-type"),
        "week-phone": Shot(index, PHONE, before="main > h2"),
        "sensors": Shot(render("sensors.html", then), PAGE, before="main > h2:last-of-type"),
        "phase": Shot(worst_phase(week, then), PAGE, before="details"),
        "letter": Shot(letter(then), MAIL),
        "report": Shot(monthly_mail(), MAIL, before="p:has(img) ~ p:has(img)"),
    }


def worst_phase(week: Week, source: Source) -> str:
    """The page of the phase that is farthest from clean."""
    worst = week.having(Judgement.NOT_CLEAN)[0]
    (detail,) = Reader(source).read([(worst.experiment, worst.phase)])
    return render_phase(detail, source)


def letter(source: Source) -> str:
    """The letter of the demo's last week."""
    said = content(source, None)
    assert said is not None, "the demo has predicted nothing"
    return weekly_letter(said, f"{source.now:%G-W%V}", source).html or ""


def monthly_mail() -> str:
    """The mail that the demo's last report was, with its pictures in it."""
    newest = max((DEMO / "artifacts" / "outbox").glob("*.eml"))
    message = message_from_bytes(newest.read_bytes(), policy=policy.default)
    body = message.get_body(("html",))
    assert body is not None, f"{newest} has no HTML"
    html: str = body.get_content()
    for part in message.walk():
        if part.get_content_type() == "image/png":
            address = f"cid:{part['Content-ID'].strip('<>')}"
            picture = b64encode(part.get_content()).decode()
            html = html.replace(address, f"data:image/png;base64,{picture}")
    return html


def photograph(browser: Browser, shot: Shot) -> bytes:
    """A PNG of a page."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": 800}, device_scale_factor=SHARPNESS
    )
    with context, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(shot.html, encoding="utf-8")
        page = context.new_page()
        page.goto(file.as_uri())
        return page.screenshot(
            full_page=True,
            clip={"x": 0, "y": 0, "width": shot.width, "height": height(page, shot)},
        )


def height(page: Page, shot: Shot) -> float:
    """Of the part of a page that is shown, pixels."""
    if not shot.before:
        return float(page.evaluate("document.documentElement.scrollHeight"))
    box = page.locator(shot.before).first.bounding_box()
    assert box is not None, f"there is no {shot.before}"
    return box["y"]


def few_colours(png: bytes) -> bytes:
    """The same picture, smaller."""
    few = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    written = BytesIO()
    few.save(written, "PNG", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
