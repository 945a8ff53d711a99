"""Experiments that are named by text keep their names, whatever these are, all the way."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from src.components.inbox.rejected import summary
from src.components.inbox.states import Inbox
from tests.integration.workbench import Workbench

NAMES = [
    "a b",
    "x;y",
    "a,b",
    'q"uote',
    "it's",
    "ünï",
    "\\.",
    "NaN",
    " blanks ",
    "\u202eright to left",
    "😀",
    "lot[/7]",
    "../up",
    ":settle",
]


def test_odd_names_are_scored_archived_and_kept(named: Workbench, tmp_path: Path) -> None:
    named.raw_archive = str(tmp_path / "raw")
    for place, name in enumerate(NAMES):
        named.add(name, "spülen", 10 + place)
        named.add(name, "wa:sch'en", 5)
        named.add(name, "other", 1)
    outcome = named.score()
    assert (outcome.phases, outcome.rejected) == (2 * len(NAMES), len(NAMES))
    assert named.table("online_data").empty
    ledger = named.table("latest_predictions")
    counts = ledger[ledger["waschen"] == "spülen"].set_index("experimentnummer")["n_samples"]
    assert counts.to_dict() == {name: 10 + place for place, name in enumerate(NAMES)}
    files = list((tmp_path / "raw").iterdir())
    raw = pd.concat([pd.read_parquet(file) for file in files])
    assert len(files) == 2 * len(NAMES)
    assert set(raw["experimentnummer"]) == set(NAMES)
    with named.engine.connect() as connection:
        rejected = summary(Inbox(connection, named.spec))
    assert {row["experimentnummer"] for row in rejected} == set(NAMES)
