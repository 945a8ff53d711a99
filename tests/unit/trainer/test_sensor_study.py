"""Which sets of sensors are compared, and what the comparison finds."""

from __future__ import annotations

import pandas as pd
import pytest

from src.components.trainer.sensor_study import compare_sets, sensor_sets
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.builders.training import FOREST, phase_table
from tests.conftest import ROOT


def test_few_sensors_are_compared_in_every_subset(spec: SoftSensor) -> None:
    sets = sensor_sets(spec)
    assert len(sets) == 2**5 - 1
    assert next(iter(sets.values())) == spec.sensors
    assert len(set(sets.values())) == len(sets)


def test_many_sensors_are_compared_in_named_sets() -> None:
    rig = load_soft_sensor(ROOT / "examples" / "hydraulics" / "params.yaml")
    names = [sensor.name for sensor in rig.sensors]
    sets = sensor_sets(rig, pd.Series(range(17), index=names))
    assert sets["all"] == rig.sensors
    assert [sensor.name for sensor in sets["2 most important"]] == names[-2:]
    assert len(sets["all but pressure 1"]) == 16
    assert len(sets) == 1 + 17 + 2 * 16


@pytest.mark.slow
def test_the_sensor_that_matters_is_worth_its_price(spec: SoftSensor) -> None:
    everything, useless = spec.sensors, spec.sensors[:2]
    sets = {"all": everything, "without": useless, "alone": spec.sensors[-1:]}
    found = compare_sets(phase_table(40, spec, noise=0.05), FOREST, sets, 1, spec)
    lines = {line["set"]: line for line in found.to_dict("records")}
    prices = {name: line["price"] for name, line in lines.items()}
    assert prices == {"all": 4600, "without": 2300, "alone": 700}
    assert lines["all"]["loss"] == lines["all"]["loss_se"] == 0
    assert lines["without"]["loss"] > 3 * lines["without"]["loss_se"]
    assert lines["alone"]["relative"] < lines["all"]["relative"]
    assert [name for name, line in lines.items() if line["pareto"]] == ["alone"]
