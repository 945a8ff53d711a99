"""Laboratory rows to targets, and the join."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components.transformation.features import model_inputs
from src.components.transformation.training_table import (
    GROUP,
    laboratory_targets,
    training_table,
)
from src.errors import DataError
from src.soft_sensor import SoftSensor

TENSION, ANIONIC, NONIONIC = (
    "oberflaechenspannung",
    "anionischetenside",
    "nichtionischentenside",
)


def _laboratory(*rows: tuple[int, str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        rows, columns=["experimentnummer", "bemerkungen", TENSION, ANIONIC, NONIONIC]
    )


def test_replicates_are_averaged_and_negatives_are_missing(spec: SoftSensor) -> None:
    targets = laboratory_targets(
        _laboratory(
            (1, "W1", 40.0, 100.0, -1.0),
            (1, "W1", 42.0, -1.0, -1.0),
            (1, "S1", 60.0, 5.0, 2.0),
            (2, "Leerwert", 72.0, 0.0, 0.0),
        ),
        spec,
    ).set_index(["experimentnummer", "waschen"])
    assert list(targets.index) == [(1, 0), (1, 1)]
    assert targets.loc[(1, 1), TENSION] == 41.0
    assert targets.loc[(1, 1), ANIONIC] == 100.0
    assert targets[NONIONIC].isna().tolist() == [False, True]


def test_a_target_that_was_never_measured_is_refused(spec: SoftSensor) -> None:
    laboratory = _laboratory((1, "W1", 40.0, -1.0, 3.0), (2, "S1", 41.0, -1.0, 4.0))
    with pytest.raises(DataError, match=f"{ANIONIC} holds no value"):
        laboratory_targets(laboratory, spec)


def test_labels_of_no_known_phase_are_refused(spec: SoftSensor) -> None:
    with pytest.raises(DataError, match="holds .*'X1'.* knows .*'S1', 'W1'"):
        laboratory_targets(_laboratory((1, "X1", 40.0, 1.0, 1.0)), spec)


def _tables(experiments: int, spec: SoftSensor) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = pd.DataFrame(
        [(number, phase) for number in range(1, experiments + 1) for phase in (0, 1)],
        columns=spec.columns.keys,
    )
    values = np.random.default_rng(0).normal(size=(len(keys), len(spec.features)))
    features = keys.assign(**dict(zip(spec.features, values.T)))
    return features, keys.assign(**dict.fromkeys(spec.target_names, values[:, 0]))


def test_fewer_than_ten_experiments_are_refused(spec: SoftSensor) -> None:
    with pytest.raises(DataError, match="9 experiments .* at least 10 are needed"):
        training_table(*_tables(9, spec), None, spec)


def test_every_experiment_needs_a_group(spec: SoftSensor) -> None:
    groups = pd.Series(np.arange(60) // 4, index=np.arange(1, 61))
    table = training_table(*_tables(60, spec), groups, spec)
    assert (table[GROUP] == (table["experimentnummer"] - 1) // 4).all()
    with pytest.raises(DataError, match="experiment 60 has no group"):
        training_table(*_tables(60, spec), groups.drop(60), spec)


@pytest.mark.parametrize("failed", [None, "ph"])
def test_a_copy_of_an_experiment_is_refused(failed: str | None, spec: SoftSensor) -> None:
    """On both sides of a split it would give away its label, also where a sensor had failed."""
    features, targets = _tables(20, spec)
    if failed:
        features[[name for name in spec.features if name.startswith(f"{failed}_")]] = np.nan
    copy = features["experimentnummer"] == 7
    again = features[copy].assign(experimentnummer=107), targets[copy].assign(experimentnummer=107)
    both = (pd.concat([features, again[0]]), pd.concat([targets, again[1]]))
    with pytest.raises(DataError, match="experiments 7 and 107 have the same features"):
        training_table(*both, None, spec)


def test_model_inputs_tell_on_which_side_of_a_phase_a_reading_was(spec: SoftSensor) -> None:
    features, _ = _tables(2, spec)
    features = features.assign(ph_mean=8.0, ph_median=7.0, ph_std=2.0, truebung_std=0.0)
    inputs = model_inputs(features, spec)
    assert inputs.shape == (4, 30)
    skewness = dict(zip([sensor.name for sensor in spec.sensors], inputs[0, 25:]))
    assert skewness["ph"] == 0.5
    assert np.abs(inputs[:, 25:]).max() <= 1
    missing = features.assign(ph_mean=np.nan, ph_median=np.nan, ph_std=np.nan)
    assert np.isnan(model_inputs(missing, spec)[:, 28]).all()
    only = spec.model_copy(update={"statistics": ("median", "std")})
    assert model_inputs(features, only).shape == (4, 10)
