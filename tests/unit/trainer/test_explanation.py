"""What a model listens to, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.trainer import evaluation, explanation
from src.components.trainer.model_card import model_card, weaknesses
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, made_from, phase_table


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A small bundle of all members; its targets follow conductivity alone."""
    return made_from(phase_table(60, spec), spec, MEMBERS)


def _metrics(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    held_out, known = bundle.holdout, bundle.labels(spec)
    return evaluation.metrics(bundle.estimate(held_out, spec), held_out, known, spec)


def test_the_one_sensor_that_matters_is_found(bundle: Bundle, spec: SoftSensor) -> None:
    found = explanation.importance(bundle, spec, repeats=3)
    mean = found.groupby(["target", "sensor"])["increase"].mean().unstack()
    assert (mean.idxmax(axis=1) == "leitfaehigkeit").all()
    assert (mean["leitfaehigkeit"] > 10 * mean["ph"].abs()).all()
    assert len(found) == 5 * 3 * 3


def test_shares_of_the_sensors_sum_to_the_prediction(bundle: Bundle, spec: SoftSensor) -> None:
    row = bundle.holdout.head(1)
    shares = explanation.shapley_values(bundle, row, spec)
    assert list(shares.index) == [*(sensor.name for sensor in spec.sensors), "usual"]
    said = bundle.values(row, spec).iloc[0]
    np.testing.assert_allclose(shares.sum(), said, rtol=1e-6)
    largest = shares.drop("usual").abs()
    assert (largest.drop("leitfaehigkeit").max() < 0.5 * largest.loc["leitfaehigkeit"]).all()


def test_importance_and_shares_are_drawn(bundle: Bundle, spec: SoftSensor, tmp_path: Path) -> None:
    explanation.write_importance(bundle, spec, tmp_path)
    names = {file.name for file in tmp_path.iterdir() if file.stat().st_size > 1000}
    expected = {"importance.csv", "importance.png", "shapley_washing.png", "shapley_rinsing.png"}
    assert names >= expected


def test_the_card_says_how_good_from_what_and_where_not(bundle: Bundle, spec: SoftSensor) -> None:
    errors = _metrics(bundle, spec)
    card = model_card(bundle, errors, explanation.importance(bundle, spec, repeats=2), spec)
    tension = errors.iloc[0]
    for part in (
        "# laundry",
        f"| surface tension [mN/m] | all | {tension['n']} | {tension['mae']:.3g} |",
        "at least 60",
        "90%",
        "d" * 32,
        "c" * 40,
        bundle.definition,
        "scikit-learn 1",
        "extra_trees (n_estimators 10",
        ", ".join(map(str, bundle.origin.experiments[:5])),
        "## Known weaknesses",
        "conductivity",
    ):
        assert part in card, part


def test_a_target_that_is_hardly_predicted_is_named_as_a_weakness(spec: SoftSensor) -> None:
    table = phase_table(60, spec)
    random = np.random.default_rng(0)
    table["nichtionischentenside"] = random.uniform(0, 100, len(table))
    bundle = made_from(table, spec)
    found = "\n".join(weaknesses(bundle, _metrics(bundle, spec), spec))
    assert "nonionic surfactant while rinsing: the error" in found
    assert "surface tension while rinsing: the error" not in found
