"""Laboratory values of which only a limit is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.components.transformation import censoring
from src.soft_sensor import SoftSensor

ANIONIC, TENSION = "anionischetenside", "oberflaechenspannung"


def _with_rules(spec: SoftSensor, **rules: str) -> SoftSensor:
    targets = tuple(target.model_copy(update=rules) for target in spec.targets)
    return spec.model_copy(update={"targets": targets})


def _samples(values: list[str], spec: SoftSensor) -> pd.DataFrame:
    """Samples of one phase; of all targets the same values such as `<5`."""
    table = pd.DataFrame({"experimentnummer": 1, "waschen": 0}, index=range(len(values)))
    for target in spec.targets:
        marks = [text[0] if text.startswith(("<", ">")) else None for text in values]
        table[target.name] = [float(text.lstrip("<>") or "nan") for text in values]
        table[target.censored] = pd.Series(marks, dtype=object)
    return table


@pytest.mark.parametrize(
    ("values", "rules", "mean", "mark"),
    [
        (["6.1"], {}, 6.1, ""),
        (["<5"], {}, 5, "<"),
        (["<5", "<3"], {}, 4, "<"),
        (["<5", "6.1"], {}, (2.5 + 6.1) / 2, ""),
        (["<5", "6.1"], {"below_detection": "limit"}, (5 + 6.1) / 2, ""),
        (["<5", "6.1"], {"below_detection": "zero"}, 6.1 / 2, ""),
        (["<5", "6.1"], {"below_detection": "missing"}, 6.1, ""),
        (["<5", ""], {}, 5, "<"),
        (["<5"], {"below_detection": "missing"}, np.nan, ""),
        ([">900", ">1000"], {}, 950, ">"),
        ([">900", "800"], {}, 850, ""),
        ([">900", "800"], {"above_range": "missing"}, 800, ""),
        (["<5", ">900"], {}, (2.5 + 900) / 2, ""),
        (["", ""], {}, np.nan, ""),
    ],
)
def test_replicates_are_averaged_and_limits_stay_limits_where_all_are(
    values: list[str], rules: dict[str, str], mean: float, mark: str, spec: SoftSensor
) -> None:
    ruled = _with_rules(spec, **rules)
    table = censoring.means(_samples(values, spec), ruled)
    target = spec.target(ANIONIC)
    assert table[target.name].iloc[0] == pytest.approx(mean, nan_ok=True)
    assert table[target.censored].tolist() == [mark]


def test_half_is_half_way_to_the_lowest_possible_value(spec: SoftSensor) -> None:
    filled = censoring.substituted(_samples(["<30"], spec), spec)
    assert filled[TENSION].tolist() == [25.0]  # 20 is the lowest
    assert filled[ANIONIC].tolist() == [15.0]
    assert not censoring.counted(filled, spec)


def test_a_table_without_marks_has_no_limits(spec: SoftSensor) -> None:
    columns = [ANIONIC, TENSION, "nichtionischentenside", "experimentnummer", "waschen"]
    table = _samples(["<5", "7"], spec)[columns]
    pd.testing.assert_frame_equal(censoring.substituted(table, spec)[columns], table)
    assert censoring.means(table, spec)[ANIONIC].tolist() == [6.0]


@pytest.mark.parametrize(
    ("predicted", "measured", "mark", "error"),
    [(3, 5, "", -2), (3, 5, "<", 0), (7, 5, "<", 2), (3, 5, ">", -2), (7, 5, ">", 0)],
)
def test_only_the_wrong_side_of_a_limit_is_an_error(
    predicted: float, measured: float, mark: str, error: float
) -> None:
    series = pd.Series([predicted]), pd.Series([measured]), pd.Series([mark])
    assert censoring.deviation(series[0], series[1], series[2]).tolist() == [error]
    candidates = np.array([[predicted], [predicted]])
    errors = censoring.deviation(candidates, np.array([measured]), np.array([mark]))
    assert errors.tolist() == [[error], [error]]


@pytest.mark.parametrize(
    ("measured", "mark", "inside"),
    [
        *((1, "", False), (3, "", True), (9, "", False), (np.nan, "", False)),
        *((1, "<", False), (3, "<", True), (9, "<", True), (np.nan, "<", False)),
        *((1, ">", True), (3, ">", True), (9, ">", False)),
    ],
)
def test_an_interval_contains_a_limit_when_it_reaches_beyond_it(
    measured: float, mark: str, inside: bool, spec: SoftSensor
) -> None:
    target = spec.target(ANIONIC)
    interval = pd.DataFrame({target.lower: [2.0], target.upper: [8.0]})
    found = censoring.contained(interval, pd.Series([measured]), pd.Series([mark]), target)
    assert found.tolist() == [inside]
