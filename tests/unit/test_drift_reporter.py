"""A verdict that stays quiet in healthy months, finds faults and names the sensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.components import drift_reporter
from src.components.drift_reporter import ALARM, OK, TOO_FEW, Verdict
from src.soft_sensor import SoftSensor


def _month(experiments: int, seed: int, sensor: SoftSensor) -> pd.DataFrame:
    """Features of experiments whose phases lie far apart, both of one experiment correlated."""
    random = np.random.default_rng(seed)
    rows = 2 * experiments
    table = pd.DataFrame({"experimentnummer": np.arange(rows) // 2, "waschen": np.arange(rows) % 2})
    for place, part in enumerate(sensor.sensors):
        shared = random.normal(size=experiments)[table["experimentnummer"]]
        level = 50 + 5 * place * table["waschen"] + (shared + random.normal(size=rows)) / 2**0.5
        spread = random.lognormal(0, 0.3, rows)
        table[f"{part.name}_median"] = table[f"{part.name}_mean"] = level
        table[f"{part.name}_std"] = spread
        table[f"{part.name}_percentile25"] = level - 0.67 * spread
        table[f"{part.name}_percentile75"] = level + 0.67 * spread
    for target in sensor.target_names:
        table[target] = table["ph_median"] + random.normal(size=rows)
    return table


@pytest.fixture(name="reference", scope="module")
def fixture_reference(sensor: SoftSensor) -> pd.DataFrame:
    """500 phases of the usual."""
    return _month(250, 0, sensor)


def _check(month: pd.DataFrame, reference: pd.DataFrame, sensor: SoftSensor) -> Verdict:
    return drift_reporter.check(month, reference, sensor)


def test_healthy_months_hardly_ever_alarm(reference: pd.DataFrame, sensor: SoftSensor) -> None:
    """Of 30 months at a true 1 % more than 3 alarm with a chance of 1 in 4,000."""
    verdicts = [_check(_month(50, seed, sensor), reference, sensor) for seed in range(1, 31)]
    assert sum(verdict.status == ALARM for verdict in verdicts) <= 3


@pytest.mark.parametrize("column", ["ph", "leitfaehigkeit", "druck1"])
def test_a_shifted_sensor_is_found_and_named(
    reference: pd.DataFrame, sensor: SoftSensor, column: str
) -> None:
    month = _month(50, 77, sensor)
    for name in ("median", "mean", "percentile25", "percentile75"):
        month[f"{column}_{name}"] += 1.0
    verdict = _check(month, reference, sensor)
    assert (verdict.status, verdict.sensors) == (ALARM, [column])
    title = next(part.title for part in sensor.sensors if part.name == column)
    assert f"alarm: {title}" in drift_reporter.summary(verdict, month, sensor)


def test_a_noisy_and_a_stuck_sensor_are_found(reference: pd.DataFrame, sensor: SoftSensor) -> None:
    month = _month(50, 78, sensor)
    month["fluss1_std"] *= 2
    month["ph_std"] = 0.0
    verdict = _check(month, reference, sensor)
    assert set(verdict.sensors) == {"fluss1", "ph"}
    assert set(verdict.tests.query("status == 'alarm'")["indicator"]) == {"noise"}


def test_another_mix_of_phases_is_no_drift(reference: pd.DataFrame, sensor: SoftSensor) -> None:
    month = _month(100, 79, sensor)
    washing_mostly = month[(month["waschen"] == 1) | (month["experimentnummer"] < 25)]
    assert _check(washing_mostly, reference, sensor).status == OK


def test_missing_values_do_not_switch_a_test_off(
    reference: pd.DataFrame, sensor: SoftSensor
) -> None:
    month = _month(50, 80, sensor)
    month["ph_median"] += 1.0
    month.loc[3, "ph_median"] = np.nan
    assert "ph" in _check(month, reference, sensor).sensors
    month["truebung_median"] = np.nan
    assert "ph" in _check(month, reference, sensor).sensors


def test_too_few_rows_are_said_to_be_too_few(reference: pd.DataFrame, sensor: SoftSensor) -> None:
    month = _month(5, 81, sensor)
    verdict = _check(month, reference, sensor)
    assert verdict.status == TOO_FEW
    assert "needs 8 rows" in drift_reporter.summary(verdict, month, sensor)


def test_the_page_agrees_with_the_verdict_and_needs_no_network(
    reference: pd.DataFrame, sensor: SoftSensor, tmp_path: Path
) -> None:
    month = _month(50, 82, sensor)
    month["ph_median"] += 1.0
    verdict = _check(month, reference, sensor)
    page = tmp_path / "report.html"
    drift_reporter.write_report(verdict, month, reference, sensor, page)
    content = page.read_text(encoding="utf-8")
    drifted = (verdict.tests["status"] == ALARM).sum()
    assert drifted
    assert "ph level [washing]" in content
    assert "<script src" not in content and "<link href" not in content
