"""What a retraining could bring: the errors of the model alone, and what correction leaves."""

from __future__ import annotations

import math

import pytest

from src.components.adaptation.outlook import DAYS, outlook
from src.components.adaptation.replay import UsualErrors, replay
from src.soft_sensor import SoftSensor
from tests.builders.laboratory import known_errors, moment


def test_without_a_change_there_is_nothing_to_gain(usual: UsualErrors, spec: SoftSensor) -> None:
    state = replay(known_errors(60, usual, spec), usual, spec, moment(60))
    prospect = outlook(state, usual)
    assert prospect.phases == 120
    assert prospect.alone == pytest.approx(1, abs=0.15)
    assert prospect.adapted == pytest.approx(prospect.alone, rel=0.02)


def test_after_a_change_correction_leaves_little_to_gain(
    usual: UsualErrors, spec: SoftSensor
) -> None:
    state = replay(known_errors(60, usual, spec, shift=4.0), usual, spec, moment(60))
    prospect = outlook(state, usual)
    assert prospect.alone > 4
    assert 1 < prospect.adapted < 1.6  # the days until it was certain count too


def test_old_errors_are_no_reason_to_retrain_now(usual: UsualErrors, spec: SoftSensor) -> None:
    state = replay(known_errors(10, usual, spec, shift=4.0), usual, spec, moment(11 + DAYS))
    assert outlook(state, usual).phases == 20 and math.isnan(outlook(state, usual).alone)


def test_without_values_nothing_is_known(usual: UsualErrors, spec: SoftSensor) -> None:
    nothing = known_errors(1, usual, spec).head(0)
    prospect = outlook(replay(nothing, usual, spec, moment(0)), usual)
    assert prospect.phases == 0 and math.isnan(prospect.adapted)
