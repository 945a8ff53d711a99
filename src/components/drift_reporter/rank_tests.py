"""Rank tests of a month against a reference, within phases, with what is usual allowed for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from src.soft_sensor import SoftSensor

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Indicators = dict[tuple[str, str], Array]  # (sensor or target, indicator) to its values, (rows,)

MONTHS = 6  # from that many on, the months of a reference say how much is usual
COLUMNS = ["part", "indicator", "reference_rows", "rows", "shift", "statistic", "error", "p"]


@dataclass(frozen=True)
class Sample:
    """What rows share: those of the reference, then those of the month.

    Attributes:
        phase, experiment, period: codes from 0 on, one a row; the period is a calendar month.
        month: 1 for rows of the month that is tested, 0 for the reference.
    """

    phase: Codes
    experiment: Codes
    period: Codes
    month: Array

    @classmethod
    def of(cls, reference: pd.DataFrame, month: pd.DataFrame, spec: SoftSensor) -> Sample:
        """Describe two tables with keys and last_timestamp (Unix seconds)."""
        both = pd.concat(
            [table[[*spec.columns.keys, "last_timestamp"]] for table in (reference, month)]
        )
        stamps = pd.to_datetime(both["last_timestamp"], unit="s").to_numpy()
        return cls(
            phase=pd.factorize(both[spec.columns.phase])[0],
            experiment=pd.factorize(both[spec.columns.experiment])[0],
            period=pd.factorize(stamps.astype("datetime64[M]"))[0],
            month=np.repeat([0.0, 1.0], [len(reference), len(month)]),
        )

    def only(self, rows: NDArray[np.bool_]) -> Sample:
        """Some of the rows."""
        return Sample(*(values[rows] for values in vars(self).values()))


def shift_tests(columns: Indicators, sample: Sample, least: int) -> pd.DataFrame:
    """One test a column, over the phases that have rows enough on both sides.

    Args:
        columns: values of the rows of `sample`, NaN where missing.
        least: rows of a phase that are enough.

    Returns:
        The COLUMNS: error is that of the shift, statistic is shift / error.
    """
    usual = sample.month == 0
    months = len(np.unique(sample.period[usual]))
    known = {name: values[usual] for name, values in columns.items()}
    wander = usual_wander(known, sample.only(usual))
    tests = []
    for (part, indicator), values in columns.items():
        rows = enough(values, sample, least)
        if not rows.any():
            continue
        tested = sample.only(rows)
        shift, chance = shift_of(values[rows], tested)
        allowed = wander.get(indicator, 0.0)
        error = float(np.hypot(chance, allowed))
        # The wander is known from a few months only: Satterthwaite's degrees of freedom.
        freedom = (months - 1) * (error / allowed) ** 4 if allowed else np.inf
        numbers = (tested.month == 0).sum(), (tested.month == 1).sum()
        p = 2 * student.sf(abs(shift / error), freedom)
        tests.append((part, indicator, *numbers, shift, shift / error, error, float(p)))
    return pd.DataFrame(tests, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[4:], float))


def enough(values: Array, sample: Sample, least: int) -> NDArray[np.bool_]:
    """Rows that have a value and are of a phase with `least` of them on both sides."""
    known, size = np.isfinite(values), sample.phase.max() + 1
    counts = [
        np.bincount(sample.phase[known & (sample.month == side)], minlength=size) for side in (0, 1)
    ]
    return np.asarray(known & (np.minimum(*counts) >= least)[sample.phase])


def normal_scores(values: Array, phase: Codes) -> Array:
    """Normal scores of the ranks within each phase: standard normal, whatever was measured.

    The normal quantile of (rank - 1/2) / n (after van der Waerden, Indagationes Mathematicae 14,
    1952).
    """
    scores = np.empty(len(values))
    for code in np.unique(phase):
        rows = phase == code
        scores[rows] = norm.ppf((rankdata(values[rows]) - 0.5) / rows.sum())
    return scores


def shift_of(values: Array, sample: Sample) -> tuple[float, float]:
    """By how much the month is shifted, and the standard error when in truth it is not.

    The difference of the mean normal score, phases combined by the information that they hold (van
    Elteren, Bulletin of the International Statistical Institute 37, 1960). Its variance allows for
    rows of one experiment being alike; that correlation is estimated from the same scores.

    Args:
        values: (rows,), all finite.

    Returns:
        Shift in standard deviations within a phase, and its standard error; infinite when the
        column is constant.
    """
    scores = normal_scores(values, sample.phase)
    contrast = np.empty(len(values))
    for code in np.unique(sample.phase):
        rows = sample.phase == code
        contrast[rows] = sample.month[rows] - sample.month[rows].mean()
    information, variance = float(contrast @ contrast), float(scores.var())
    if not information or not variance:
        return 0.0, float("inf")
    pairs = _pairs(np.ones(len(values)), sample.experiment)
    alike = _pairs(scores, sample.experiment) / pairs / variance if pairs > 10 else 0.0
    spread = variance * (information + alike * _pairs(contrast, sample.experiment))
    error = np.sqrt(max(spread, 1e-12)) / information
    return float(contrast @ scores) / information, float(error)


def _pairs(values: Array, experiment: Codes) -> float:
    """Sum of the products of all ordered pairs of different rows of one experiment."""
    totals = np.bincount(experiment, weights=values)
    return float(totals @ totals - values @ values)


def usual_wander(columns: Indicators, sample: Sample) -> dict[str, float]:
    """How much an indicator changes from one healthy month to the next, beyond chance.

    The variance between the months of a dated reference by one-way random effects (method of
    moments: Searle, Casella and McCulloch, Variance Components, 1992, chapter 3), with the
    experiment as the unit, averaged over the sensors.

    Args:
        columns: the rows of `sample` by (part, indicator).

    Returns:
        Indicator to the standard deviation of a new month against the reference, in normal scores;
        none where fewer than MONTHS months have values.
    """
    months = len(np.unique(sample.period))
    variances: dict[str, list[float]] = {}
    for (_, indicator), values in columns.items():
        known = np.isfinite(values)
        rows = sample.only(known)
        if len(np.unique(rows.period)) < MONTHS:
            continue
        experiments, place, sizes = np.unique(
            rows.experiment, return_inverse=True, return_counts=True
        )
        means = np.bincount(place, weights=normal_scores(values[known], rows.phase)) / sizes
        period = np.empty(len(experiments), dtype=np.intp)
        period[place] = rows.period
        variances.setdefault(indicator, []).append(_between(means, period))
    return {
        indicator: float(np.sqrt(max(0.0, float(np.mean(found))) * (1 + 1 / months)))
        for indicator, found in variances.items()
    }


def _between(score: Array, period: Codes) -> float:
    """Variance component between periods, below 0 where chance alone would give more."""
    _, place, sizes = np.unique(period, return_inverse=True, return_counts=True)
    means, count = np.bincount(place, weights=score) / sizes, len(sizes)
    within = ((score - means[place]) ** 2).sum() / (len(score) - count)
    among = (sizes * (means - score.mean()) ** 2).sum() / (count - 1)
    return float((among - within) / ((len(score) - (sizes**2).sum() / len(score)) / (count - 1)))
