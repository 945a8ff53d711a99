"""Rows of a reference and of a month side by side, as the tests see them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from src.soft_sensor import SoftSensor

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Mask = NDArray[np.bool_]
Columns = dict[tuple[str, str], Array]  # (sensor or target, indicator) to its values, (rows,)


@dataclass(frozen=True)
class Sample:
    """What all columns have in common: rows of the reference, followed by those of the month.

    Attributes:
        phase, experiment, period: codes from 0 on, one per row; the period is a calendar month.
        month: 1 for rows of the month under test, 0 for the reference.
        stamp: end of the phase, Unix seconds.
    """

    phase: Codes
    experiment: Codes
    period: Codes
    month: Array
    stamp: Array

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
            stamp=both["last_timestamp"].to_numpy(dtype=float),
        )

    def only(self, rows: Mask) -> Sample:
        """The sample restricted to some of its rows."""
        return Sample(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def enough(values: Array, sample: Sample, min_rows: int) -> Mask:
    """Rows that have a value and belong to a phase with `min_rows` values on both sides."""
    present = np.isfinite(values)
    phases = sample.phase.max() + 1
    in_reference = np.bincount(sample.phase[present & (sample.month == 0)], minlength=phases)
    in_month = np.bincount(sample.phase[present & (sample.month == 1)], minlength=phases)
    phase_has_enough = np.minimum(in_reference, in_month) >= min_rows
    return np.asarray(present & phase_has_enough[sample.phase])


def normal_scores(values: Array, phase: Codes) -> Array:
    """Normal scores of the ranks within each phase: standard normal, whatever was measured.

    The normal quantile of (rank - 1/2) / n, equal values sharing their mean rank (after van der
    Waerden, Indagationes Mathematicae 14, 1952).
    """
    scores = np.empty(len(values))
    for code in np.unique(phase):
        rows = phase == code
        _, place, counts = np.unique(values[rows], return_inverse=True, return_counts=True)
        below = counts.cumsum() - counts
        scores[rows] = norm.ppf((below + counts / 2) / counts.sum())[place]
    return scores


def contrast_of(sample: Sample) -> Array:
    """Month minus reference within each phase: the share of its rows taken off `sample.month`."""
    contrast = np.empty(len(sample.month))
    for code in np.unique(sample.phase):
        rows = sample.phase == code
        contrast[rows] = sample.month[rows] - sample.month[rows].mean()
    return contrast


def pair_products(values: Array, experiment: Codes) -> float:
    """Sum of the products of all ordered pairs of different rows of one experiment."""
    totals = np.bincount(experiment, weights=values)
    return float(totals @ totals - values @ values)
