"""A small bundle that is sometimes wrong, and how large its errors usually are."""

from __future__ import annotations

import pytest

from src.components.adaptation.replay import UsualErrors, usual_errors
from src.components.predictor.bundle import Bundle
from src.soft_sensor import SoftSensor
from tests.builders.training import made_from, phase_table


@pytest.fixture(name="bundle", scope="package")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A bundle of 60 experiments."""
    return made_from(phase_table(60, spec, noise=0.1), spec)


@pytest.fixture(name="usual", scope="package")
def fixture_usual(bundle: Bundle, spec: SoftSensor) -> UsualErrors:
    """Its out-of-fold errors."""
    return usual_errors(bundle, spec)
