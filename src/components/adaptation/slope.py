"""How the error of a model depends on what it predicts, after something has changed.

With another material a model errs less by a constant than in proportion: by more the higher it
predicts. The correction is then a bias and a slope, as is usual for near-infrared spectrometers
whose calibration is kept up (Fearn, Journal of Near Infrared Spectroscopy 9, 2001). The slope is
that of a ridge regression (a Bayesian one whose slope is normal around 0) of errors on predictions.
A laboratory day counts by the chance that something had changed by then: so as long as nothing has,
there is no slope.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from src.components.adaptation.shift import Days
from src.components.predictor.ensemble import Array

# Chosen by looking at figures, see `shift`.
STEEP = 0.3  # SD of the slope that is expected after a change
FAR = 3.0  # an error farther from the shift counts as this far, SD of the usual error


class Slope(NamedTuple):
    """What is added to the shift for each unit by which a prediction is above the pivot."""

    slope: float
    pivot: float  # in SD of the usual error


def fitted(days: Days, shift: float, weights: Array) -> Slope:
    """The slope of the errors.

    Args:
        shift: the present one, in SD of the usual error.
        weights: (days,), the chance that something had changed by the end of each day.
    """
    total = weights.sum()
    if total == 0:
        return Slope(0.0, 0.0)
    errors = np.clip(days.errors - shift, -FAR, FAR)
    pivot = float(weights @ days.predicted / total)
    above = days.predicted - pivot
    along = weights @ (above * (errors - weights @ errors / total))
    return Slope(float(along / (weights @ above**2 + 1 / STEEP**2)), pivot)
