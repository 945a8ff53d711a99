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
        shift: of all of them, in SD of the usual error.
    """
    random = np.random.default_rng(seed)
    lines = []
    for day in range(days):
        for phase in spec.phases:
            line = {
                spec.columns.experiment: 1000 + day,
                spec.columns.phase: phase.value,
                "last_timestamp": START + day * DAY,
            }
            for target in spec.targets:
                deviation = usual[phase.value, target.name].deviation
                line[target.name] = deviation * (shift + random.normal())
                line[target.alone] = 10 * deviation
            lines.append(line)
    return pd.DataFrame(lines)
