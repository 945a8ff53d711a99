"""The slides as one HTML file and as PDF: `make slides`.

The source is impress.md: slides are separated by `---`; a picture goes beside the text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from Presentation.browser import chromium

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "impress.md"
BREAK = re.compile(r"^---$", re.M)
PICTURE = re.compile(r"^!\[(?P<caption>.+)\]\((?P<file>\S+)\)$", re.M)
# To another file of the repository, which a slide can only name.
LINK = re.compile(r"\[(?P<words>[^]]+)\]\(\.\./(?P<file>[^)#]+)(#[^)]*)?\)")
TALL = 1.4  # heights by width from which only the top of a picture is shown


@dataclass(frozen=True)
class Picture:
    """A picture of a slide: its PNG as the text of an address, and what it shows.

    Attributes:
        tall: whether it would be too small if all of it were shown.
    """

    address: str
    caption: str
    tall: bool


@dataclass(frozen=True)
class Slide:
    """One slide."""

    body: Markup
    picture: Picture | None


def main() -> None:
    """Write impress.html and impress.pdf beside the source."""
    page, print_ = SOURCE.with_suffix(".html"), SOURCE.with_suffix(".pdf")
    page.write_text(html(SOURCE), encoding="utf-8")
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto(page.as_uri())
        tab.pdf(path=print_, prefer_css_page_size=True, print_background=True)
    for file in (page, print_):
        print(f"{file}: {file.stat().st_size // 1000} kB")


def html(source: Path) -> str:
    """The slides of a Markdown file as a page that needs no other file."""
    return _templates().get_template("slides.html.j2").render(slides=slides(source))


def slides(source: Path) -> list[Slide]:
    """The slides of a Markdown file."""
    return [_slide(text, source.parent) for text in BREAK.split(source.read_text("utf-8"))]


def _slide(text: str, folder: Path) -> Slide:
    """A slide of which at most one line is a picture."""
    found = PICTURE.search(text)
    words = LINK.sub(r"\g<words> (`\g<file>`)", PICTURE.sub("", text))
    # Raw HTML in the source stays text: the preset escapes it.
    body = MarkdownIt("js-default").render(words)
    picture = _picture(folder / found["file"], found["caption"]) if found else None
    return Slide(Markup(body), picture)


def _picture(file: Path, caption: str) -> Picture:
    with Image.open(file) as image:
        width, height = image.size
    png = b64encode(file.read_bytes()).decode()
    return Picture(f"data:image/png;base64,{png}", caption, tall=height > TALL * width)


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


if __name__ == "__main__":
    main()
