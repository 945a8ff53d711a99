"""A Gaussian process finds which sensors matter, and predicts the same as arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from src.components.predictor.gaussian_process import MOST_ROWS, GaussianProcess
from src.components.trainer import export
from src.components.trainer.gaussian_process import (
    FittedProcess,
    SensorProcess,
    most_probable,
)
from src.errors import ExportFailed

SENSORS = np.array([0, 0, 1, 1, 2, 2])


def table(seed: int, rows: int, missing: float = 0.0) -> NDArray[np.float32]:
    """Inputs of very different magnitudes of which some are missing."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(rows, len(SENSORS))) * 10.0 ** np.array([-3, -2, 0, 0, 2, 4])
    inputs[random.random(inputs.shape) < missing] = np.nan
    return inputs.astype(np.float32)


def wave(inputs: NDArray[np.float32], seed: int, noise: float = 0.1) -> NDArray[np.float64]:
    """A target that follows sensor 1, with noise."""
    own = np.random.default_rng(seed).normal(size=len(inputs))
    return np.asarray(40 + 5 * np.sin(np.nan_to_num(inputs[:, 2])) + noise * own, float)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), missing=st.sampled_from([0.0, 0.1, 0.5]))
def test_a_process_predicts_the_same_as_arrays(seed: int, missing: float) -> None:
    inputs = table(seed, 40, missing)
    fitted = SensorProcess(SENSORS, 0).fit(inputs, wave(inputs, seed))
    arrays = export.process(fitted, inputs)
    asked = table(seed + 1, 40)
    prediction, spread = arrays.predict(asked)
    assert prediction == pytest.approx(fitted.predict(asked), rel=1e-6)
    scaled = (asked - arrays.centre) / arrays.scale
    _, expected = fitted.library.predict(np.clip(scaled, -8, 8), return_std=True)
    assert spread == pytest.approx(fitted.unit * expected, rel=1e-3, abs=1e-4 * fitted.unit)


def test_arrays_that_predict_something_else_are_not_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = table(3, 40)
    fitted = SensorProcess(SENSORS, 0).fit(inputs, wave(inputs, 3))
    monkeypatch.setattr(FittedProcess, "predict", lambda process, rows: np.zeros(len(rows)))
    with pytest.raises(ExportFailed, match="other values than the library"):
        export.process(fitted, inputs)


def test_the_sensor_that_matters_is_found() -> None:
    inputs = table(1, 100)
    values = wave(inputs, 1)
    found = most_probable(
        (inputs / inputs.std(axis=0)).astype(float), (values - 40) / values.std(), SENSORS
    )
    assert found.relevance[1] > 20 * max(found.relevance[0], found.relevance[2])
    arrays = SensorProcess(SENSORS, 0).fit(inputs, values).arrays
    asked = table(2, 200)
    error = np.abs(arrays.predict(asked)[0] - wave(asked, 2, noise=0)).mean()
    assert error < 0.25 * np.abs(wave(asked, 2, noise=0) - 40).mean()


def test_values_that_no_sensor_explains_are_noise() -> None:
    inputs = table(1, 60)
    nothing = np.random.default_rng(5).normal(size=60)
    arrays = SensorProcess(SENSORS, 0).fit(inputs, nothing).arrays
    prediction, _ = arrays.predict(table(2, 60))
    assert prediction.std() < 0.6 * nothing.std()


def test_the_unit_of_a_target_does_not_matter() -> None:
    inputs = table(1, 40)
    values = wave(inputs, 1)
    one, thousand = (
        SensorProcess(SENSORS, 0).fit(inputs, factor * values).arrays.predict(table(2, 20))
        for factor in (1.0, 1000.0)
    )
    assert thousand[0] == pytest.approx(1000 * one[0], rel=1e-4)
    assert thousand[1] == pytest.approx(1000 * one[1], rel=1e-2)


def _odd(inputs: NDArray[np.float32], values: NDArray[np.float64], how: str) -> GaussianProcess:
    if how == "a sensor is always missing":
        inputs[:, :2] = np.nan
    elif how == "a sensor is always the same":
        inputs[:, :2] = 1e4
    elif how == "a target is always the same":
        values[:] = 7.0
    elif how == "one row":
        inputs, values = inputs[:1], values[:1]
    elif how == "all rows are alike":
        inputs[:] = inputs[0]
    elif how == "an input is infinite":
        inputs[3, 1], inputs[4, 2] = np.inf, 3e38
    return export.process(SensorProcess(SENSORS, 0).fit(inputs, values), inputs)


@pytest.mark.parametrize(
    "how",
    [
        "a sensor is always missing",
        "a sensor is always the same",
        "a target is always the same",
        "one row",
        "all rows are alike",
        "an input is infinite",
    ],
)
def test_odd_tables_can_be_learned(how: str) -> None:
    inputs = table(1, 30)
    values = wave(inputs, 1)
    prediction, spread = _odd(inputs, values, how).predict(table(2, 10, missing=0.2))
    assert ((prediction >= 6.9) & (prediction <= values.max() + 1e-9)).all()
    assert np.isfinite(spread).all()


@pytest.mark.slow
def test_of_many_rows_as_many_are_used_as_are_affordable() -> None:
    inputs = table(1, 10 * MOST_ROWS)
    values = wave(inputs, 1)
    first, again = (SensorProcess(SENSORS, 0).fit(inputs, values).arrays for _ in range(2))
    assert len(first.rows) == MOST_ROWS
    asked = table(2, 20)
    assert first.predict(asked)[0].tolist() == again.predict(asked)[0].tolist()
