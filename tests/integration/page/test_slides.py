"""Slides and pictures in a real browser."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser

from Presentation.pictures import SHARPNESS, Shot, few_colours, photograph
from Presentation.slides import SOURCE, html, slides
from tests.integration.page.browser import DESK, PHONE, opened


def test_each_slide_fits_its_page_in_print_and_on_a_telephone(
    chromium: Browser, tmp_path: Path
) -> None:
    file = tmp_path / "slides.html"
    file.write_text(html(SOURCE), encoding="utf-8")
    look = opened(chromium, file.as_uri(), viewport=PHONE)
    assert look.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    look.page.set_viewport_size(DESK)
    look.page.emulate_media(media="print")
    too_high = look.page.evaluate(
        "[...document.querySelectorAll('section')].filter(e => e.scrollHeight > e.clientHeight + 1)"
        ".map(e => e.innerText.split('\\n')[0])"
    )
    assert not too_high
    printed = look.page.pdf(prefer_css_page_size=True)
    assert printed.count(b"/Type /Page\n") == len(slides(SOURCE))
    assert not look.troubles


def test_a_picture_ends_above_the_element_that_is_named(chromium: Browser) -> None:
    page = "<body style='margin:0'><p style='height:100px; background:#b83a00'>x</p><h2>y</h2>"
    cut, whole = (
        Image.open(BytesIO(few_colours(photograph(chromium, Shot(page, 200, before)))))
        for before in ("h2", "")
    )
    assert cut.size[0] == whole.size[0] == 200 * SHARPNESS
    assert 100 * SHARPNESS <= cut.size[1] < whole.size[1]
    assert cut.convert("RGB").getpixel((100, 100)) == (0xB8, 0x3A, 0)
