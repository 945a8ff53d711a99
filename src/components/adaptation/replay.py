"""The state of adaptation as of a moment, from the errors of the phases analysed until then.

It depends on nothing else: the same errors give the same state, in whatever order they arrived.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from src.components.adaptation.shift import Shift
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import FROM, TO, VALUES, Correction
from src.components.predictor.ensemble import Array, to_scale
from src.components.predictor.intervals import group_weights
from src.components.transformation import censoring
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor, Target

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
        wide = levels.pivot(index=PHASE, columns=TARGET, values=["bias", WIDENING]).astype(float)
        targets = spec.target_names
        return Correction(wide["bias"][targets], wide[WIDENING][targets], self.evidence)


@dataclass(frozen=True)
class _Usual:
    """Out-of-fold errors of one target in one phase.

    Attributes:
        deviation: their standard deviation on the working scale; NaN where it is not known.
        sizes: the errors in units of it, without their signs.
        weights: each group counts as one, see `group_weights`.
    """

    deviation: float
    sizes: Array
    weights: Array


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


def replay(known: pd.DataFrame, bundle: Bundle, spec: SoftSensor, as_of: pd.Timestamp) -> State:
    """The state as of a moment.

    Args:
        known: keys, last_timestamp and for each target the error on the working scale of phases
            that were analysed, NaN where it was not measured; in any order.
    """
    age = as_of.timestamp() - known["last_timestamp"]
    counted = known[age.between(0, OLDEST * DAY)]
    counted = counted.sort_values(["last_timestamp", *spec.columns.keys], kind="stable")
    levels, steps, shifts = [], [], {}
    for phase in spec.phases:
        own = counted[counted[spec.columns.phase] == phase.value]
        for target in spec.targets:
            usual = _usual_errors(bundle, phase.value, target, spec)
            measured = own[["last_timestamp", target.name]].dropna()
            if np.isnan(usual.deviation):
                measured = measured.head(0)
            of_pair, shift, sizes = _followed(measured, target, usual.deviation)
            names = {PHASE: phase.value, TARGET: target.name}
            steps.append(of_pair.assign(**names))
            shifts[phase.value, target.name] = shift
            ages = (as_of.timestamp() - measured["last_timestamp"].to_numpy()) / DAY
            levels.append(
                {
                    **names,
                    USUAL: 0.0 if np.isnan(usual.deviation) else usual.deviation,
                    SHIFT: shift.mean,
                    DEVIATION: shift.variance**0.5,
                    UNCHANGED: shift.unchanged,
                    WIDENING: _widening(shift, sizes, ages, usual, spec.training.coverage),
                    VALUES: len(measured),
                }
            )
    return State(
        as_of=as_of,
        levels=pd.DataFrame(levels, columns=LEVELS),
        steps=pd.concat(steps, ignore_index=True)[STEPS],
        shifts=shifts,
        evidence=_evidence(counted, spec),
    )


def _usual_errors(
    bundle: Bundle, phase: int | str, target: Target, spec: SoftSensor
) -> _Usual:
    rows = bundle.reference[bundle.reference[spec.columns.phase] == phase]
    off = errors(rows, rows, spec)[target.name].dropna()
    deviation = float(off.std()) if len(off) >= LEAST else np.nan
    if not deviation > 0:
        return _Usual(np.nan, np.empty(0), np.empty(0))
    sizes = (off.abs() / deviation).to_numpy()
    return _Usual(deviation, sizes, group_weights(rows.loc[off.index, GROUP]))


def _followed(
    measured: pd.DataFrame, target: Target, usual: float
) -> tuple[pd.DataFrame, Shift, Array]:
    """Follow the shift of one target in one phase day by day.

    Args:
        measured: last_timestamp and errors on the working scale, oldest first.

    Returns:
        A row for each day; the last shift; and for each value how far it was from what was expected
        on that day, in units of the uncertainty.
    """
    error = measured[target.name] / usual
    days = pd.to_datetime(measured["last_timestamp"], unit="s", utc=True).dt.floor("D")
    shift, rows, sizes = Shift(), [], []
    for day, values in error.groupby(days):
        sizes.append((values - shift.mean).abs().to_numpy() / (1 + shift.variance) ** 0.5)
        shift = shift.after(float(values.median()), len(values))
        state = shift.mean, shift.variance**0.5, shift.unchanged
        rows.append([day, values.median(), len(values), *state])
    steps = pd.DataFrame(rows, columns=[DATE, ERROR, VALUES, SHIFT, DEVIATION, UNCHANGED])
    return steps, shift, np.concatenate(sizes) if sizes else np.empty(0)


def _widening(shift: Shift, sizes: Array, ages: Array, usual: _Usual, coverage: float) -> float:
    """Factor of the width: by the uncertainty of the shift, and by how large errors are now.

    The quantile of training and recent errors, relative to that of the training errors alone:
    conformal prediction with weights (Barber, Candes, Ramdas and Tibshirani, Annals of Statistics
    51, 2023). Recent errors count less the older they are, training errors the less the surer it is
    that something has changed.
    """
    if not len(sizes):
        return 1.0
    trained = KEPT + (1 - KEPT) * shift.unchanged
    weights = np.concatenate([trained * usual.weights, 0.5 ** (ages / HALF_LIFE)])
    now = _quantile(np.concatenate([usual.sizes, sizes]), weights, coverage)
    before = _quantile(usual.sizes, usual.weights, coverage)
    larger = now / before if before > 0 else 1.0
    return float(larger * (1 + shift.variance) ** 0.5)


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
