"""The state of adaptation as of a moment, from the errors of the phases analysed until then.

It depends on nothing else: the same errors give the same state, in whatever order they arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from src.components.adaptation.shift import Days, Shift, changed, followed
from src.components.adaptation.slope import fitted
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import FROM, TO, VALUES, Correction, Slopes
from src.components.predictor.ensemble import Array, to_scale
from src.components.predictor.intervals import group_weights
from src.components.transformation import censoring
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

DAY = 86_400  # s
OLDEST = 365  # days; older values no longer count
LEAST = 5  # out-of-fold errors that tell how large the usual one is

# Chosen by looking at figures, see `shift`.
HALF_LIFE = 60  # days in which the weight of an error among those that set the width is halved
KEPT = 0.2  # weight of a training error when something has surely changed

# Columns of `State.levels` (one row for each target and phase) and `State.steps` (for each day).
PHASE, TARGET, USUAL, SHIFT, DEVIATION = "phase", "target", "usual", "shift", "deviation"
UNCHANGED, WIDENING, DATE, ERROR = "unchanged", "widening", "day", "error"
SLOPE, PIVOT, LOW, HIGH = "slope", "pivot", "low", "high"
LEVELS = [
    *(PHASE, TARGET, USUAL, SHIFT, DEVIATION, UNCHANGED, WIDENING, VALUES),
    *(SLOPE, PIVOT, LOW, HIGH),
]
STEPS = [PHASE, TARGET, DATE, ERROR, VALUES, SHIFT, DEVIATION, UNCHANGED]


@dataclass(frozen=True)
class State:
    """What the laboratory has shown of a model.

    Attributes:
        as_of: the moment; later values do not count.
        levels: for each PHASE (its value) and TARGET (its name) the USUAL error on the working
            scale, the present SHIFT of the errors and its uncertainty (DEVIATION), both in units of
            the usual error, the chance that nothing is shifted (UNCHANGED), the factor of the
            interval's width (WIDENING), the number of laboratory VALUES, and how the bias depends
            on the prediction (SLOPE, PIVOT, LOW, HIGH, see `Slopes`).
        steps: after each laboratory day (DATE) the median ERROR of the day, the number of VALUES,
            SHIFT, DEVIATION and UNCHANGED; oldest first.
        shifts: the shift of each phase value and target.
        evidence: see `Correction.evidence`.
    """

    as_of: pd.Timestamp
    levels: pd.DataFrame
    steps: pd.DataFrame
    shifts: dict[tuple[int | str, str], Shift]
    evidence: pd.DataFrame

    def correction(self, spec: SoftSensor) -> Correction:
        """What it changes about predictions."""
        levels = self.levels.assign(bias=self.levels[SHIFT] * self.levels[USUAL])

        def of_each(column: str) -> pd.DataFrame:
            return levels.pivot(index=PHASE, columns=TARGET, values=column)[spec.target_names]

        slopes = Slopes(*(of_each(column) for column in (SLOPE, PIVOT, LOW, HIGH)))
        return Correction(of_each("bias"), of_each(WIDENING), self.evidence, slopes)


@dataclass(frozen=True)
class Usual:
    """Out-of-fold errors of one target in one phase.

    Attributes:
        deviation: their standard deviation on the working scale; 0 where it is not known.
        sizes: the errors in units of it, without their signs.
        weights: each group counts as one, see `group_weights`.
        low, high: the ends of the predictions on the working scale; NaN without any.
    """

    deviation: float
    sizes: Array
    weights: Array
    low: float = np.nan
    high: float = np.nan


UsualErrors = dict[tuple[int | str, str], Usual]


def errors(predicted: pd.DataFrame, measured: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Laboratory value minus prediction on the working scale, rows by targets.

    A value that is a limit of the assay counts as in `censoring.deviation`.

    Args:
        predicted: targets in their units.
        measured: `Target.measured` and `Target.censored`.
    """
    columns = {}
    for target in spec.targets:
        values = measured[[target.measured, target.censored]]
        values = values.rename(columns={target.measured: target.name})
        on_scale = to_scale(predicted[target.name], target), to_scale(values[target.name], target)
        columns[target.name] = -censoring.deviation(*on_scale, censoring.marks(values, target))
    return pd.DataFrame(columns, index=predicted.index)


