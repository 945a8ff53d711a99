"""An axis of a picture: values to pixels, and round numbers to write beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LEAST = 1e-300  # nothing can be divided by much less
STEPS = (1, 2, 5, 10)  # times a power of ten: what the marks of an axis lie apart


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`.

    Attributes:
        log: distances are those of log(1 + value), for values of at least 0.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value, at most at an end of the axis; rounded to a tenth."""
        within = min(max(value, self.low), self.high)
        share = (self._scaled(within) - self._scaled(self.low)) / self._length
        return round(self.start + share * (self.end - self.start), 1)

    def _scaled(self, value: float) -> float:
        return math.log1p(value) if self.log else value

    @property
    def _length(self) -> float:
        return self._scaled(self.high) - self._scaled(self.low)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values along it, about `count`."""
        if self.log and self.high >= 10 * (self.low + 1):
            decades = range(math.floor(math.log10(self.high)) + 1)
            values = [0.0, *(10.0**decade for decade in decades)]
            if self.high < 100 * (self.low + 1):
                values += [3 * value for value in values[1:]]
        else:
            step = _step((self.high - self.low) / count)
            first = math.ceil(self.low / step)
            values = [step * (first + n) for n in range(2 * count)]
        return [value for value in sorted(values) if self.low <= value <= self.high]


def _step(least: float) -> float:
    """The smallest round number that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))


def spanning(
    values: Iterable[float], start: float, end: float, log: bool = False, margin: float = 0.06
) -> Axis:
    """An axis on which all values lie, with a margin (share of its length) at both ends.

    Args:
        values: NaN and infinite ones do not count; without any others it goes from 0 to 1.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if log:
        low = max(low, 0.0)
        high = max(high, low)
        room = margin * (math.log1p(high) - math.log1p(low)) or 0.1
        return Axis(
            max(0.0, math.expm1(math.log1p(low) - room)),
            math.expm1(math.log1p(high) + room),
            start,
            end,
            log,
        )
    room = margin * (high - low) or 0.5 * abs(high)
    if room < LEAST:
        room = 0.5
    return Axis(low - room, high + room, start, end)
