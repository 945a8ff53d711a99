"""The checks: changes of a month other than sensor drift, each reported as what it is.

For each kind of check, the chance of a false finding in a healthy month is `monitoring.alarm`.

To add one, write a function of the evidence that returns its results, and give it an entry in
`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, chi2_contingency, fisher_exact

from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.kinds import Entry
from src.components.drift_reporter.rank_tests import holm
from src.components.drift_reporter.status import Status
from src.components.predictor.flags import Flag, has_flag
from src.components.predictor.judgement import Judgement
from src.soft_sensor import SoftSensor

# The least changes of a share that are reported.
MORE_MISSING, MORE_STUCK = 0.05, 0.05
OTHER_MIX, MORE_UNSEEN, MORE_UNCERTAIN = 0.10, 0.10, 0.10
FEWER = 0.5  # of the previous number of experiments per day
SECONDS_A_DAY = 86_400
NO_TEST = float("nan")  # p of a fixed rule


@dataclass(frozen=True)
class Result:
    """What a check has computed for one sensor (`part`), or for the month as a whole (empty).

    Attributes:
        shift: change of the share or of the rate.
        p, p_holm: before and after the correction for the number of sensors.
        significant: whether it is reported.
    """

    part: str
    reference_rows: int
    rows: int
    shift: float
    p: float
    p_holm: float
    significant: bool


@dataclass(frozen=True)
class Check(Entry):
    """A check.

    Attributes:
        results: from the evidence, one for each sensor, one for the month, or none where there is
            nothing to compare with.
        status: of a significant result. A sensor with an alarm is at fault.
    """

    results: Callable[[Evidence, SoftSensor], list[Result]]
    status: Status


def checks(evidence: Evidence, spec: SoftSensor) -> pd.DataFrame:
    """All checks of a month.

    Returns:
        One row per result: part, indicator, reference_rows, rows, shift, p, p_holm, status.
    """
    rows = []
    for check in CHECKS:
        for result in check.results(evidence, spec):
            status = check.status if result.significant else Status.NO_DRIFT
            rows.append(
                {
                    "part": result.part,
                    "indicator": check.name,
                    "reference_rows": result.reference_rows,
                    "rows": result.rows,
                    "shift": result.shift,
                    "p": result.p,
                    "p_holm": result.p_holm,
                    "status": status.value,
                }
            )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Frequency:
    """How many of some rows something applies to."""

    count: int
    rows: int

    @classmethod
    def of(cls, applies: pd.Series) -> Frequency:
        """Count the true values."""
        return cls(int(applies.sum()), len(applies))

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return self.count / self.rows


def _more_often(
    pairs: dict[str, tuple[Frequency, Frequency]], least: float, spec: SoftSensor
) -> list[Result]:
    """Is a share larger in the month than in the reference? Fisher's exact test, one-sided.

    Args:
        pairs: part to its frequencies in month and reference; corrected for their number (Holm).
        least: increase of the share that is reported.
    """
    p_values = []
    for month, reference in pairs.values():
        counts = [
            [month.count, month.rows - month.count],
            [reference.count, reference.rows - reference.count],
        ]
        p_values.append(float(fisher_exact(counts, alternative="greater").pvalue))
    corrected = holm(p_values)
    results = []
    for (part, (month, reference)), p, p_holm in zip(pairs.items(), p_values, corrected):
        increase = month.share - reference.share
        significant = bool(p_holm <= spec.monitoring.alarm and increase >= least)
        results.append(Result(part, reference.rows, month.rows, increase, p, p_holm, significant))
    return results


def mix(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Has the share of a kind of phase changed? Fisher's exact test, chi-squared for three kinds.

    The shift is that of the first phase of params.yaml.
    """
    reference = _phase_counts(evidence.reference, spec)
    month = _phase_counts(evidence.month, spec)
    counts = np.array([reference, month])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    change = shares[1] - shares[0]
    occurring = counts[:, counts.sum(axis=0) > 0]
    kinds = occurring.shape[1]
    p = 1.0
    if kinds >= 2:
        test = fisher_exact if kinds == 2 else chi2_contingency
        p = float(test(occurring).pvalue)
    significant = bool(p <= spec.monitoring.alarm and np.abs(change).max() >= OTHER_MIX)
    shift = float(change[0])
    return [Result("", sum(reference), sum(month), shift, p, p, significant)]


def _phase_counts(table: pd.DataFrame, spec: SoftSensor) -> list[int]:
    return [int((table[spec.columns.phase] == phase.value).sum()) for phase in spec.phases]


