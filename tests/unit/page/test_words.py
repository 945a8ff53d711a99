"""What the pages say in words."""

from __future__ import annotations

import pytest

from src.components.page.words import statistic
from src.language import Language


@pytest.mark.parametrize(
    ("name", "english", "german"),
    [
        ("mean", "mean", "Mittelwert"),
        ("std", "standard deviation", "Standardabweichung"),
        ("median", "median", "Median"),
        ("percentile5", "5\N{NO-BREAK SPACE}% quantile", "5\N{NO-BREAK SPACE}%-Quantil"),
    ],
)
def test_a_statistic_has_words(name: str, english: str, german: str) -> None:
    assert statistic(name, Language("en")) == english
    assert statistic(name, Language("de")) == german
