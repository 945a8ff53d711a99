"""How the training rows would have been judged, each by what is known without its group."""

from __future__ import annotations

import math

import pandas as pd

from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement, by_intervals, decide
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

# Columns of a track record.
VERDICT = "verdict"
BY_INTERVALS = "by_intervals"
TRUTH = "truth"
WEAKEST = "weakest"


def track_record(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Verdicts on the judged training rows, from their out-of-fold predictions.

    The thresholds for a row are made without its group. The mean and the deviation of the errors,
    which put scores in order, are those of all training rows.

    Returns:
        VERDICT; BY_INTERVALS, what it would be if the intervals decided; TRUTH, what the
        laboratory says, empty where that is open; and WEAKEST, the target least likely to keep its
        limit. Empty where nothing is judged.
    """
    reference = bundle.reference
    law = risk.error_law(reference, spec)
    rows = reference[risk.judged(reference[spec.columns.phase], spec)]
    chances = risk.log_chances(rows, law, spec).dropna()
    if chances.empty:
        return pd.DataFrame(columns=[VERDICT, BY_INTERVALS, TRUTH, WEAKEST])
    rows, score = rows.loc[chances.index], risk.scores(chances)
    intervals = by_intervals(bundle.out_of_fold(spec).loc[rows.index], spec)
    without_group = _thresholds(rows[GROUP], risk.known_rows(reference, law, spec), spec)
    truth = pd.Series("", index=rows.index, dtype=object)
    truth = truth.mask(risk.kept(rows, spec), Judgement.CLEAN)
    truth = truth.mask(risk.broken(rows, spec), Judgement.NOT_CLEAN)
    return pd.DataFrame(
        {
            VERDICT: decide(score, without_group["clean"], without_group["not_clean"], *intervals),
            BY_INTERVALS: decide(score, math.nan, math.nan, *intervals),
            TRUTH: truth,
            WEAKEST: chances.idxmin(axis=1),
        }
    )


def _thresholds(group: pd.Series, known: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """For each row the thresholds made without its group: columns as `risk.Thresholds`."""
    by_group = {}
    for name in group.unique():
        by_group[name] = risk.thresholds(known[known[GROUP] != name], spec)
    made = pd.DataFrame.from_dict(by_group, orient="index", columns=risk.Thresholds._fields)
    return made.reindex(group).set_axis(group.index)