def missing(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Do sensors lack values more often?"""
    pairs = {}
    for sensor in spec.sensors:
        month = Frequency.of(evidence.month[sensor.level].isna())
        reference = Frequency.of(evidence.reference[sensor.level].isna())
        pairs[sensor.name] = month, reference
    return _more_often(pairs, MORE_MISSING, spec)


def out_of_bounds(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Do sensors show readings outside the instrument's range more often?"""
    return _flagged_more_often(Flag.OUT_OF_BOUNDS, MORE_MISSING, evidence, spec)


def outside_training(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Does the model see inputs outside the range of its training more often?"""
    return _flagged_more_often(Flag.OUTSIDE_TRAINING, MORE_UNSEEN, evidence, spec)


def _flagged_more_often(
    flag: Flag, least: float, evidence: Evidence, spec: SoftSensor
) -> list[Result]:
    pairs = {}
    for sensor in spec.sensors:
        code = flag.of(sensor)
        month = Frequency.of(has_flag(evidence.month["flags"], code))
        reference = Frequency.of(evidence.reference[code] > 0)
        pairs[sensor.name] = month, reference
    return _more_often(pairs, least, spec)


def stuck(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Do sensors show no spread at all more often, and in two phases at least? A fixed rule.

    A phase of a single reading has no spread anyway and does not count.
    """
    reference = evidence.reference
    month = evidence.month[evidence.month["n_samples"] > 1]
    results = []
    for sensor in spec.sensors:
        least_spread = 1e-6 * reference[sensor.spread].median()
        before = Frequency.of(reference[sensor.spread] <= least_spread)
        still = Frequency.of(month[sensor.spread] <= least_spread)
        increase = still.share - before.share if still.rows else 0.0
        significant = increase >= MORE_STUCK and still.count > 1
        results.append(
            Result(sensor.name, before.rows, still.rows, increase, NO_TEST, NO_TEST, significant)
        )
    return results


def experiments(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Are there fewer experiments per day than before?

    Both counts are Poisson: given their sum, the month's is binomial (Przyborowski and Wilenski,
    Biometrika 31, 1940).
    """
    past = evidence.past
    seconds = evidence.month["last_timestamp"].max() - past.last_timestamp
    days = seconds / SECONDS_A_DAY
    if not past.experiments or not past.days > 0 or not days > 0:
        return []
    count = evidence.month[spec.columns.experiment].nunique()
    share_of_time = days / (days + past.days)
    total = count + past.experiments
    p = float(binomtest(count, total, share_of_time, alternative="less").pvalue)
    rate = count / days / (past.experiments / past.days)
    significant = bool(p <= spec.monitoring.alarm and rate <= FEWER)
    return [Result("", past.experiments, count, rate - 1, p, p, significant)]


def uncertain(evidence: Evidence, spec: SoftSensor) -> list[Result]:
    """Are more verdicts uncertain than before?"""
    verdict = evidence.month["verdict"].fillna("")
    judged = verdict[verdict != ""]
    past = evidence.past
    if judged.empty or not past.judged:
        return []
    month = Frequency.of(judged == Judgement.UNCERTAIN)
    before = Frequency(past.uncertain, past.judged)
    return _more_often({"": (month, before)}, MORE_UNCERTAIN, spec)


CHECKS = (
    Check(
        name="mix",
        words="the share of {first} phases has changed by {points:+.0f} percentage points",
        advice="This is not sensor drift: the share of each phase has changed. Check that all "
        "phases are logged.",
        results=mix,
        status=Status.WATCH,
    ),
    Check(
        name="missing",
        words="no readings more often than usual (share of phases up by {points:.0f} percentage "
        "points)",
        advice="Check that the sensor is connected and its logger is running.",
        results=missing,
        status=Status.ALARM,
    ),
    Check(
        name="out of bounds",
        words="readings outside the instrument's range more often than usual (share of phases up "
        "by {points:.0f} percentage points)",
        advice="The instrument cannot report such readings: check wiring and scaling of the "
        "transmitter.",
        results=out_of_bounds,
        status=Status.ALARM,
    ),
    Check(
        name="outside training",
        words="outside the range of the training data more often than usual (share of phases up by "
        "{points:.0f} percentage points)",
        advice="The model is answering for inputs that it has never seen: have such phases "
        "analysed (`impress next-sample`) and retrain.",
        results=outside_training,
        status=Status.WATCH,
    ),
    Check(
        name="stuck",
        words="repeats one value more often than usual (share of phases up by {points:.0f} "
        "percentage points)",
        advice="The sensor repeats one value: restart its transmitter, then check cable and "
        "logger.",
        results=stuck,
        status=Status.ALARM,
    ),
    Check(
        name="experiments",
        words="{fewer:.0f} % fewer experiments per day than before",
        advice="Check that all experiments reach the database (`impress status`).",
        results=experiments,
        status=Status.WATCH,
    ),
    Check(
        name="uncertain",
        words="uncertain verdicts more often than before (share of phases up by {points:.0f} "
        "percentage points)",
        advice="More phases than before need a laboratory analysis: look up their flags in "
        "`archived_data`, and collect values for the next training (`impress next-sample`).",
        results=uncertain,
        status=Status.WATCH,
    ),
)
