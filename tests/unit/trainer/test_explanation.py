"""Which sensors a model relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from src.components.predictor.bundle import Bundle
from src.components.trainer import explanation
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, made_from, phase_table


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A small bundle of all members; its targets follow conductivity alone."""
    return made_from(phase_table(60, spec), spec, MEMBERS)


def test_the_one_sensor_that_matters_is_found(bundle: Bundle, spec: SoftSensor) -> None:
    increases = explanation.importance(bundle, spec, repeats=2)
    mean = increases.groupby(["target", "sensor"])["increase"].mean().unstack()
    assert (mean.idxmax(axis=1) == "leitfaehigkeit").all()
    assert (mean["leitfaehigkeit"] > 10 * mean["ph"].abs()).all()
    assert len(increases) == 5 * 3 * 2


def test_shares_of_the_sensors_sum_to_the_prediction(bundle: Bundle, spec: SoftSensor) -> None:
    row = bundle.reference.head(1)
    shares = explanation.shapley_values(bundle, row, spec)
    assert list(shares.index) == [*(sensor.name for sensor in spec.sensors), explanation.BASE_VALUE]
    predicted = bundle.values(row, spec).iloc[0]
    np.testing.assert_allclose(shares.sum(), predicted, rtol=1e-6)
    sizes = shares.drop(explanation.BASE_VALUE).abs()
    assert (sizes.drop("leitfaehigkeit").max() < 0.5 * sizes.loc["leitfaehigkeit"]).all()


@pytest.mark.slow
def test_importance_and_shares_are_drawn(bundle: Bundle, spec: SoftSensor, tmp_path: Path) -> None:
    explanation.write_importance(bundle, spec, tmp_path)
    names = {file.name for file in tmp_path.iterdir() if file.stat().st_size > 1000}
    expected = {"importance.csv", "importance.png", "shapley_washing.png", "shapley_rinsing.png"}
    assert names >= expected
