"""The state of adaptation as of a moment, from the errors of the phases analysed until then.

It depends on nothing else: the same errors give the same state, in whatever order they arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from src.components.adaptation.shift import Shift
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import FROM, TO, VALUES, Correction
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
LEVELS = [PHASE, TARGET, USUAL, SHIFT, DEVIATION, UNCHANGED, WIDENING, VALUES]
STEPS = [PHASE, TARGET, DATE, ERROR, VALUES, SHIFT, DEVIATION, UNCHANGED]


@dataclass(frozen=True)
class State:
    """What the laboratory has shown of a model.

    Attributes:
        as_of: the moment; later values do not count.
        levels: for each PHASE (its value) and TARGET (its name) the USUAL error on the working
            scale, the present SHIFT of the errors and its uncertainty (DEVIATION), both in units of
            the usual error, the chance that nothing is shifted (UNCHANGED), the factor of the
            interval's width (WIDENING) and the number of laboratory VALUES.
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
        bias = levels.pivot(index=PHASE, columns=TARGET, values="bias")
        widening = levels.pivot(index=PHASE, columns=TARGET, values=WIDENING)
        targets = spec.target_names
        return Correction(bias[targets], widening[targets], self.evidence)


@dataclass(frozen=True)
class Usual:
    """Out-of-fold errors of one target in one phase.

    Attributes:
        deviation: their standard deviation on the working scale; 0 where it is not known.
        sizes: the errors in units of it, without their signs.
        weights: each group counts as one, see `group_weights`.
    """

    deviation: float
    sizes: Array
    weights: Array


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


def usual_errors(bundle: Bundle, spec: SoftSensor) -> UsualErrors:
    """How large the errors of a bundle are without any change, by phase value and target."""
    usual, rows = {}, bundle.reference
    off = errors(rows, rows, spec)
    for phase, target in product(spec.phases, spec.target_names):
        own = off.loc[rows[spec.columns.phase] == phase.value, target].dropna()
        deviation = float(own.std()) if len(own) >= LEAST else 0.0
        sizes = (own.abs() / deviation).to_numpy() if deviation > 0 else np.empty(0)
        weights = group_weights(rows.loc[own.index, GROUP])
        usual[phase.value, target] = Usual(deviation, sizes, weights)
    return usual


def replay(known: pd.DataFrame, usual: UsualErrors, spec: SoftSensor, as_of: pd.Timestamp) -> State:
    """The state as of a moment.

    Args:
        known: keys, last_timestamp and for each target the error on the working scale of phases
            that were analysed, NaN where it was not measured; in any order.
    """
    age = as_of.timestamp() - known["last_timestamp"]
    counted = known[age.between(0, OLDEST * DAY)]
    counted = counted.sort_values(["last_timestamp", *spec.columns.keys], kind="stable")
    levels, steps, shifts = list[dict[str, Any]](), list[dict[str, Any]](), {}
    for phase, target in product(spec.phases, spec.target_names):
        own = counted.loc[counted[spec.columns.phase] == phase.value, ["last_timestamp", target]]
        times, values = own.dropna().to_numpy(dtype=float).T
        expected = usual[phase.value, target]
        if expected.deviation == 0:
            times, values = np.empty((2, 0))
        names = {PHASE: phase.value, TARGET: target}
        shift, sizes = Shift(), [np.empty(0)]
        for day, error in _days(times, values / (expected.deviation or 1.0)):
            sizes.append(np.abs(error - shift.mean) / (1 + shift.variance) ** 0.5)
            shift = shift.after(float(np.median(error)), len(error))
            steps.append({**names, DATE: day, ERROR: np.median(error), **_told(shift, error)})
        weights = 0.5 ** ((as_of.timestamp() - times) / DAY / HALF_LIFE)
        recent = Usual(1.0, np.concatenate(sizes), weights)
        widening = _widening(shift, recent, expected, spec.training.coverage)
        wide = {USUAL: expected.deviation, WIDENING: widening}
        levels.append({**names, **wide, **_told(shift, values)})
        shifts[phase.value, target] = shift
    return State(
        as_of=as_of,
        levels=pd.DataFrame(levels)[LEVELS],
        steps=pd.DataFrame(steps, columns=STEPS),
        shifts=shifts,
        evidence=_evidence(counted, spec),
    )


def _days(times: Array, errors_of: Array) -> Iterator[tuple[pd.Timestamp, Array]]:
    """The errors of each laboratory day: of the phases that ended on one day, UTC."""
    days = np.floor(times / DAY)
    for day in np.unique(days):
        yield pd.Timestamp(day * DAY, unit="s", tz="UTC"), errors_of[days == day]


def _told(shift: Shift, values: Array) -> dict[str, float]:
    known = {SHIFT: shift.mean, DEVIATION: shift.variance**0.5, UNCHANGED: shift.unchanged}
    return {**known, VALUES: len(values)}


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
