"""Imports run one way: which door may use which is this table, and the code keeps to it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMMON = {
    "errors",
    "files",
    "language",
    "process",
    "progress",
    "safe_text",
    "settings",
    "soft_sensor",
}
COMPONENTS: dict[str, set[str]] = {
    "database": set(),
    "transformation": set(),
    "emailer": set(),
    "lineage": set(),
    "predictor": {"transformation"},
    "ingestion": {"database", "predictor", "transformation"},
    "registry": {"lineage", "predictor"},
    "inbox": {"database", "predictor", "transformation"},
    "adaptation": {"database", "ingestion", "predictor", "transformation"},
    "trainer": {"database", "ingestion", "predictor", "transformation"},
    "drift_reporter": {
        "adaptation",
        "database",
        "emailer",
        "ingestion",
        "predictor",
        "transformation",
    },
    "backfill": {"database", "ingestion", "predictor", "transformation"},
    "page": {
        "adaptation",
        "database",
        "drift_reporter",
        "inbox",
        "predictor",
        "registry",
        "trainer",
        "transformation",
    },
    "weekly": {"database", "emailer", "page", "predictor"},
}
ALLOWED: dict[str, set[str]] = {
    "params_file": {"errors"},
    "language": set(),
    "soft_sensor": {"errors", "language", "params_file"},
    "settings": {"errors", "safe_text"},
    "errors": set(),
    "files": set(),
    "progress": set(),
    "safe_text": set(),
    "process": set(),
    "logger": {"errors", "process", "safe_text", "settings"},
    "metrics": {"files", "settings"},
    "orchestration": {"safe_text", "settings"},
    "simulator": COMMON,
    "flows": {"logger", "orchestration", "pipelines", "process", "settings"},
    **{door: others | COMMON for door, others in COMPONENTS.items()},
    "pipelines": {*COMPONENTS, *COMMON, "logger", "metrics", "orchestration"},
    "cli": {*COMPONENTS, *COMMON, "logger", "metrics", "pipelines", "simulator"},
}
ONLY_AT_THE_EDGE = {"prefect": {"orchestration"}, "typer": {"cli"}, "rich": {"cli"}}
MODULES = sorted((ROOT / "src").rglob("*.py"))


def _room(parts: tuple[str, ...]) -> str:
    """The room of a module: a door of the components, or what lies directly under src."""
    return parts[2] if parts[:2] == ("src", "components") and len(parts) > 2 else parts[1]


def _imports(file: Path) -> set[tuple[str, ...]]:
    """Dotted names that a module imports, as parts; `from a import b` as (a, b)."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {tuple(name.split(".")) for name in names}


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_imports_only_what_the_table_allows(file: Path) -> None:
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts in (("src", "__init__"), ("src", "components", "__init__")):
        assert not _imports(file)
        return
    room = _room(parts)
    used = {_room(name) for name in _imports(file) if name[0] == "src"} - {room}
    assert used <= ALLOWED[room], f"{room} may not use {used - ALLOWED[room]}"
    for library, rooms in ONLY_AT_THE_EDGE.items():
        assert room in rooms or library not in {name[0] for name in _imports(file)}


def test_no_door_leads_back_to_itself() -> None:
    for door, others in COMPONENTS.items():
        reached, waiting = set[str](), set(others)
        while waiting:
            nxt = waiting.pop()
            reached.add(nxt)
            waiting |= COMPONENTS[nxt] - reached
        assert door not in reached


@pytest.mark.parametrize("door", COMPONENTS)
def test_a_door_has_a_paragraph_and_imports_nothing(door: str) -> None:
    init = ROOT / "src" / "components" / door / "__init__.py"
    if init.exists():
        (paragraph,) = ast.parse(init.read_text(encoding="utf-8")).body
        assert isinstance(paragraph, ast.Expr)
