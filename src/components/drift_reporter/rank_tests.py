"""Rank tests of a month against a reference, within phases, allowing for normal variation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtr  # pylint: disable=no-name-in-module

from src.components.drift_reporter.sample import (
    Array,
    Columns,
    Sample,
    contrast_of,
    enough,
    normal_scores,
    pair_products,
)
from src.components.drift_reporter.variation import Excess, combined, excess

LABELS = ["part", "indicator", "reference_rows", "rows"]
NUMBERS = ["shift", "statistic", "error", "p"]


def holm(p: ArrayLike) -> Array:
    """Chances that are right for all of some tests together, (tests,).

    Step-down (Holm, Scandinavian Journal of Statistics 6, 1979). That of statsmodels is the same,
    but collects garbage at every call, which takes most of the time of a report.

    Args:
        p: of each test, (tests,); none is NaN.
    """
    each = np.asarray(p, dtype=float)
    order = np.argsort(each, kind="stable")
    factors = np.arange(len(each), 0, -1)
    corrected = np.empty(len(each))
    corrected[order] = np.minimum(np.maximum.accumulate(factors * each[order]), 1.0)
    return corrected


def shift_tests(columns: Columns, sample: Sample, min_rows: int) -> pd.DataFrame:
    """Test each column for a shift, using the phases with enough rows on both sides.

    Args:
        columns: values of the rows of `sample`, NaN where missing.
        min_rows: rows of a phase that are enough.

    Returns:
        One row per test: part, indicator, reference_rows, rows, shift, statistic (shift / error),
        error (standard error of the shift), p.
    """
    tested = {name: enough(values, sample, min_rows) for name, values in columns.items()}
    scores: Columns = {}
    for name, rows in tested.items():
        if rows.any():
            scores[name] = np.full(len(rows), np.nan)
            scores[name][rows] = normal_scores(columns[name][rows], sample.phase[rows])
    beyond = excess(scores, sample)
    tests = []
    for name, of_column in scores.items():
        rows = tested[name]
        shift, sampling_error = _shift_of_scores(of_column[rows], sample.only(rows))
        error, freedom = combined(sampling_error, beyond.get(name, Excess()))
        tests.append(test_row(name, sample.month[rows], shift, error, freedom))
    return table_of(tests)


def test_row(
    name: tuple[str, str], month: Array, shift: float, error: float, freedom: float
) -> tuple[str | int | float, ...]:
    """One row of a table of tests: LABELS and NUMBERS.

    Args:
        month: of the tested rows, as in `Sample`.
        freedom: degrees of freedom of the error.
    """
    statistic = shift / error
    p = float(2 * stdtr(freedom, -abs(statistic)))
    return (*name, int((month == 0).sum()), int((month == 1).sum()), shift, statistic, error, p)


def table_of(tests: list[tuple[str | int | float, ...]]) -> pd.DataFrame:
    """Rows of tests as a table, also where there are none."""
    table = pd.DataFrame(tests, columns=[*LABELS, *NUMBERS])
    return table.astype(dict.fromkeys(NUMBERS, float))


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
    return _shift_of_scores(normal_scores(values, sample.phase), sample)


def _shift_of_scores(scores: Array, sample: Sample) -> tuple[float, float]:
    contrast = contrast_of(sample)
    information = float(contrast @ contrast)
    variance = float(scores.var())
    if not information or not variance:
        return 0.0, float("inf")
    pairs = pair_products(np.ones(len(scores)), sample.experiment)
    alike = pair_products(scores, sample.experiment) / pairs / variance if pairs > 10 else 0.0
    spread = variance * (information + alike * pair_products(contrast, sample.experiment))
    error = np.sqrt(max(spread, 1e-12)) / information
    return float(contrast @ scores) / information, float(error)
