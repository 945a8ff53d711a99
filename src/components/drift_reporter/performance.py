"""Is Production still right? Its errors on phases that the laboratory has analysed since.

When the process itself changes, for example by another detergent, the sensors and hence the
predictions may look as always and still be wrong: only laboratory values tell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm
from statsmodels.stats.multitest import multipletests

from src.components.drift_reporter.drift_tests import ALARM, OK, WATCH
from src.components.drift_reporter.rank_tests import Sample, enough, shift_of
from src.components.predictor.bundle import Bundle
from src.components.predictor.ensemble import to_scale
from src.soft_sensor import SoftSensor

ENOUGH = 30  # laboratory values that show a shift of half a standard deviation
COLUMNS = ["part", "indicator", "reference_rows", "rows", "shift", "statistic", "p"]


def fresh_values(
    analysed: pd.DataFrame, bundle: Bundle, since: pd.Timestamp | None, spec: SoftSensor
) -> pd.DataFrame:
    """The analysed phases that came since the last report, and older ones to make ENOUGH.

    Few values come in a month; a longer look back sees a loss that one month would not show.

    Args:
        analysed: see `laboratory.analysed`, oldest first.

    Returns:
        Rows of `analysed` that no training has used, neither to learn nor to hold out.
    """
    keys = spec.columns.keys
    used = pd.concat([bundle.reference[keys], bundle.holdout[keys]]).drop_duplicates()
    fresh = analysed.merge(used, on=keys, how="left", indicator="used")
    fresh = fresh[fresh["used"] == "left_only"].drop(columns="used")
    came = (fresh["loaded_at"] > since).sum() if since is not None else len(fresh)
    return fresh.tail(max(int(came), ENOUGH)).reset_index(drop=True)


def known_errors(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Errors of a bundle on phases that its models had not seen: hold-out and out-of-fold.

    The hold-out alone has some twenty rows, too few to compare with.

    Returns:
        What `errors` gives.
    """
    names = {f"{name}_measured": name for name in spec.target_names}
    keys = [*spec.columns.keys, "last_timestamp"]
    trained = bundle.reference.reindex(columns=[*keys, *names]).rename(columns=names)
    out_of_fold = errors(bundle.reference[spec.target_names], trained, spec)
    held = errors(bundle.estimate(bundle.holdout, spec), bundle.holdout, spec)
    return pd.concat([held, out_of_fold], ignore_index=True)


def errors(predicted: pd.DataFrame, measured: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Measured minus predicted on the working scale, and whether the interval held the value.

    Args:
        predicted: targets and, where known, `<target>_lower` and `<target>_upper`, in units.
        measured: keys, last_timestamp and targets in units, NaN where not measured.

    Returns:
        Keys, last_timestamp, the error under the target's name, the same in units as
        `<target>_off`, and `<target>_inside` (1, 0, or NaN where there is no interval or no value),
        one row a phase.
    """
    table = measured.reindex(columns=[*spec.columns.keys, "last_timestamp"]).copy()
    for target in spec.targets:
        value = measured[target.name]
        table[target.name] = to_scale(value, target) - to_scale(predicted[target.name], target)
        inside = pd.Series(np.nan, index=table.index)
        if f"{target.name}_lower" in predicted:
            lower, upper = predicted[f"{target.name}_lower"], predicted[f"{target.name}_upper"]
            inside = value.between(lower, upper).astype(float).where(value.notna())
        table[f"{target.name}_inside"] = inside
        table[f"{target.name}_off"] = value - predicted[target.name]
    return table


def figures(recent: pd.DataFrame, known: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What `tests` compares, in the targets' units.

    Returns:
        One row a target: target, unit, count of the recent values, their mean absolute error, the
        error known `before`, bias (measured minus predicted), and the share inside the intervals.
    """
    rows = []
    for target in spec.targets:
        off, before = recent[f"{target.name}_off"].dropna(), known[f"{target.name}_off"].dropna()
        held = recent[f"{target.name}_inside"].mean()
        numbers = [len(off), off.abs().mean(), before.abs().mean(), off.mean(), held]
        rows.append([target.title, target.unit, *numbers])
    columns = ["target", "unit", "count", "error", "before", "bias", "coverage"]
    return pd.DataFrame(rows, columns=columns)


def tests(recent: pd.DataFrame, known: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Test the errors on recent laboratory values against those known from before.

    Of each target: is it off to one side (`bias`), are its errors larger (`error`), do its
    intervals hold fewer values than promised (`coverage`)? Bias and error by the rank test of
    `drift_tests`, coverage by the binomial test; Holm's correction over all.

    Args:
        recent, known: what `errors` gives.

    Returns:
        One row a test: part (target), indicator, reference_rows, rows, shift (in standard
        deviations of the errors; of coverage in shares), statistic, p, p_holm, status.
    """
    rules = spec.monitoring
    sample = Sample.of(known, recent, spec)
    both = pd.concat([known, recent], ignore_index=True)
    found = []
    for name in spec.target_names:
        error = both[name].to_numpy(dtype=float)
        rows = enough(error, sample, rules.min_rows)
        if rows.any():
            tested = sample.only(rows)
            counts = [int((tested.month == side).sum()) for side in (0, 1)]
            for indicator, values in (("bias", error), ("error", np.abs(error))):
                shift, chance = shift_of(values[rows], tested)
                # Smaller errors are no loss.
                tail = norm.sf(shift / chance) if indicator == "error" else None
                p = 2 * norm.sf(abs(shift / chance)) if tail is None else tail
                found.append((name, indicator, *counts, shift, shift / chance, float(p)))
        inside = recent[f"{name}_inside"].dropna()
        if len(inside) >= rules.min_rows:
            promised, held = spec.training.coverage, int(inside.sum())
            p = binomtest(held, len(inside), promised, alternative="less").pvalue
            change = inside.mean() - promised
            found.append((name, "coverage", 0, len(inside), change, float("nan"), float(p)))
    table = pd.DataFrame(found, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[4:], float))
    table["p_holm"] = multipletests(table["p"], method="holm")[1] if len(table) else []
    large = (table["shift"].abs() >= rules.min_shift) | (table["indicator"] == "coverage")
    sure = (table["p_holm"] <= rules.alarm) & large
    table["status"] = np.select([sure, table["p_holm"] <= rules.watch], [ALARM, WATCH], OK)
    return table.sort_values("p", kind="stable", ignore_index=True)
