"""A short attack; `make attack` takes ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.runner import ATTACKS, attack_with


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_input_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    tally = attack_with(range(60), name, tmp_path)
    print(tally)
    assert not tally.faults, str(tally)
    assert tally.outcomes["refused"] > 10 and tally.outcomes["equal"] > 0
