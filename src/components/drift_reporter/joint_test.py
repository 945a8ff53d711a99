"""Which sensor moved by itself? The levels of all sensors are tested together.

A fault of one sensor moves its level alone; a change of the process moves the levels of several.
For sensor k we ask what is left of its shift when the other sensors have explained what they can:
the coefficient of the month in the regression of its level on the others and the month. Its squared
t is the likelihood ratio of "only sensor k has moved" (reconstruction-based contribution: Alcala
and Qin, Automatica 45, 2009): a peer's fault, which leaks into a regression on one's peers, cannot
make it larger than that of the sensor at fault. Levels are normal scores within their phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.stats import f as fisher

from src.components.drift_reporter.rank_tests import table_of, test_row
from src.components.drift_reporter.sample import (
    Array,
    Columns,
    Mask,
    Sample,
    contrast_of,
    enough,
    normal_scores,
    pair_products,
)
from src.components.drift_reporter.variation import Excess, combined, excess

PEER = "peer"
ROWS_A_PEER = 10  # of a phase, from which on peers have slopes of their own in it
ROWS_A_SLOPE = 3  # below which no peers are used


@dataclass(frozen=True)
class Levels:
    """The levels of some sensors, side by side.

    Attributes:
        scores: sensor to its normal scores, (rows,), NaN where it is not tested.
        sample: describes the rows.
    """

    scores: dict[str, Array]
    sample: Sample

    @classmethod
    def of(cls, levels: dict[str, Array], sample: Sample, min_rows: int) -> Levels:
        """Rank levels, (rows,), within the phases that have `min_rows` values on both sides."""
        scores = {}
        for name, values in levels.items():
            rows = enough(values, sample, min_rows)
            if rows.any():
                scores[name] = np.full(len(rows), np.nan)
                scores[name][rows] = normal_scores(values[rows], sample.phase[rows])
        return cls(scores, sample)

    def only(self, names: list[str]) -> Levels:
        """Those of some sensors, as far as they are tested."""
        chosen = {name: scores for name, scores in self.scores.items() if name in names}
        return self if len(chosen) == len(self.scores) else Levels(chosen, self.sample)

    @cached_property
    def shifts(self) -> dict[str, OwnShift]:
        """What each sensor's level moved by itself."""
        return {name: _own_shift(name, self) for name in self.scores}

    @cached_property
    def _errors(self) -> dict[str, tuple[float, float]]:
        return _errors(self.shifts, self.sample)

    @cached_property
    def tests(self) -> pd.DataFrame:
        """One row per sensor: what `rank_tests.shift_tests` returns, of the indicator PEER."""
        tests = []
        for name, own in self.shifts.items():
            month = self.sample.month[own.rows]
            tests.append(test_row((name, PEER), month, own.shift, *self._errors[name]))
        return table_of(tests)

    @cached_property
    def ratios(self) -> dict[str, float]:
        """The likelihood ratio of "only this sensor has moved", as a squared t.

        All are taken by the same allowance for what is not independent, as its estimates for each
        sensor are rough.
        """
        return {
            name: (own.shift / own.independent_error) ** 2 / self._inflation
            for name, own in self.shifts.items()
            if np.isfinite(own.independent_error)
        }

    @cached_property
    def _inflation(self) -> float:
        """By how much variances are larger than those of independent rows."""
        ratios = [
            (self._errors[name][0] / own.independent_error) ** 2
            for name, own in self.shifts.items()
            if np.isfinite(own.error)
        ]
        return max(1.0, float(np.mean(ratios))) if ratios else 1.0

    @cached_property
    def joint(self) -> Joint:
        """Whether the levels have shifted at all (Hotelling, Annals of Mathematical Statistics 2,
        1931)."""
        table = np.column_stack(list(self.scores.values()))
        present = np.asarray(np.isfinite(table).any(axis=1))
        sample = self.sample.only(present)
        phases = len(np.unique(sample.phase))
        scores = _centred(self.scores, list(self.scores), present, sample)
        contrast = contrast_of(sample)
        explained = float(contrast @ scores @ np.linalg.lstsq(scores, contrast, rcond=None)[0])
        share = min(explained / float(contrast @ contrast), 1 - 1e-12)
        sensors = scores.shape[1]
        rows = max(len(contrast) - sensors - phases, 1)
        ratio = share / sensors / ((1 - share) / rows) / self._inflation
        freedom = max(len(np.unique(sample.experiment)) - sensors - phases, 1)
        p = float(fisher.sf(ratio, sensors, freedom))
        return Joint(
            max(0.0, (ratio - 1) * sensors), p, int((sample.month == 0).sum()), len(contrast)
        )


@dataclass(frozen=True)
class OwnShift:
    """What one sensor's level moved by itself.

    Attributes:
        rows: those that are tested, as a mask of the rows of the sample.
        shift: in standard deviations within a phase.
        error: of the shift, by the variation between experiments; infinite for a constant level.
        independent_error: the same if all rows were independent.
        freedom: degrees of freedom of the error.
        residuals: (tested rows,), what neither the peers nor the shift explain.
    """

    rows: Mask
    shift: float
    error: float
    independent_error: float
    freedom: float
    residuals: Array


