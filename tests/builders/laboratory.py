"""Analysed phases and the errors of a model on them, one experiment a day."""

from __future__ import annotations

import numpy as np
import pandas as pd

from src.components.adaptation.replay import DAY, UsualErrors
from src.soft_sensor import SoftSensor

START = 1_770_000_000.0  # s; a day in February 2026


def moment(day: float) -> pd.Timestamp:
    """The time some days after START."""
    return pd.Timestamp(START + day * DAY, unit="s", tz="UTC")


def known_errors(
    days: int, usual: UsualErrors, spec: SoftSensor, shift: float = 0.0, seed: int = 0
) -> pd.DataFrame:
    """Errors as `replay` takes them: both phases of one experiment on each of some days.

    Args:
        shift: of all of them, in SD of the usual error; the predictions are any of the usual ones.
    """
    random, draw = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    lines = []
    for day in range(days):
        for phase in spec.phases:
            line = {
                spec.columns.experiment: 1000 + day,
                spec.columns.phase: phase.value,
                "last_timestamp": START + day * DAY,
            }
            for target in spec.targets:
                expected = usual[phase.value, target.name]
                line[target.name] = expected.deviation * (shift + random.normal())
                line[target.alone] = draw.uniform(expected.low, expected.high)
            lines.append(line)
    return pd.DataFrame(lines)
