"""How much healthy months differ beyond what independent experiments would.

Processes are slow: water, products and fouling keep neighbouring experiments alike, and months
differ. A reference of MONTHS months or more shows by how much. A shorter one does not; then the
slowest movements within it and within the month stand in for it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from src.components.drift_reporter.sample import Array, Codes, Columns, Sample

MONTHS = 6  # a reference of at least so many months shows how much months differ normally
HALF_WAVES = 2  # the slowest movements of a series of experiments that are looked at
LEAST_SERIES = 8  # experiments in which a slow movement can be seen


@dataclass(frozen=True)
class Excess:
    """What a month's mean may vary beyond chance.

    Attributes:
        variance: of the difference between the means of a new month and of the reference.
        freedom: degrees of freedom of this estimate.
    """

    variance: float = 0.0
    freedom: float = float("inf")


class _Estimate(NamedTuple):
    """Estimates of the excess of one column; None where there is nothing to estimate it from."""

    of_reference: float
    of_month: float | None  # a fault begins in it, so it counts for the other sensors only
    freedom: float  # degrees of freedom of each


def excess(columns: Columns, sample: Sample) -> dict[tuple[str, str], Excess]:
    """The excess of each column: half its own, half the mean of its indicator over all sensors.

    The estimate of one sensor is rough, and that of all sensors misses one that is slower than the
    others. The degrees of freedom are those of this mean, if all sensors vary alike.

    Args:
        columns: scores of the rows of `sample`, NaN where missing.
    """
    estimates: dict[str, dict[str, _Estimate]] = defaultdict(dict)
    for (part, indicator), scores in columns.items():
        present = np.isfinite(scores)
        of_column = scores[present], sample.only(present)
        own = _between_months(*of_column) or _slow_movement(*of_column)
        if own is not None:
            estimates[indicator][part] = own
    return {
        (part, indicator): _of_one(part, of_parts)
        for indicator, of_parts in estimates.items()
        for part in of_parts
    }


def _of_one(part: str, estimates: dict[str, _Estimate]) -> Excess:
    """The excess of one sensor by its own estimate and those of all."""
    own = estimates[part]
    others = [each for name, each in estimates.items() if name != part]
    months = [each.of_month for each in others if each.of_month is not None]
    known = [own.of_reference, *(each.of_reference for each in others), *months]
    freedom = 4 / (1 / own.freedom + 3 / (own.freedom * len(known)))
    return Excess(max(0.0, (own.of_reference + float(np.mean(known))) / 2), freedom)


def combined(sampling_error: float, beyond: Excess) -> tuple[float, float]:
    """Standard error and degrees of freedom of sampling and excess together (Satterthwaite)."""
    error = float(np.hypot(sampling_error, np.sqrt(beyond.variance)))
    if not beyond.variance or not np.isfinite(error):
        return error, float("inf")
    return error, float(beyond.freedom * (error**2 / beyond.variance) ** 2)


def _months(sample: Sample) -> int:
    return len(np.unique(sample.period[sample.month == 0]))


def _between_months(scores: Array, sample: Sample) -> _Estimate | None:
    """Variance of a new month against the reference, by the months of the reference.

    One-way random effects (method of moments: Searle, Casella and McCulloch, Variance Components,
    1992, chapter 3), with the experiment as the unit.
    """
    reference = sample.month == 0
    dated, months = sample.only(reference), _months(sample)
    if months < MONTHS:
        return None
    experiments, place, sizes = np.unique(dated.experiment, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=_centred(scores[reference], dated.phase)) / sizes
    period = np.empty(len(experiments), dtype=np.intp)
    period[place] = dated.period
    return _Estimate(_between(means, period) * (1 + 1 / months), None, months - 1.0)


def _between(score: Array, period: Codes) -> float:
    """Variance component between periods; negative where they differ less than by chance."""
    _, place, sizes = np.unique(period, return_inverse=True, return_counts=True)
    rows, periods = len(score), len(sizes)
    if rows <= periods:
        return 0.0
    means = np.bincount(place, weights=score) / sizes
    mean_square_within = ((score - means[place]) ** 2).sum() / (rows - periods)
    mean_square_between = (sizes * (means - score.mean()) ** 2).sum() / (periods - 1)
    effective_size = (rows - (sizes**2).sum() / rows) / (periods - 1)
    return float((mean_square_between - mean_square_within) / effective_size)


def _slow_movement(scores: Array, sample: Sample) -> _Estimate | None:
    """Variance of a new month against the reference, by the slowest half waves of each.

    The spectrum near frequency 0 is what a mean varies by (Müller, Journal of Econometrics 141,
    2007): of independent experiments that is their variance, of autocorrelated ones more.
    """
    excesses, chance = [], 0.0
    for side in (0, 1):
        rows = sample.month == side
        series = _in_order(scores[rows], sample.only(rows))
        if len(series) < LEAST_SERIES or not series.var():
            return None
        variance = series.var(ddof=1)
        excesses.append(float((_half_waves(series) ** 2).mean() / variance - 1))
        chance += variance / len(series)
    return _Estimate(excesses[0] * chance, excesses[1] * chance, HALF_WAVES)


def _in_order(scores: Array, sample: Sample) -> Array:
    """Mean score of each experiment, in the order of time, around the mean of its phases."""
    experiments, place, sizes = np.unique(
        sample.experiment, return_inverse=True, return_counts=True
    )
    means = np.bincount(place, weights=_centred(scores, sample.phase)) / sizes
    begin = np.full(len(experiments), np.inf)
    np.minimum.at(begin, place, np.nan_to_num(sample.stamp, nan=np.inf))
    series = means[np.argsort(begin, kind="stable")]
    return np.asarray(series - series.mean())


def _half_waves(series: Array) -> Array:
    """Amplitudes of the slowest cosines; of white noise their variance is that of the series."""
    time = (np.arange(len(series)) + 0.5) / len(series)
    waves = np.cos(np.pi * np.outer(np.arange(1, HALF_WAVES + 1), time))
    return np.asarray(np.sqrt(2 / len(series)) * waves @ series)


def _centred(scores: Array, phase: Codes) -> Array:
    """Scores minus the mean of their phase."""
    _, place, sizes = np.unique(phase, return_inverse=True, return_counts=True)
    return np.asarray(scores - (np.bincount(place, weights=scores) / sizes)[place])
