"""Mails as HTML that every mail program shows, classic Outlook with its engine of Word included.

One column of a fixed width made of tables, with widths as attributes and styles in the elements; no
script, no style sheet, no other host. `templates/mail.html.j2` is the frame of all mails.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from src.language import Language, shown_unit
from src.safe_text import safe

WIDTH = 600  # pixels
# On white, each has a contrast of more than 4.5, and a colour-blind person sees which is which.
BLUE, VERMILION, GREY, INK = "#0b5cad", "#b83a00", "#4d5761", "#1b232b"
# A sign besides the colour, the same as on the pages.
GOOD, BAD, OPEN = "\N{CHECK MARK}", "\N{BALLOT X}", "\N{WHITE CIRCLE}"


def render(package: str, template: str, language: Language, **values: Any) -> str:
    """A mail from a template of a package, as HTML (`.html.j2`) or as plain text (`.txt.j2`)."""
    common = {
        "language": language,
        "say": language.say,
        "shown_unit": shown_unit,
        "colours": {"good": BLUE, "bad": VERMILION, "open": GREY, "ink": INK},
        "signs": {"good": GOOD, "bad": BAD, "open": OPEN},
        "width": WIDTH,
    }
    return _templates(package).get_template(template).render(**common, **values).strip() + "\n"


@cache
def _templates(package: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("src.components.emailer")]
        ),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_safe,
    )


def _safe(value: Any) -> Any:
    """A text without secrets and control characters; what is HTML already stays as it is."""
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value