@dataclass(frozen=True)
class Joint:
    """The shift of several levels together.

    Attributes:
        size: squared distance in standard errors beyond what chance gives, 0 where it is less.
        reference_rows, rows: tested ones of the reference, and of both.
    """

    size: float
    p: float
    reference_rows: int
    rows: int


def given_level_tests(
    columns: Columns, levels: dict[str, Array], sample: Sample, min_rows: int
) -> pd.DataFrame:
    """Test columns that vary with the level of their sensor for a shift beyond that.

    Args:
        columns, levels: values of the rows of `sample`, NaN where missing.

    Returns:
        What `rank_tests.shift_tests` returns.
    """
    tests = []
    for indicator in dict.fromkeys(indicator for _, indicator in columns):
        shifts = {}
        for (part, name), values in columns.items():
            if name == indicator:
                side_by_side = {indicator: values, f"{part} {PEER}": levels[part]}
                of_both = Levels.of(side_by_side, sample, min_rows)
                if indicator in of_both.scores:
                    shifts[part] = _own_shift(indicator, of_both)
        errors = _errors(shifts, sample)
        for part, own in shifts.items():
            month = sample.month[own.rows]
            tests.append(test_row((part, indicator), month, own.shift, *errors[part]))
    return table_of(tests)


def _errors(shifts: dict[str, OwnShift], sample: Sample) -> dict[str, tuple[float, float]]:
    """Standard error of each shift and its degrees of freedom, all allowed for."""
    residuals: Columns = {}
    for name, own in shifts.items():
        residuals[name, ""] = np.full(len(sample.month), np.nan)
        residuals[name, ""][own.rows] = own.residuals
    beyond = excess(residuals, sample)
    errors = {}
    for name, own in shifts.items():
        error, freedom = combined(own.error, beyond.get((name, ""), Excess()))
        errors[name] = error, min(freedom, own.freedom)
    return errors


def _own_shift(name: str, levels: Levels) -> OwnShift:
    rows = np.isfinite(levels.scores[name])
    sample = levels.sample.only(rows)
    level, contrast = levels.scores[name][rows], contrast_of(sample)
    peers = _peers(name, rows, sample, levels)
    both = np.column_stack([level, contrast])
    if peers.shape[1]:
        both = both - peers @ np.linalg.lstsq(peers, both, rcond=None)[0]
    unexplained, own_contrast = both.T
    information = float(own_contrast @ own_contrast)
    phases = len(np.unique(sample.phase))
    freedom = len(level) - peers.shape[1] - phases - 1
    if information < 1e-9 or freedom < 1:
        return OwnShift(rows, 0.0, float("inf"), float("inf"), 1.0, unexplained)
    shift = float(own_contrast @ unexplained) / information
    residuals = unexplained - shift * own_contrast
    variance = float(residuals @ residuals) / freedom
    if variance < 1e-12:
        return OwnShift(rows, 0.0, float("inf"), float("inf"), 1.0, residuals)
    pairs = pair_products(np.ones(len(level)), sample.experiment)
    alike = pair_products(residuals, sample.experiment) / pairs / variance if pairs > 10 else 0.0
    together = max(alike, 0.0) * pair_products(own_contrast, sample.experiment)
    independent = np.sqrt(variance / information)
    return OwnShift(
        rows=rows,
        shift=shift,
        error=float(independent * np.sqrt(max(1 + together / information, 0.1))),
        independent_error=float(independent),
        freedom=float(max(len(np.unique(sample.experiment)) - peers.shape[1] - phases, 1)),
        residuals=residuals,
    )


def _peers(name: str, rows: Mask, sample: Sample, levels: Levels) -> Array:
    """What may explain a level, (tested rows, slopes).

    The other sensors, in each phase with slopes of their own where there are rows enough for it.
    """
    others = [other for other in levels.scores if other != name]
    if not others:
        return np.empty((int(rows.sum()), 0))
    scores = _centred(levels.scores, others, rows, sample)
    phases, counts = np.unique(sample.phase, return_counts=True)
    if counts.min() >= ROWS_A_PEER * len(others):
        return np.hstack([scores * (sample.phase == phase)[:, None] for phase in phases])
    return scores if len(scores) >= ROWS_A_SLOPE * len(others) else scores[:, :0]


def _centred(scores: dict[str, Array], names: list[str], rows: Mask, sample: Sample) -> Array:
    """Scores of some sensors in the tested rows, around their phase's mean; 0 where missing."""
    table = np.nan_to_num(np.column_stack([scores[name][rows] for name in names]))
    for phase in np.unique(sample.phase):
        own = sample.phase == phase
        table[own] -= table[own].mean(axis=0)
    return np.asarray(table)
