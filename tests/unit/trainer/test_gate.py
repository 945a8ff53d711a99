"""Which model may take the place of the present one."""

from __future__ import annotations

import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.trainer import gate
from src.components.transformation.training_table import GROUP, HOLDOUT
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, made_from, phase_table, shuffled


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """80 experiments, of which some 16 are held out."""
    return phase_table(80, spec, noise=0.05)


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(table: pd.DataFrame, spec: SoftSensor) -> Bundle:
    """The present model."""
    return made_from(table, spec)


def test_a_model_is_no_worse_than_itself(bundle: Bundle, spec: SoftSensor) -> None:
    comparison = gate.compare(bundle, bundle, spec)
    assert not comparison.worse
    assert comparison.table["p"].tolist() == [1.0] * 4
    assert (comparison.table["production"] == comparison.table["challenger"]).all()


def test_a_model_of_shuffled_labels_is_worse_in_everything(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    wrong = table.copy()
    training = ~table[HOLDOUT]
    wrong.loc[training] = shuffled(table[training].reset_index(drop=True), spec).to_numpy()
    wrong = wrong.astype(table.dtypes)
    comparison = gate.compare(made_from(wrong, spec), bundle, spec)
    assert comparison.worse == [*spec.target_names, gate.ALL_TARGETS]


def test_another_model_that_is_as_good_passes(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    comparison = gate.compare(made_from(table, spec, MEMBERS), bundle, spec)
    assert not comparison.worse
    assert (comparison.table["p"] < 1).any()


def test_the_errors_are_those_of_the_same_held_out_phases(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    tension = spec.target_names[0]
    sparse = table.copy()
    sparse.loc[sparse.index[sparse[HOLDOUT]][0], tension] = float("nan")
    line = gate.compare(made_from(sparse, spec), bundle, spec).table.iloc[0]
    held_out = sparse[sparse[HOLDOUT]]
    assert line["n"] == held_out[tension].notna().sum()
    assert line["groups"] == held_out[GROUP].nunique()
    error = (bundle.values(held_out, spec)[tension] - held_out[tension]).abs().mean()
    assert line["production"] == pytest.approx(error)


def test_a_model_that_has_seen_the_hold_out_cannot_be_compared(
    bundle: Bundle, spec: SoftSensor
) -> None:
    first = int(bundle.holdout["experimentnummer"].iloc[0])
    cheat = bundle.with_origin(experiments=[first])
    with pytest.raises(BundleRefused, match=f"Production was trained on experiment {first}"):
        gate.compare(bundle, cheat, spec)
    with pytest.raises(BundleRefused, match=f"the new version was trained on experiment {first}"):
        gate.compare(cheat, bundle, spec)
