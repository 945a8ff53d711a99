"""The slides and pictures: whole, small, and from no other host."""

from __future__ import annotations

import re
from pathlib import Path

from Presentation.slides import BREAK, SOURCE, html, slides
from tests.conftest import ROOT

PICTURES = ROOT / "Documentation" / "pictures"
ALL_PICTURES = 600_000  # bytes


def test_each_slide_has_a_title_and_something_to_say() -> None:
    made = slides(SOURCE)
    assert len(made) == len(BREAK.findall(SOURCE.read_text(encoding="utf-8"))) + 1
    for slide in made:
        title, _, rest = slide.body.strip().partition("\n")
        assert re.fullmatch(r"<h[12]>.+</h[12]>", title), slide.body
        assert rest.strip()
        assert "|" not in rest.replace("<pre>", "|", 1) or "<pre>" in rest, "half a table"
        assert "](" not in slide.body


def test_the_slides_are_one_file_that_loads_nothing() -> None:
    page = html(SOURCE)
    addresses = re.findall(r"(?:src|href)=[\"']([^\"']+)", page)
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert "<script" not in page and "url(" not in page


def test_a_slide_shows_markup_as_text_and_names_the_file_of_a_link(tmp_path: Path) -> None:
    source = tmp_path / "talk.md"
    source.write_text("# Talk\n\n<script>x</script> [more](../src/page.md#x)\n\n---\n\n# End\n")
    first, last = slides(source)
    assert "<script" not in first.body and "&lt;script&gt;" in first.body
    assert "more (<code>src/page.md</code>)" in first.body
    assert last.picture is None


def test_pictures_are_small_and_each_is_shown_somewhere() -> None:
    files = list(PICTURES.iterdir())
    assert sum(file.stat().st_size for file in files) < ALL_PICTURES
    documents = [ROOT / "README.md", SOURCE, *(ROOT / "Documentation").glob("*.md")]
    text = "".join(document.read_text(encoding="utf-8") for document in documents)
    assert not [file.name for file in files if f"pictures/{file.name})" not in text]
