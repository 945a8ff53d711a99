"""Is the model still right? Its errors on phases that the laboratory has analysed since.

When the process itself changes, sensors and hence predictions may look as they always have and yet
be wrong: only laboratory values reveal that. To add a test of the errors, give it an entry in
`LOSSES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from src.components.drift_reporter.kinds import Entry
from src.components.drift_reporter.rank_tests import holm, shift_of
from src.components.drift_reporter.sample import Sample, enough
from src.components.drift_reporter.status import Status
from src.components.predictor.bundle import Bundle
from src.components.predictor.ensemble import to_scale
from src.components.transformation import censoring
from src.components.transformation.censoring import deviation, marks
from src.soft_sensor import SoftSensor, Target

ENOUGH = 30  # laboratory values, which reveal a shift of half a standard deviation
USED = "impress_used"  # column of phases: whether a training has used them
LEAST = 5  # laboratory values of a target that are tested
NUMBERS = ["shift", "statistic", "error", "p"]
COLUMNS = ["part", "indicator", "reference_rows", "rows", *NUMBERS]


def fresh_values(
    analysed: pd.DataFrame, bundle: Bundle, since: pd.Timestamp | None, spec: SoftSensor
) -> pd.DataFrame:
    """The analysed phases that arrived since the last report, plus older ones to make ENOUGH.

    Few values arrive in a month; looking further back reveals a loss that one month would not.

    Args:
        analysed: see `gather.analysed`, oldest first.

    Returns:
        Rows of `analysed` that no training has used.
    """
    keys = spec.columns.keys
    used = bundle.reference[keys].drop_duplicates()
    marked = analysed.merge(used, on=keys, how="left", indicator=USED)
    fresh = marked[marked[USED] == "left_only"].drop(columns=USED)
    arrived = len(fresh) if since is None else int((fresh["loaded_at"] > since).sum())
    return fresh.tail(max(arrived, ENOUGH)).reset_index(drop=True)


def expected_errors(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Errors of a bundle on its training rows, by models that had not seen their group.

    Returns:
        What `errors` returns.
    """
    names = {target.measured: target.name for target in spec.targets}
    keys = [*spec.columns.keys, "last_timestamp"]
    sides = [target.censored for target in spec.targets]
    training = bundle.reference.reindex(columns=[*keys, *names, *sides]).rename(columns=names)
    return errors(bundle.out_of_fold(spec), training, spec)


