"""Which experiments the laboratory is sent for."""

from __future__ import annotations

import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.trainer.next_sample import DISTANCE, WHY, WIDTH, worth_analysing
from src.soft_sensor import SoftSensor
from tests.builders.training import made_from, phase_table


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A small bundle."""
    return made_from(phase_table(40, spec), spec)


@pytest.fixture(name="waiting")
def fixture_waiting(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Predicted phases of the training rows' own kind, which are usual in all respects."""
    rows = bundle.reference[[*spec.columns.keys, *spec.features]].head(40)
    predicted = pd.DataFrame(index=rows.index)
    for target in spec.targets:
        predicted[target.lower], predicted[target.upper] = 30.0, 40.0
    return rows.join(predicted)


def test_the_widest_interval_comes_first_and_says_why(
    waiting: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    row = waiting.index[11]
    waiting.loc[row, "anionischetenside_upper"] = 130.0
    found = worth_analysing(waiting, bundle, spec, 3)
    assert len(found) == 3
    assert found["experimentnummer"].iloc[0] == waiting.loc[row, "experimentnummer"]
    assert found[WIDTH].iloc[0] == pytest.approx(10)
    assert "anionic surfactant 30 to 130 mg/L, 10.0 x the usual width" in found[WHY].iloc[0]


def test_what_lies_far_outside_the_training_range_comes_first_and_says_why(
    waiting: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    row = waiting.index[7]
    waiting.loc[row, "ph_mean"] = 200.0
    first = worth_analysing(waiting, bundle, spec, 5).iloc[0]
    assert first["experimentnummer"] == waiting.loc[row, "experimentnummer"]
    assert first[DISTANCE] > 3
    assert "pH" in first[WHY] and "beyond the training range" in first[WHY]


def test_nothing_waits_and_nothing_is_listed(
    waiting: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    assert worth_analysing(waiting.head(0), bundle, spec, 5).empty
