"""Gaussian processes from outside: checked before they predict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from src.components.predictor import kinds
from src.components.predictor.gaussian_process import (
    MOST_ROWS,
    GaussianProcess,
    check,
    pack,
    unpack,
)
from src.components.trainer.gaussian_process import SensorProcess
from src.errors import BundleRefused

SENSORS = np.array([0, 0, 1, 2])
INPUTS = len(SENSORS)


def table(seed: int, rows: int = 30) -> NDArray[np.float32]:
    """Inputs of which those of sensor 0 nearly agree."""
    inputs = np.random.default_rng(seed).normal(size=(rows, INPUTS))
    inputs[:, 1] = inputs[:, 0] + 0.1 * inputs[:, 1]
    return inputs.astype(np.float32)


def made(seed: int) -> GaussianProcess:
    """A process of a target that follows sensors 0 and 1."""
    inputs = table(seed)
    return SensorProcess(SENSORS, seed).fit(inputs, np.sin(inputs[:, 0]) + inputs[:, 2]).arrays


@pytest.fixture(name="packed")
def fixture_packed() -> dict[str, NDArray[Any]]:
    """Two processes as they are stored."""
    return {name: array.copy() for name, array in pack([made(1), made(2)]).items()}


def test_what_was_packed_comes_back() -> None:
    processes = [made(1), made(2)]
    asked = table(3, 50)
    asked[::3, 2] = np.nan
    for before, after in zip(processes, unpack(pack(processes), 2, INPUTS)):
        for mine, stored in zip(before.predict(asked), after.predict(asked)):
            assert mine.tolist() == stored.tolist()


def test_a_training_row_of_several_regressors_is_stored_once() -> None:
    process = made(1)
    assert len(pack([process] * 5)["distinct"]) == process.rows.size


def test_the_names_of_the_arrays_say_of_which_kind_they_are(
    packed: dict[str, NDArray[Any]],
) -> None:
    assert isinstance(kinds.unpack(packed, 2, INPUTS)[0], GaussianProcess)
    assert kinds.pack([made(1), made(2)]).keys() == packed.keys()
    with pytest.raises(BundleRefused, match="has the arrays base"):
        kinds.unpack({"base": packed["base"]}, 2, INPUTS)


def test_it_is_more_certain_near_what_it_has_seen() -> None:
    process = made(1)
    _, near = process.predict(process.rows)
    _, far = process.predict(process.rows + 5)
    assert near.max() < far.min()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 5),
    row=st.integers(0, 9),
    missing=st.sets(st.integers(0, INPUTS - 1), min_size=1),
)
def test_any_inputs_may_be_missing(seed: int, row: int, missing: set[int]) -> None:
    process = made(seed)
    asked = table(seed + 100, 10)[[row]]
    asked[:, list(missing)] = np.nan
    prediction, spread = process.predict(asked)
    assert process.low <= prediction[0] <= process.high
    assert 0 < spread[0] < np.inf


def test_without_a_sensor_that_matters_a_prediction_is_uncertain() -> None:
    process = made(1)
    asked = table(4, 200)
    _, whole = process.predict(asked)
    for inputs in ([0, 1], [2]):
        lacking = asked.copy()
        lacking[:, inputs] = np.nan
        _, spread = process.predict(lacking)
        assert spread.mean() > 2 * whole.mean()


def test_the_other_inputs_of_a_sensor_stand_in_for_a_missing_one() -> None:
    process = made(1)
    asked = table(4, 200)
    lacking = asked.copy()
    lacking[:, 1] = np.nan
    difference = process.predict(lacking)[0] - process.predict(asked)[0]
    assert np.abs(difference).mean() < 0.2


def test_the_number_of_rows_asked_for_at_once_changes_nothing() -> None:
    process = made(1)
    asked = table(5, 2000)
    asked[::7, 2] = np.nan
    together = process.predict(asked)
    for row in range(0, 2000, 97):
        for of_all, alone in zip(together, process.predict(asked[row : row + 1])):
            assert of_all[row] == alone[0]
    assert len(process.predict(asked[:0])[0]) == 0


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38, -1e20, np.nan])
def test_whatever_is_asked_is_answered_within_what_was_learned(value: float) -> None:
    process = made(1)
    prediction, spread = process.predict(np.full((3, INPUTS), value, np.float32))
    assert ((prediction >= process.low) & (prediction <= process.high)).all()
    assert (np.isfinite(spread) & (spread > 0)).all()


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"base": np.nan}, "a value is not a number"),
        ({"low": np.inf}, "a value is not a number"),
        ({"low": 5.0, "high": 4.0}, "least value"),
        ({"variance": -1.0}, "a variance is negative"),
        ({"noise": 0.0}, "no noise"),
        ({"rows": np.float32(np.nan)}, "a row is not a number"),
        ({"rows": np.float32(1e31)}, "too large"),
        ({"coefficient": np.inf}, "a coefficient is not a number"),
        ({"coefficient": 1e31}, "too large"),
        ({"centre": np.nan}, "a centre is not a number"),
        ({"scale": 0.0}, "a scale is not positive"),
        ({"scale": -1.0}, "a scale is not positive"),
        ({"relevance": -1.0}, "a relevance is negative"),
        ({"relevance": np.nan}, "a relevance is not a number"),
    ],
)
def test_a_process_that_predicts_no_number_is_refused(change: dict[str, Any], fault: str) -> None:
    process = made(1)
    altered = dict(change)
    for name, wrong in change.items():
        if isinstance(getattr(process, name), np.ndarray):
            altered[name] = getattr(process, name).copy()
            altered[name].flat[0] = wrong
    with pytest.raises(BundleRefused, match=fault):
        check(replace(process, **altered), INPUTS)


def test_training_rows_that_cannot_be_told_apart_are_refused() -> None:
    changes: dict[str, Any] = {"relevance": np.zeros(INPUTS), "noise": 1e-300}
    with pytest.raises(BundleRefused, match="a covariance is not a number"):
        check(replace(made(1), **changes), INPUTS)


@pytest.mark.parametrize("name", ["centre", "scale", "relevance", "coefficient"])
def test_arrays_of_another_length_are_refused(name: str) -> None:
    process = made(1)
    with pytest.raises(BundleRefused, match="has no"):
        check(replace(process, **{name: getattr(process, name)[:-1]}), INPUTS)


def test_more_rows_than_any_process_has_are_refused() -> None:
    process = made(1)
    rows = np.zeros((MOST_ROWS + 1, INPUTS), np.float32)
    with pytest.raises(BundleRefused, match="301 training rows"):
        check(replace(process, rows=rows, coefficient=np.zeros(len(rows))), INPUTS)


@pytest.mark.parametrize(
    "spoil, fault",
    [
        (lambda packed: packed.pop("low"), "has the arrays"),
        (lambda packed: packed.update(more=np.zeros(1)), "has the arrays"),
        (lambda packed: packed.update(low=packed["low"].astype("f4")), "low is not a list"),
        (lambda packed: packed.update(row=packed["row"][np.newaxis]), "row is not a list"),
        (lambda packed: packed.update(noise=packed["noise"][:1]), "for each regressor"),
        (lambda packed: packed.update(scale=packed["scale"][:-1]), "for each regressor and input"),
        (lambda packed: packed.update(row=packed["row"][:-1]), "for each training row"),
        (lambda packed: packed.update(distinct=packed["distinct"][:-1]), "is not complete"),
        (lambda packed: packed["size"].__setitem__(0, 0), "no training rows"),
        (lambda packed: packed["size"].__setitem__(0, -5), "no training rows"),
        (lambda packed: packed["size"].__setitem__(0, 2**31 - 1), "or more than"),
        (lambda packed: packed["row"].__setitem__(0, 60), "does not exist"),
        (lambda packed: packed["row"].__setitem__(0, -1), "does not exist"),
    ],
)
def test_arrays_that_were_not_packed_are_refused(
    packed: dict[str, NDArray[Any]], spoil: Any, fault: str
) -> None:
    spoil(packed)
    with pytest.raises(BundleRefused, match=fault):
        unpack(packed, 2, INPUTS)