def errors(predicted: pd.DataFrame, measured: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Measured minus predicted on the working scale, and whether the interval contains the value.

    A value that is a limit of the assay counts as in `censoring.deviation` and
    `censoring.contained`.

    Args:
        predicted: targets and, where known, `Target.lower` and `Target.upper`, in units.
        measured: keys, last_timestamp, targets in units, NaN where not measured, and
            `Target.censored` where known.

    Returns:
        Keys, last_timestamp, the error under the target's name, the same in units (`Target.off`)
        and whether the interval contains the value (`Target.inside`: 1, 0, or NaN where there is no
        interval or no value), one row per phase.
    """
    table = measured.reindex(columns=[*spec.columns.keys, "last_timestamp"]).copy()
    for target in spec.targets:
        value, prediction = measured[target.name], predicted[target.name]
        mark = marks(measured, target)
        on_scale = to_scale(prediction, target), to_scale(value, target)
        table[target.name] = -deviation(*on_scale, mark)
        table[target.inside] = np.nan
        if target.lower in predicted:
            is_inside = censoring.contained(predicted, value, mark, target)
            table[target.inside] = is_inside.astype(float).where(value.notna())
        table[target.off] = -deviation(prediction, value, mark)
    return table


def figures(recent: pd.DataFrame, expected: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What `tests` compares, in the targets' units.

    Returns:
        One row per target: target, unit, count of the recent values, their mean absolute error, the
        `expected` one, bias (mean of measured minus predicted), and the share inside the intervals.
    """
    rows = []
    for target in spec.targets:
        recent_errors = recent[target.off].dropna()
        usual_errors = expected[target.off].dropna()
        rows.append(
            {
                "target": target.title,
                "unit": target.unit,
                "count": len(recent_errors),
                "error": recent_errors.abs().mean(),
                "expected": usual_errors.abs().mean(),
                "bias": recent_errors.mean(),
                "coverage": recent[target.inside].mean(),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class ErrorPair:
    """Recent errors and those that are expected, see `errors`, as one table.

    Attributes:
        both: the expected errors, followed by the recent ones.
        sample: describes the rows of `both`; the recent ones are the month.
    """

    both: pd.DataFrame
    sample: Sample

    @classmethod
    def of(cls, recent: pd.DataFrame, expected: pd.DataFrame, spec: SoftSensor) -> ErrorPair:
        """Put two tables together."""
        both = pd.concat([expected, recent], ignore_index=True)
        return cls(both, Sample.of(expected, recent, spec))

    @property
    def recent(self) -> pd.DataFrame:
        """The recent errors."""
        return pd.DataFrame(self.both[self.sample.month == 1])


@dataclass(frozen=True)
class Result:
    """What a test of the errors of one target has found.

    Attributes:
        reference_rows, rows: numbers of values.
        error: standard error of the shift.
    """

    reference_rows: int
    rows: int
    shift: float
    statistic: float
    error: float
    p: float


@dataclass(frozen=True)
class Loss(Entry):
    """A way in which predictions can have become worse.

    Attributes:
        result: the test of a target's errors, None when there are too few values.
        any_size: a significant result is an alarm even if the shift is below `min_shift`.
    """

    result: Callable[[Target, ErrorPair, SoftSensor], Result | None]
    any_size: bool = False


def bias(target: Target, pair: ErrorPair, spec: SoftSensor) -> Result | None:
    """Are the predictions off to one side?"""
    return _shifted(_by_their_scales(pair, target), pair, spec)


def larger_error(target: Target, pair: ErrorPair, spec: SoftSensor) -> Result | None:
    """Are the errors larger? Smaller errors are not a loss."""
    return _shifted(_by_their_scales(pair, target).abs(), pair, spec, one_sided=True)


def _by_their_scales(pair: ErrorPair, target: Target) -> pd.Series:
    """Errors around the median of those expected in their phase, in their standard deviations.

    So the values of all phases can be tested together: of each there are few. NaN in a phase with
    fewer than LEAST expected errors.
    """
    error = pair.both[target.name]
    expected = error.where(pair.sample.month == 0).groupby(pair.sample.phase)
    known = expected.transform("count") >= LEAST
    scale = expected.transform("std")
    return ((error - expected.transform("median")) / scale).where(known & (scale > 0))


def _shifted(
    column: pd.Series, pair: ErrorPair, spec: SoftSensor, one_sided: bool = False
) -> Result | None:
    """The rank test of `rank_tests`, for a shift in either direction or upwards only."""
    values = column.to_numpy(dtype=float)
    pooled = replace(pair.sample, phase=np.zeros_like(pair.sample.phase))
    rows = enough(values, pooled, min(LEAST, spec.monitoring.min_rows))
    if not rows.any():
        return None
    tested = pooled.only(rows)
    shift, standard_error = shift_of(values[rows], tested)
    statistic = shift / standard_error
    p = norm.sf(statistic) if one_sided else 2 * norm.sf(abs(statistic))
    expected_rows, recent_rows = int((tested.month == 0).sum()), int((tested.month == 1).sum())
    return Result(expected_rows, recent_rows, shift, statistic, standard_error, float(p))


def coverage(target: Target, pair: ErrorPair, spec: SoftSensor) -> Result | None:
    """Do the intervals contain fewer values than promised? The binomial test."""
    contained = pair.recent[target.inside].dropna()
    if len(contained) < LEAST:
        return None
    promised = spec.training.coverage
    p = binomtest(int(contained.sum()), len(contained), promised, alternative="less").pvalue
    shift = float(contained.mean() - promised)
    return Result(0, len(contained), shift, float("nan"), float("nan"), float(p))


ADVICE = (
    "The model has become worse: `impress collect`, `impress train --retrain` and "
    "`impress promote`, which compares the new version with this one before replacing it."
)
LOSSES = (
    Loss(
        name="bias",
        words="laboratory values differ from the predictions by {shift:+.2f} SD of the usual error",
        advice=ADVICE,
        result=bias,
    ),
    Loss(
        name="error",
        words="errors compared with the laboratory are larger than usual ({shift:+.2f} SD)",
        advice=ADVICE,
        result=larger_error,
    ),
    Loss(
        name="coverage",
        words="intervals contain {fewer:.0f} percentage points fewer laboratory values than "
        "promised",
        advice=ADVICE,
        result=coverage,
        any_size=True,
    ),
)


def tests(recent: pd.DataFrame, expected: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Test the errors on recent laboratory values against those expected, for each target.

    Holm's correction over all tests.

    Args:
        recent, expected: what `errors` returns.

    Returns:
        One row per test, the strongest evidence first: part (target), indicator, reference_rows,
        rows, shift (in standard deviations of the errors; of coverage in shares), statistic, error,
        p, p_holm, status.
    """
    rules = spec.monitoring
    rows = []
    if len(recent):
        pair = ErrorPair.of(recent, expected, spec)
        for target, loss in product(spec.targets, LOSSES):
            result = loss.result(target, pair, spec)
            if result is not None:
                rows.append({"part": target.name, "indicator": loss.name, **vars(result)})
    table = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    table["p_holm"] = holm(table["p"])
    any_size = table["indicator"].isin([loss.name for loss in LOSSES if loss.any_size])
    large = any_size | (table["shift"].abs() >= rules.min_shift)
    alarm = large & (table["p_holm"] <= rules.alarm)
    watch = table["p_holm"] <= rules.watch
    table["status"] = np.select(
        [alarm, watch], [Status.ALARM.value, Status.WATCH.value], Status.NO_DRIFT.value
    )
    return table.sort_values("p", kind="stable", ignore_index=True)


def smallest_bias(losses: pd.DataFrame, spec: SoftSensor) -> float:
    """The bias that the values would have shown with a probability of 80 %, in SD of the errors.

    NaN when none was tested.

    Args:
        losses: what `tests` returns.
    """
    of_bias = losses.loc[losses["indicator"] == "bias", "error"]
    significance = norm.isf(spec.monitoring.alarm / 2 / max(len(losses), 1))
    return float((significance + norm.isf(0.2)) * of_bias[np.isfinite(of_bias)].median())
