"""What HTML of a mail must be, for every mail program to show it: a strict reader."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img"}
KNOWN = VOID | set("html head title body table caption tr th td h1 h2 p b span a div small".split())
LEAST_CONTRAST = 4.5  # WCAG 2.1, AA


@dataclass
class _Element:
    tag: str
    ink: str
    paper: str


@dataclass
class Reader(HTMLParser):
    """Reads a mail; `faults` are what classic Outlook or a person with weak eyes stumbles over."""

    faults: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    open: list[_Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_decl(self, decl: str) -> None:
        """Note the document type."""
        if decl.lower() != "doctype html":
            self.faults.append(f"document type {decl}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check an element, and keep its colours."""
        given = {name: value or "" for name, value in attrs}
        style = given.get("style", "")
        if tag not in KNOWN:
            self.faults.append(f"<{tag}>")
        if {"class", "id"} & set(given) or re.search(r"flex|grid|position|float|url\(", style):
            self.faults.append(f"<{tag}> depends on a style sheet or on more than Word lays out")
        if tag == "img":
            self.images.append(given)
            if not given.get("width", "").isdigit() or not given.get("alt"):
                self.faults.append("<img> without width or text")
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "html" and not given.get("lang"):
            self.faults.append("no language")
        if tag not in VOID:
            parent = self.open[-1] if self.open else _Element("", "#000000", "#ffffff")
            self.open.append(
                _Element(
                    tag,
                    _colour(style, "color") or parent.ink,
                    given.get("bgcolor") or parent.paper,
                )
            )

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be of that name."""
        if not self.open or self.open[-1].tag != tag:
            self.faults.append(f"</{tag}> within {[each.tag for each in self.open]}")
            return
        self.open.pop()

    def handle_data(self, data: str) -> None:
        """Check that a text can be read."""
        if not data.strip():
            return
        self.texts.append(data.strip())
        innermost = self.open[-1] if self.open else _Element("", "#000000", "#ffffff")
        contrast = _contrast(innermost.ink, innermost.paper)
        if contrast < LEAST_CONTRAST:
            self.faults.append(f"contrast {contrast:.1f}: {data.strip()[:30]}")


def read_mail(page: str) -> Reader:
    """Read a mail to its end."""
    reader = Reader()
    if not page.lower().startswith("<!doctype html>"):
        reader.faults.append("no document type")
    reader.feed(page)
    reader.close()
    reader.faults += [f"<{each.tag}> is not closed" for each in reader.open]
    return reader


def _colour(style: str, name: str) -> str | None:
    found = re.search(rf"(?:^|[;\s]){name}:\s*(#[0-9a-f]{{6}})", style)
    return found[1] if found else None


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
