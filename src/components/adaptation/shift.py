"""How far the errors of a model have shifted: a Bayesian filter over possible shifts.

Errors are in standard deviations of the usual one, so the noise is 1. The shift is 0 at first, and
stays as it is from one laboratory day to the next but for a small chance that something has
changed; then it is drawn from a wide normal distribution. This is a local level (Kalman) filter
whose level jumps instead of wandering, as a process does whose material is changed, and the
change-point filter of Adams and MacKay (arXiv 0710.3742) with the shift itself as its state. The
chances of all shifts on a grid are kept, so that any law of the noise will do: all values of a
laboratory day can be wrong together, whatever they show.

A day that says nothing is as likely as one that does, though few days are bad: so one day alone
raises the odds of a change about threefold at most, which leaves it unlikely, and a second one has
to confirm it. Hence few or scattered values move nothing, and one day hardly anything; days that
agree do. What changes a process mostly changes several targets and phases, so a change in one of
them, beyond an even chance, makes one in the others likelier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from src.components.predictor.ensemble import Array

# Chosen by looking at figures of `benchmarks.adapt` for seeds 1001 to 1003; its table is
# of other worlds.
CHANGE = 0.004  # chance of a change between two laboratory days
SIZE = 3.0  # SD of the shift after a change
BAD_DAY = 0.5  # chance that the values of a laboratory day say nothing
SHARED = 0.2  # correlation of the errors of one laboratory day
TOGETHER = 0.5  # chance that a change of one target in one phase is also one of another

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

    def after(self, error: float, values: int, change: float = CHANGE) -> Shift:
        """What is known after a laboratory day.

        Args:
            error: median of the day's errors.
            values: their number.
            change: chance that something has changed since the laboratory day before.
        """
        prior = (1 - change) * self.chances + change * CHANGED
        variance = SHARED + (1 - SHARED) / values
        distance = np.clip(error, -FARTHEST, FARTHEST) - SHIFTS
        good = np.exp(-(distance**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        bad = 1 / (2 * FARTHEST)
        posterior = prior * ((1 - BAD_DAY) * good + BAD_DAY * bad)
        return Shift(posterior / posterior.sum())


@dataclass(frozen=True)
class Days:
    """The laboratory days of one target in one phase, oldest first: (days,) each.

    Attributes:
        dates: days since 1970.
        errors: median of the day's errors.
        values: their number.
        predicted: median of the model's predictions, in SD of the usual error as the errors.
    """

    dates: Array
    errors: Array
    values: NDArray[np.int_]
    predicted: Array


Key = TypeVar("Key")


def followed(series: Mapping[Key, Days]) -> dict[Key, list[Shift]]:
    """The shift of each target and phase after each of its days.

    First each on its own, then with what the others have shown on earlier days.
    """
    alone = {
        key: _followed(days, np.full(days.dates.shape, CHANGE)) for key, days in series.items()
    }
    known = {}
    for key, days in series.items():
        others = {other: shifts for other, shifts in alone.items() if other != key}
        likely = np.clip(2 * changed(others, series, days.dates - 1) - 1, 0, None)
        rise = np.diff(np.maximum.accumulate(likely), prepend=0.0)
        known[key] = _followed(days, 1 - (1 - CHANGE) * (1 - TOGETHER * rise))
    return known


def _followed(days: Days, changes: Array) -> list[Shift]:
    shift, shifts = Shift(), []
    for error, values, change in zip(days.errors, days.values, changes):
        shift = shift.after(error, values, change)
        shifts.append(shift)
    return shifts


def changed(shifts: Mapping[Key, list[Shift]], series: Mapping[Key, Days], dates: Array) -> Array:
    """The chance that something has changed, as known at the end of each date: (dates,).

    It is that of the target and phase where it is highest; 0 before the first value.

    Args:
        shifts: after each day of `series`.
    """
    chances = [np.zeros(dates.shape)]
    for key, own in shifts.items():
        after = np.array([0.0, *(1 - shift.unchanged for shift in own)])
        chances.append(after[np.searchsorted(series[key].dates, dates, side="right")])
    return np.asarray(np.max(chances, axis=0))