def with_predicted(off: pd.DataFrame, alone: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Errors, and as `Target.alone` the predictions that they belong to, on the working scale.

    Args:
        off: see `errors`.
        alone: targets in their units as the model alone predicts them.
    """
    columns = {each.alone: to_scale(alone[each.name], each) for each in spec.targets}
    return off.join(pd.DataFrame(columns, index=alone.index))


def usual_errors(bundle: Bundle, spec: SoftSensor) -> UsualErrors:
    """How large the errors of a bundle are without any change, by phase value and target."""
    usual, rows = {}, bundle.reference
    off = errors(rows, rows, spec)
    for phase, target in product(spec.phases, spec.targets):
        own = off.loc[rows[spec.columns.phase] == phase.value, target.name].dropna()
        deviation = float(own.std()) if len(own) >= LEAST else 0.0
        sizes = (own.abs() / deviation).to_numpy() if deviation > 0 else np.empty(0)
        weights = group_weights(rows.loc[own.index, GROUP])
        predicted = to_scale(rows.loc[own.index, target.name], target)
        ends = float(predicted.min()), float(predicted.max())
        usual[phase.value, target.name] = Usual(deviation, sizes, weights, *ends)
    return usual


def replay(known: pd.DataFrame, usual: UsualErrors, spec: SoftSensor, as_of: pd.Timestamp) -> State:
    """The state as of a moment.

    Args:
        known: keys, last_timestamp and for each target what `with_predicted` gives of phases that
            were analysed, NaN where it was not measured; in any order.
    """
    age = as_of.timestamp() - known["last_timestamp"]
    counted = known[age.between(0, OLDEST * DAY)]
    counted = counted.sort_values(["last_timestamp", *spec.columns.keys], kind="stable")
    values = {key: _values(counted, *key, expected, spec) for key, expected in usual.items()}
    series = {key: _days(own) for key, own in values.items()}
    after = followed(series)
    levels, steps, shifts = list[dict[str, Any]](), list[dict[str, Any]](), {}
    for (phase, target), expected in usual.items():
        key, days = (phase, target), series[phase, target]
        shifts[key] = after[key][-1] if after[key] else Shift()
        slope = fitted(days, shifts[key].mean, changed(after, series, days.dates))
        recent = _recent(values[key], days, after[key], as_of)
        levels.append(
            {
                PHASE: phase,
                TARGET: target,
                USUAL: expected.deviation,
                **_told(shifts[key], len(recent.sizes)),
                WIDENING: _widening(shifts[key], recent, expected, spec.training.coverage),
                SLOPE: slope.slope,
                PIVOT: slope.pivot * expected.deviation,
                LOW: expected.low,
                HIGH: expected.high,
            }
        )
        steps += _steps(key, days, after[key])
    return State(
        as_of=as_of,
        levels=pd.DataFrame(levels)[LEVELS],
        steps=pd.DataFrame(steps, columns=STEPS),
        shifts=shifts,
        evidence=_evidence(counted, spec),
    )


class _Values(NamedTuple):
    """Values of one target in one phase, oldest first, (values,) each.

    Errors and predictions are in SD of the usual error.
    """

    times: Array
    errors: Array
    predicted: Array


def _values(
    counted: pd.DataFrame, phase: int | str, target: str, usual: Usual, spec: SoftSensor
) -> _Values:
    of_phase = counted[spec.columns.phase] == phase
    columns = ["last_timestamp", target, spec.target(target).alone]
    rows = counted.loc[of_phase, columns].to_numpy(dtype=float)
    known = ~np.isnan(rows).any(axis=1) & (usual.deviation > 0)
    times, errors_of, predicted = rows[known].T
    unit = usual.deviation or 1.0
    return _Values(times, errors_of / unit, np.clip(predicted, usual.low, usual.high) / unit)


def _days(values: _Values) -> Days:
    """The laboratory days: the phases that ended on one day, UTC, count as one, by their median."""
    dates, starts, counts = np.unique(
        np.floor(values.times / DAY), return_index=True, return_counts=True
    )
    middles = [
        [median(part.tolist()) for part in np.split(column, starts[1:])] if len(dates) else []
        for column in (values.errors, values.predicted)
    ]
    return Days(dates, np.array(middles[0]), counts, np.array(middles[1]))


def _recent(values: _Values, days: Days, after: list[Shift], as_of: pd.Timestamp) -> Usual:
    """How large errors have been, in units of what was expected before their day."""
    before = [Shift(), *after][: len(after)]
    mean = np.repeat([shift.mean for shift in before], days.values)
    expected = np.repeat([1 + shift.variance for shift in before], days.values) ** 0.5
    age = (as_of.timestamp() - values.times) / DAY
    return Usual(1.0, np.abs(values.errors - mean) / expected, 0.5 ** (age / HALF_LIFE))


def _steps(key: tuple[int | str, str], days: Days, shifts: list[Shift]) -> Iterator[dict[str, Any]]:
    for date, error, count, shift in zip(days.dates, days.errors, days.values, shifts):
        day = pd.Timestamp(date * DAY, unit="s", tz="UTC")
        yield {PHASE: key[0], TARGET: key[1], DATE: day, ERROR: error, **_told(shift, count)}


def _told(shift: Shift, values: int) -> dict[str, float]:
    known = {SHIFT: shift.mean, DEVIATION: shift.variance**0.5, UNCHANGED: shift.unchanged}
    return {**known, VALUES: values}


def _widening(shift: Shift, recent: Usual, usual: Usual, coverage: float) -> float:
    """Factor of the width: by the uncertainty of the shift, and by how large errors are now.

    The quantile of training and recent errors, relative to that of the training errors alone:
    conformal prediction with weights (Barber, Candes, Ramdas and Tibshirani, Annals of Statistics
    51, 2023). Recent errors count less the older they are, training errors the less the surer it is
    that something has changed.
    """
    if not recent.sizes.size:
        return 1.0
    trained = KEPT + (1 - KEPT) * shift.unchanged
    weights = np.concatenate([trained * usual.weights, recent.weights])
    now = _quantile(np.concatenate([usual.sizes, recent.sizes]), weights, coverage)
    before = _quantile(usual.sizes, usual.weights, coverage)
    return float(now / before * (1 + shift.variance) ** 0.5)


def _quantile(sizes: Array, weights: Array, share: float) -> float:
    """The size that a new error exceeds with a probability of 1 - share; at most the largest."""
    order = np.argsort(sizes, kind="stable")
    reached = np.cumsum(weights[order])
    needed = min(share * (reached[-1] + 1), reached[-1]) - 1e-9
    return float(sizes[order][np.searchsorted(reached, needed)])


def _evidence(counted: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """How many phases were analysed, and when the first and the last of them ended."""
    rows = counted.dropna(subset=spec.target_names, how="all")
    ended = pd.to_datetime(rows["last_timestamp"], unit="s", utc=True)
    by_phase = ended.groupby(rows[spec.columns.phase])
    known = pd.DataFrame({VALUES: by_phase.size(), FROM: by_phase.min(), TO: by_phase.max()})
    known = known.reindex([phase.value for phase in spec.phases])
    return known.assign(**{VALUES: known[VALUES].fillna(0).astype(int)})
