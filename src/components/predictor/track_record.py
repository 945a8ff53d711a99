"""How the training rows would have been judged, each by what is known without its group."""

from __future__ import annotations

import math

import pandas as pd

from src.components.predictor import risk
from src.components.predictor.intervals import group_weights, half_width
from src.components.predictor.judgement import Judgement, decide
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

# Columns of a track record.
VERDICT = "verdict"
BY_INTERVALS = "by_intervals"
TRUTH = "truth"
WEAKEST = "weakest"


def track_record(reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Verdicts on the judged training rows, from their out-of-fold predictions.

    The thresholds for a row are made without its group; the errors of the targets that enter its
    score, and the width of its intervals, are those of all training rows.

    Args:
        reference: see `Bundle.reference`.

    Returns:
        VERDICT; BY_INTERVALS, what it would be if the intervals decided; TRUTH, what the
        laboratory says, empty where that is open; and WEAKEST, the target least likely to keep its
        limit. Empty where nothing is judged.
    """
    rows = reference[risk.judged(reference[spec.columns.phase], spec)]
    law = risk.error_law(reference, spec)
    chances = risk.log_chances(rows, law, spec).dropna()
    if chances.empty:
        return pd.DataFrame(columns=[VERDICT, BY_INTERVALS, TRUTH, WEAKEST])
    rows, score = rows.loc[chances.index], risk.scores(chances)
    kept, broken = _intervals(rows, reference, spec)
    without_group = _thresholds(rows[GROUP], risk.known_rows(reference, law, spec), spec)
    truth = pd.Series("", index=rows.index, dtype=object)
    truth = truth.mask(risk.kept(rows, spec), Judgement.CLEAN)
    truth = truth.mask(risk.broken(rows, spec), Judgement.NOT_CLEAN)
    return pd.DataFrame(
        {
            VERDICT: decide(
                score, without_group["clean"], without_group["not_clean"], kept, broken
            ),
            BY_INTERVALS: decide(score, math.nan, math.nan, kept, broken),
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


def _intervals(
    rows: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> tuple[pd.Series, pd.Series]:
    """Whether all intervals of rows keep their limits, and whether one of them breaks it."""
    phase = rows[spec.columns.phase]
    margins = risk.margins(rows, spec)
    half_widths = margins * math.nan
    for target, _ in risk.limited(spec):
        for value in phase.unique():
            of_phase = reference[reference[spec.columns.phase] == value]
            known = of_phase[of_phase[target.score].notna()]
            scores = known[target.score].to_numpy()
            half = half_width(scores, group_weights(known[GROUP]), spec.training.coverage)
            half_widths.loc[phase == value, target.name] = half
    return (margins >= half_widths).all(axis=1), (margins < -half_widths).any(axis=1)
