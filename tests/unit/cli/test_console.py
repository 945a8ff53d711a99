"""What the console says of odd values."""

from __future__ import annotations

import ast

import pytest

from src.cli.console import show_heading, show_line, show_rule, show_table, stamp
from src.safe_text import visible
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1770000000.0, "2026-02-02 02:40"),
        (-1.0, "1969-12-31 23:59"),
        (1770000000000.0, "1.77e+12 s"),
        (float("inf"), "inf s"),
        (float("nan"), "nan s"),
    ],
)
def test_any_stamp_can_be_told(seconds: float, words: str) -> None:
    assert stamp(seconds) == words


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\u202e", "[bold]x[/]", ":smile:", "[/x]"])
def test_everything_that_is_printed_is_shown_as_it_is(
    hostile: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_line(hostile)
    show_heading(hostile)
    show_rule(hostile)
    show_table(hostile, [hostile], [[hostile]])
    lines = capsys.readouterr().out.split("\n")
    assert all(line.isprintable() for line in lines)
    assert "\n".join(lines).count(visible(hostile)) == 6


def test_no_line_of_a_table_in_a_file_ends_in_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("sensors", ["name", "flags"], [["pH", "x" * 300], ["flow", ""]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "pH" in line or "flow" in line] == [
        ["pH", "x" * 300],
        ["flow"],
    ]
    assert not [line for line in lines if line != line.rstrip()]


def test_only_the_console_prints() -> None:
    """All others use its functions, so that what they print is safe."""
    calls = []
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in ("print", "rule", "echo", "secho", "Console"):
                    calls.append(f"{file.name}: {name}")
    assert {call.partition(":")[0] for call in calls} == {"console.py"}, calls
