"""How far the errors of a model have shifted: a Bayesian filter over possible shifts.

Errors are in standard deviations of the usual one, so the noise is 1. The shift is 0 at first, and
stays as it is from one laboratory day to the next but for a small chance that something has
changed; then it is drawn from a wide normal distribution. This is a local level (Kalman) filter
whose level jumps instead of wandering, as a process does whose material is changed, and the
change-point filter of Adams and MacKay (arXiv 0710.3742) with the shift itself as its state. The
chances of all shifts on a grid are kept, so that any law of the noise will do: all values of a
laboratory day can be wrong together, whatever they show.

So few or scattered values move nothing, and one day hardly anything; days that agree do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from src.components.predictor.ensemble import Array

# Chosen by looking at figures of `benchmarks.adapt` for seeds 1001 to 1003; its table is
# of other worlds.
CHANGE = 0.004  # chance of a change between two laboratory days
SIZE = 3.0  # SD of the shift after a change
BAD_DAY = 0.15  # share of laboratory days whose values say nothing
SHARED = 0.2  # correlation of the errors of one laboratory day

FARTHEST = 8.0  # the largest shift that is distinguished
SHIFTS = np.linspace(-FARTHEST, FARTHEST, 161)
NONE = SHIFTS.size // 2  # position of the shift 0
CHANGED = np.exp(-((SHIFTS / SIZE) ** 2) / 2)
CHANGED /= CHANGED.sum()


def _unshifted() -> Array:
    chances = np.zeros_like(SHIFTS)
    chances[NONE] = 1.0
    return chances


@dataclass(frozen=True)
class Shift:
    """What is known of a shift: the chance of each of SHIFTS, (161,); at first it is 0."""

    chances: Array = field(default_factory=_unshifted)

    @property
    def mean(self) -> float:
        """The expected shift."""
        return float(self.chances @ SHIFTS)

    @property
    def variance(self) -> float:
        """How uncertain it is."""
        return float(self.chances @ (SHIFTS - self.mean) ** 2)

    @property
    def unchanged(self) -> float:
        """The chance that nothing has shifted."""
        return float(self.chances[NONE])

    def after(self, error: float, values: int) -> Shift:
        """What is known after a laboratory day.

        Args:
            error: median of the day's errors.
            values: their number.
        """
        prior = (1 - CHANGE) * self.chances + CHANGE * CHANGED
        variance = SHARED + (1 - SHARED) / values
        distance = np.clip(error, -FARTHEST, FARTHEST) - SHIFTS
        good = np.exp(-(distance**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        bad = 1 / (2 * FARTHEST)
        posterior = prior * ((1 - BAD_DAY) * good + BAD_DAY * bad)
        return Shift(posterior / posterior.sum())
