"""What a model sees of the features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from src.components.transformation.features import model_inputs
from src.soft_sensor import SoftSensor


@given(level=st.floats(1e-3, 1e4), noise=st.floats(-1, 1), spread=st.floats(0, 1))
def test_a_constant_reading_looks_the_same_whatever_the_rounding_errors_of_an_engine_are(
    spec: SoftSensor, level: float, noise: float, spread: float
) -> None:
    exact = pd.DataFrame([{name: level for name in spec.features}])
    exact[[sensor.feature("std") for sensor in spec.sensors]] = 0.0
    rounded = exact.copy()
    for sensor in spec.sensors:
        rounded[sensor.feature("mean")] = level * (1 + noise * 1e-14)
        rounded[sensor.feature("std")] = level * spread * 1e-14
    one, other = model_inputs(exact, spec), model_inputs(rounded, spec)
    np.testing.assert_allclose(one, other, atol=1e-9)


def test_skewness_says_on_which_side_a_reading_spends_its_time(spec: SoftSensor) -> None:
    features = pd.DataFrame([{name: 1.0 for name in spec.features}] * 3)
    name = spec.sensors[0]
    features[name.feature("mean")] = [1.0, 1.2, 0.8]
    features[name.feature("std")] = 0.4
    first = model_inputs(features, spec)[:, len(spec.features)]
    np.testing.assert_allclose(first, [0, 0.5, -0.5], atol=1e-6)
