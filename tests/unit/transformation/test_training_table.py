"""Laboratory rows to targets, and the join."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.components.transformation.features import input_sensors, model_inputs
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


def test_a_sensor_on_the_log_scale_is_seen_so_by_models_alone(spec: SoftSensor) -> None:
    features, _ = _tables(2, spec)
    turbidity, ph = spec.sensor("truebung"), spec.sensor("ph")
    assert (turbidity.scale, ph.scale) == ("log", "linear")
    names = ["mean", "std", "median", "percentile25", "percentile75"]
    for sensor in (turbidity, ph):
        for name, value in zip(names, (9.0, 4.0, 7.0, 3.0, 0.0)):
            features[sensor.feature(name)] = value
    before = features.copy()
    inputs = dict(zip(spec.features, model_inputs(features, spec)[0]))
    pd.testing.assert_frame_equal(features, before)
    for name, value in zip(names, np.log([10, np.exp(0.5), 8, 4, 1])):
        assert inputs[turbidity.feature(name)] == pytest.approx(value)
    for name, value in zip(names, (9.0, 4.0, 7.0, 3.0, 0.0)):
        assert inputs[ph.feature(name)] == value


@pytest.mark.parametrize("value", [0.0, 1e30, 1e308, -1e6, np.nan])
def test_model_inputs_are_numbers_or_missing_on_either_scale(
    spec: SoftSensor, value: float
) -> None:
    features, _ = _tables(2, spec)
    features[spec.features] = value
    inputs = model_inputs(features, spec)
    assert (np.isnan(inputs) == np.isnan(value)).all()


def test_each_input_is_about_the_sensor_whose_readings_change_it(spec: SoftSensor) -> None:
    features, _ = _tables(2, spec)
    features[spec.features] += np.random.default_rng(0).uniform(1, 2, len(spec.features))
    for number, sensor in enumerate(spec.sensors):
        names = spec.features_of(sensor)
        changed = features.assign(**{name: features[name] ** 1.5 for name in names})
        moved = (model_inputs(changed, spec) != model_inputs(features, spec)).any(axis=0)
        assert moved.tolist() == (input_sensors(spec) == number).tolist()
    only = spec.model_copy(update={"statistics": ("median", "std")})
    assert input_sensors(only).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
