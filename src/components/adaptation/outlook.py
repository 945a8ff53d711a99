"""What a retraining could bring, as far as it can be known without one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from src.components.adaptation.replay import DATE, ERROR, PHASE, SHIFT, TARGET, State, UsualErrors
from src.components.predictor.correction import VALUES

DAYS = 90  # whose errors count


class Outlook(NamedTuple):
    """How much there is to gain by a retraining.

    Attributes:
        phases: analysed phases that a training can add to those of the present version.
        alone: mean absolute error of the model alone in the last DAYS days, as a factor of that out
            of fold; NaN without values.
        adapted: the same of predictions that are corrected with the values of earlier days.
    """

    phases: int
    alone: float
    adapted: float


def outlook(state: State, usual: UsualErrors) -> Outlook:
    """How much there is to gain by a retraining at the moment of a state."""
    steps = state.steps
    before = steps.groupby([PHASE, TARGET])[SHIFT].shift(fill_value=0.0)
    recent = pd.to_datetime(steps[DATE], utc=True) > state.as_of - pd.Timedelta(days=DAYS)
    keys = zip(steps.loc[recent, PHASE], steps.loc[recent, TARGET])
    expected = sum(np.average(usual[key].sizes, weights=usual[key].weights) for key in keys)
    errors = {"alone": steps[ERROR], "adapted": steps[ERROR] - before}
    sizes = {way: float(error[recent].abs().sum()) for way, error in errors.items()}
    phases = int(state.evidence[VALUES].sum())
    if not expected:
        return Outlook(phases, np.nan, np.nan)
    return Outlook(phases, sizes["alone"] / expected, sizes["adapted"] / expected)
