"""Rank tests of a month against a reference, within phases, allowing for normal variation."""

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
Columns = dict[tuple[str, str], Array]  # (sensor or target, indicator) to its values, (rows,)

MONTHS = 6  # a reference of at least so many months shows how much months differ normally
LABELS = ["part", "indicator", "reference_rows", "rows"]
NUMBERS = ["shift", "statistic", "error", "p"]


@dataclass(frozen=True)
class Sample:
    """What all columns have in common: rows of the reference, followed by those of the month.

    Attributes:
        phase, experiment, period: codes from 0 on, one per row; the period is a calendar month.
        month: 1 for rows of the month under test, 0 for the reference.
    """

    phase: Codes
    experiment: Codes
    period: Codes
    month: Array

    @classmethod
    def of(cls, reference: pd.DataFrame, month: pd.DataFrame, spec: SoftSensor) -> Sample:
        """Describe two tables with keys and last_timestamp (Unix seconds)."""
        columns = [*spec.columns.keys, "last_timestamp"]
        both = pd.concat([reference[columns], month[columns]])
        stamps = pd.to_datetime(both["last_timestamp"], unit="s").to_numpy()
        return cls(
            phase=pd.factorize(both[spec.columns.phase])[0],
            experiment=pd.factorize(both[spec.columns.experiment])[0],
            period=pd.factorize(stamps.astype("datetime64[M]"))[0],
            month=np.repeat([0.0, 1.0], [len(reference), len(month)]),
        )

    def only(self, rows: NDArray[np.bool_]) -> Sample:
        """The sample restricted to some of its rows."""
        return Sample(
            phase=self.phase[rows],
            experiment=self.experiment[rows],
            period=self.period[rows],
            month=self.month[rows],
        )


def shift_tests(columns: Columns, sample: Sample, min_rows: int) -> pd.DataFrame:
    """Test each column for a shift, using the phases with enough rows on both sides.

    Args:
        columns: values of the rows of `sample`, NaN where missing.
        min_rows: rows of a phase that are enough.

    Returns:
        One row per test: part, indicator, reference_rows, rows, shift, statistic (shift / error),
        error (standard error of the shift), p.
    """
    in_reference = sample.month == 0
    months = len(np.unique(sample.period[in_reference]))
    reference_columns = {name: values[in_reference] for name, values in columns.items()}
    variation = normal_variation(reference_columns, sample.only(in_reference))
    tests = []
    for (part, indicator), values in columns.items():
        rows = enough(values, sample, min_rows)
        if not rows.any():
            continue
        tested = sample.only(rows)
        shift, sampling_error = shift_of(values[rows], tested)
        between_months = variation.get(indicator, 0.0)
        error = float(np.hypot(sampling_error, between_months))
        # The variation is estimated from a few months only: Satterthwaite's degrees of freedom.
        freedom = (months - 1) * (error / between_months) ** 4 if between_months else np.inf
        reference_rows = int((tested.month == 0).sum())
        month_rows = int((tested.month == 1).sum())
        statistic = shift / error
        p = float(2 * student.sf(abs(statistic), freedom))
        tests.append((part, indicator, reference_rows, month_rows, shift, statistic, error, p))
    table = pd.DataFrame(tests, columns=[*LABELS, *NUMBERS])
    return table.astype(dict.fromkeys(NUMBERS, float))


def enough(values: Array, sample: Sample, min_rows: int) -> NDArray[np.bool_]:
    """Rows that have a value and belong to a phase with `min_rows` values on both sides."""
    present = np.isfinite(values)
    phases = sample.phase.max() + 1
    in_reference = np.bincount(sample.phase[present & (sample.month == 0)], minlength=phases)
    in_month = np.bincount(sample.phase[present & (sample.month == 1)], minlength=phases)
    phase_has_enough = np.minimum(in_reference, in_month) >= min_rows
    return np.asarray(present & phase_has_enough[sample.phase])


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
    """The shift of the month, and its standard error under the hypothesis of no shift.

    The difference of the mean normal score, phases combined by the information that they hold (van
    Elteren, Bulletin of the International Statistical Institute 37, 1960). Its variance accounts
    for the correlation between rows of one experiment, which is estimated from the same scores.

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
    information = float(contrast @ contrast)
    variance = float(scores.var())
    if not information or not variance:
        return 0.0, float("inf")
    pairs = _pairs(np.ones(len(values)), sample.experiment)
    correlation = _pairs(scores, sample.experiment) / pairs / variance if pairs > 10 else 0.0
    spread = variance * (information + correlation * _pairs(contrast, sample.experiment))
    error = np.sqrt(max(spread, 1e-12)) / information
    return float(contrast @ scores) / information, float(error)


def _pairs(values: Array, experiment: Codes) -> float:
    """Sum of the products of all ordered pairs of different rows of one experiment."""
    totals = np.bincount(experiment, weights=values)
    return float(totals @ totals - values @ values)


def normal_variation(columns: Columns, sample: Sample) -> dict[str, float]:
    """How much an indicator differs between healthy months, beyond chance.

    The variance between the months of a dated reference by one-way random effects (method of
    moments: Searle, Casella and McCulloch, Variance Components, 1992, chapter 3), with the
    experiment as the unit, averaged over the sensors.

    Args:
        columns: values of the rows of `sample`.

    Returns:
        Indicator to the standard deviation of a new month against the reference, in normal scores;
        without those that have values in fewer than MONTHS months.
    """
    variances: dict[str, list[float]] = {}
    for (_, indicator), values in columns.items():
        present = np.isfinite(values)
        rows = sample.only(present)
        if len(np.unique(rows.period)) >= MONTHS:
            variance = _variance_between_months(values[present], rows)
            variances.setdefault(indicator, []).append(variance)
    months = len(np.unique(sample.period))
    variation = {}
    for indicator, of_sensors in variances.items():
        variance = max(0.0, float(np.mean(of_sensors)))
        variation[indicator] = float(np.sqrt(variance * (1 + 1 / months)))
    return variation


def _variance_between_months(values: Array, sample: Sample) -> float:
    """The component of variance between months of the experiments' mean scores."""
    experiments, place, sizes = np.unique(
        sample.experiment, return_inverse=True, return_counts=True
    )
    scores = normal_scores(values, sample.phase)
    means = np.bincount(place, weights=scores) / sizes
    period = np.empty(len(experiments), dtype=np.intp)
    period[place] = sample.period
    return _between(means, period)


def _between(score: Array, period: Codes) -> float:
    """Variance component between periods; negative where they differ less than by chance."""
    _, place, sizes = np.unique(period, return_inverse=True, return_counts=True)
    rows, periods = len(score), len(sizes)
    means = np.bincount(place, weights=score) / sizes
    mean_square_within = ((score - means[place]) ** 2).sum() / (rows - periods)
    mean_square_between = (sizes * (means - score.mean()) ** 2).sum() / (periods - 1)
    effective_size = (rows - (sizes**2).sum() / rows) / (periods - 1)
    return float((mean_square_between - mean_square_within) / effective_size)
