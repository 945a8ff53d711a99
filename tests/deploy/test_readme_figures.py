"""Figures and queries in deploy/README.md: sums are right, and queried fields are logged."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import fields
from math import prod

import pytest

from src.components.inbox.transaction import Outcome
from src.logger import job
from tests.deploy.conftest import DEPLOY

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
COSTS = README.partition("## Costs\n")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip(" *") for cell in line.strip("|").split("|")]
    for line in COSTS.splitlines()
    if line.startswith("|") and not line.startswith("| ---")
]
CALCULATIONS = [row for row in ROWS if " x " in row[1]]


@pytest.mark.parametrize("item, calculation, result", CALCULATIONS)
def test_a_calculation_gives_its_result(item: str, calculation: str, result: str) -> None:
    factors = [float(number) for number in re.findall(r"(?:^|x )(\d+(?:\.\d+)?)", calculation)]
    assert len(factors) == calculation.count(" x ") + 1, item
    assert prod(factors) == pytest.approx(float(result), abs=0.006), item


def test_every_price_in_a_calculation_is_in_the_table_of_prices() -> None:
    known = {
        float(price)
        for row in ROWS
        for price in re.findall(r"\b\d+\.\d+\b", row[1])
        if " x " not in row[1]
    }
    assert len(known) > 8
    for item, calculation, _ in CALCULATIONS:
        price = float(calculation.rpartition(" x ")[2])
        assert price in known, f"{item}: {price}"


def test_the_totals_are_the_sums() -> None:
    total = 0.0
    seen = 0
    for item, calculation, result in (row for row in ROWS if len(row) == 3):
        if " x " in calculation and seen < 2:
            total += float(result)
        elif calculation == "the sum":
            assert total == pytest.approx(float(result), abs=0.011), item
            seen += 1
    assert seen == 2


def test_the_queries_ask_for_fields_that_are_logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    with pytest.raises(SystemExit), job("predict"):
        logging.getLogger("src.some").info("done", extra={"counts": {}})
        raise RuntimeError
    logged = {name for line in capsys.readouterr().err.splitlines() for name in json.loads(line)}
    logged |= {"run", "@timestamp"} | {f"counts.{each.name}" for each in fields(Outcome)}
    blocks = re.findall(r"^```\w*\n(.*?)^```$", README, re.S | re.M)
    (queries,) = [block for block in blocks if "| filter" in block]
    asked = re.findall(r"^fields (.+)$", queries, re.M)
    names = {name.strip() for line in asked for name in line.split(",")}
    names |= set(re.findall(r"filter (\w+)|ispresent\(", queries)) - {""}
    assert len(names) > 8 and names <= logged
