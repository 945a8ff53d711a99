"""What else may be odd in a month, each said as what it is and not as sensor drift.

A changed mix of phases, missing and stuck sensors, values out of an instrument's range, inputs that
the model never saw, fewer experiments than usual, more verdicts left open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, chi2_contingency, fisher_exact
from statsmodels.stats.multitest import multipletests

from src.components.drift_reporter.drift_tests import ALARM, OK, WATCH
from src.components.predictor.judgement import Judgement
from src.soft_sensor import Sensor, SoftSensor

RISK = 0.01  # of a false word in a healthy month, for each kind of check
MORE_MISSING, OTHER_MIX, STUCK, MORE_OPEN = 0.05, 0.10, 0.05, 0.10  # shares worth a word
FEWER = 0.5  # of the usual number of experiments

Test = dict[str, Any]


def checks(
    month: pd.DataFrame, reference: pd.DataFrame, before: dict[str, Any], spec: SoftSensor
) -> pd.DataFrame:
    """All checks of a month against the reference and the months before.

    Args:
        month: rows of the ledger: keys, n_samples, last_timestamp, features, flags, verdict.
        reference: keys, features and, where known, `<sensor>_out_of_bounds` and
            `<sensor>_outside_training`, one row a phase.
        before: of the ledger until then: experiments, days, judged, open (see `windows.before`).

    Returns:
        One row a check: part (sensor, empty for the month as a whole), indicator (`mix`,
        `missing`, `stuck`, `out of bounds`, `outside training`, `experiments`, `uncertain`),
        reference_rows, rows, shift (change of the share), p, p_holm, status.
    """
    flags = month["flags"].fillna("")
    missing = _by_sensor(
        "missing",
        spec,
        month=lambda sensor: month[f"{sensor.name}_median"].isna(),
        usual=lambda sensor: reference[f"{sensor.name}_median"].isna(),
    )
    beyond = _by_sensor(
        "out of bounds",
        spec,
        month=lambda sensor: _flagged(flags, f"{sensor.name}_out_of_bounds"),
        usual=lambda sensor: _counted(reference, f"{sensor.name}_out_of_bounds"),
    )
    unseen = _by_sensor(
        "outside training",
        spec,
        month=lambda sensor: _flagged(flags, f"{sensor.name}_outside_training"),
        usual=lambda sensor: _counted(reference, f"{sensor.name}_outside_training"),
    )
    found = [
        mix(month, reference, spec),
        *_judged(missing, MORE_MISSING, ALARM),
        *_judged(beyond, MORE_MISSING, ALARM),
        *_judged(unseen, OTHER_MIX, WATCH),
        *stuck(month, reference, spec),
        *experiments(month, before, spec),
        *uncertain(month, before),
    ]
    return pd.DataFrame(found)


def mix(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> Test:
    """Whether phases are dealt otherwise than in the reference (Fisher's exact test)."""
    counts = np.array(
        [
            [(table[spec.columns.phase] == phase.value).sum() for phase in spec.phases]
            for table in (reference, month)
        ]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    change = shares[1] - shares[0]
    seen = counts[:, counts.sum(axis=0) > 0]
    if seen.shape[1] < 2:
        p = 1.0
    else:
        test = fisher_exact if seen.shape[1] == 2 else chi2_contingency
        p = float(test(seen).pvalue)
    most = int(np.abs(change).argmax())
    odd = p <= RISK and abs(change[most]) >= OTHER_MIX
    return _test("mix", "", counts.sum(axis=1), change[0], p) | {"status": WATCH if odd else OK}


def stuck(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> list[Test]:
    """Sensors without any spread in at least 5 % more of the phases than usual, and two of them.

    A phase of one reading has no spread by itself and does not count.
    """
    several = month[month["n_samples"] > 1]
    tests = []
    for sensor in spec.sensors:
        still = f"{sensor.name}_std"
        least = 1e-6 * reference[still].median()
        usual, now = ((table[still] <= least) for table in (reference, several))
        change = now.mean() - usual.mean() if len(several) else 0.0
        odd = change >= STUCK and now.sum() > 1
        rows = (len(reference), len(several))
        test = _test("stuck", sensor.name, rows, change, float("nan"))
        tests.append(test | {"status": ALARM if odd else OK})
    return tests


def extremes(table: pd.DataFrame, features: list[str], spec: SoftSensor) -> pd.Series:
    """Rows that would be outside the range of all others of their phase, by one feature or more.

    How often that happens in the training is how often it happens to a new healthy row.
    """
    grouped = table.groupby(spec.columns.phase)[features]
    low, high = grouped.transform("min"), grouped.transform("max")
    return ((table[features] == low) | (table[features] == high)).any(axis=1)


def experiments(month: pd.DataFrame, before: dict[str, Any], spec: SoftSensor) -> list[Test]:
    """Whether there were fewer experiments a day than before; nothing without a past.

    Both counts are Poisson: given their sum, the month's is binomial (Przyborowski and Wilenski,
    Biometrika 31, 1940).
    """
    days = (month["last_timestamp"].max() - before["last_timestamp"]) / 86_400
    if not before["experiments"] or not before["days"] > 0 or not days > 0:
        return []
    now = month[spec.columns.experiment].nunique()
    share = days / (days + before["days"])
    p = binomtest(now, now + before["experiments"], share, alternative="less").pvalue
    rate = now / days / (before["experiments"] / before["days"])
    odd = p <= RISK and rate <= FEWER
    test = _test("experiments", "", (before["experiments"], now), rate - 1, float(p))
    return [test | {"status": WATCH if odd else OK}]


def uncertain(month: pd.DataFrame, before: dict[str, Any]) -> list[Test]:
    """Whether more verdicts are left open than before; nothing when no phase is judged."""
    judged = month.loc[month["verdict"].fillna("") != "", "verdict"]
    if judged.empty or not before["judged"]:
        return []
    now = pd.Series(judged == Judgement.UNCERTAIN)
    usual = pd.Series(np.arange(before["judged"]) < before["open"])
    return _judged([_grown("uncertain", "", now, usual)], MORE_OPEN, WATCH)


def _by_sensor(
    indicator: str,
    spec: SoftSensor,
    month: Callable[[Sensor], pd.Series],
    usual: Callable[[Sensor], pd.Series],
) -> list[Test]:
    return [_grown(indicator, sensor.name, month(sensor), usual(sensor)) for sensor in spec.sensors]


def _grown(indicator: str, part: str, now: pd.Series, usual: pd.Series) -> Test:
    """Whether the share of rows with something has grown (Fisher, one-sided)."""
    table = [[now.sum(), (~now).sum()], [usual.sum(), (~usual).sum()]]
    p = fisher_exact(table, alternative="greater").pvalue
    return _test(indicator, part, (len(usual), len(now)), now.mean() - usual.mean(), float(p))


def _judged(tests: list[Test], least: float, status: str) -> list[Test]:
    """Correct tests of one kind for their number and say which of them have a finding."""
    corrected = multipletests([test["p"] for test in tests], method="holm")[1]
    return [
        test | {"p_holm": p, "status": status if p <= RISK and test["shift"] >= least else OK}
        for test, p in zip(tests, corrected)
    ]


def _test(indicator: str, part: str, rows: Any, shift: float, p: float) -> Test:
    counts = {"reference_rows": int(rows[0]), "rows": int(rows[1])}
    return {"part": part, "indicator": indicator, **counts, "shift": shift, "p": p, "p_holm": p}


def _flagged(flags: pd.Series, flag: str) -> pd.Series:
    return flags.map(lambda said: flag in said.split(","))


def _counted(table: pd.DataFrame, column: str) -> pd.Series:
    """Rows that have some of it; none where the table does not tell."""
    return table[column] > 0 if column in table else pd.Series(False, index=table.index)
