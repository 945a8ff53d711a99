"""What a model card says: figures, origin and weaknesses, in words that fit the rig."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.trainer import evaluation, explanation, fitting
from src.components.trainer.model_card import model_card, weaknesses
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor, Wording, load_soft_sensor
from tests.builders.training import FOREST, MEMBERS, made_from, phase_table
from tests.conftest import ROOT

LAUNDRY = r"rins|wash|textile|recipe|water|detergent|laundry|surfactant"


def _metrics(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    return evaluation.metrics(bundle.out_of_fold(spec), bundle.labels(spec), spec)


def _card(bundle: Bundle, spec: SoftSensor) -> str:
    importance = explanation.importance(bundle, spec, repeats=2)
    return model_card(bundle, _metrics(bundle, spec), importance, spec)


def test_the_card_says_how_good_from_what_and_where_not(spec: SoftSensor) -> None:
    bundle = made_from(phase_table(60, spec), spec, MEMBERS)
    tension = _metrics(bundle, spec).iloc[0]
    card = _card(bundle, spec)
    for part in (
        "# laundry",
        f"| surface tension [mN/m] | all | {tension['n']} | {tension['mae']:.3g} |",
        "at least 60",
        "90%",
        "d" * 32,
        "c" * 40,
        bundle.definition,
        "scikit-learn 1",
        "extra_trees (n_estimators 5",
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
    sentences = "\n".join(weaknesses(bundle, _metrics(bundle, spec), spec))
    assert "nonionic surfactant, rinsing: the error" in sentences
    assert "surface tension, rinsing: the error" not in sentences


@pytest.fixture(name="rig", scope="module")
def fixture_rig() -> SoftSensor:
    """The hydraulic bench of examples/."""
    return load_soft_sensor(ROOT / "examples" / "hydraulics" / "params.yaml")


@pytest.fixture(name="rig_bundle", scope="module")
def fixture_rig_bundle(rig: SoftSensor) -> Bundle:
    """A small bundle for it, whose targets follow nothing: it has every weakness that there is."""
    random = np.random.default_rng(0)
    numbers = pd.Series(np.arange(60), name=rig.columns.experiment)
    features = pd.DataFrame(random.normal(size=(60, len(rig.features))), columns=rig.features)
    targets = {target.name: random.uniform(target.low, target.high, 60) for target in rig.targets}
    table = pd.concat([numbers, features], axis=1).assign(**targets, last_timestamp=60.0)
    table[rig.columns.phase] = rig.phases[0].value
    table[[sensor.out_of_bounds for sensor in rig.sensors]] = 0
    table = table.assign(**{GROUP: numbers}).copy()
    bundle = fitting.assemble(table, FOREST, rig)
    return bundle.with_origin(experiments=numbers.tolist())


def test_the_card_of_another_rig_has_no_word_of_the_laundry(
    rig_bundle: Bundle, rig: SoftSensor
) -> None:
    card = _card(rig_bundle, rig)
    assert "valve condition, cycle: the error" in card
    assert re.findall(LAUNDRY, card, re.IGNORECASE) == []


def test_the_card_uses_the_words_of_its_rig(rig_bundle: Bundle, rig: SoftSensor) -> None:
    wording = Wording(influences="oil, load or wear", unseen_change="another oil")
    worded = rig.model_copy(update={"wording": wording})
    card = _card(rig_bundle, worded)
    assert "extrapolates where oil, load or wear differ" in card
    assert "another oil that leaves the readings as they are" in card
