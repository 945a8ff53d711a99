"""Why a phase has its verdict, in sentences."""

from __future__ import annotations

import math

import pandas as pd

from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import recorded_in
from src.components.predictor.flags import has_flag, unreliable_codes
from src.components.predictor.judgement import (
    Judgement,
    by_intervals,
    decide,
    keep_and_break,
    verdicts,
)
from src.components.predictor.track_record import BY_INTERVALS, TRUTH, VERDICT, track_record
from src.components.trainer.verdict_figures import WORDS, limit_words
from src.soft_sensor import SoftSensor


def explained(row: pd.DataFrame, bundle: Bundle, spec: SoftSensor) -> list[str]:
    """What led to the verdict on a judged phase, with figures.

    Args:
        row: its row of the ledger, a frame of one row.
        bundle: the model that predicted.
    """
    codes = [code for code in unreliable_codes(spec) if has_flag(row["flags"], code).iloc[0]]
    if codes:
        return [f"always uncertain with the flag {', '.join(codes)}"]
    phase = row[spec.columns.phase]
    if not risk.judged(phase, spec).iloc[0]:
        return ["params.yaml no longer judges this phase"]
    estimated = bundle.estimate(row, spec, recorded_in(row, spec)).assign(
        **{spec.columns.phase: phase}
    )
    verdict = verdicts(estimated, phase, bundle.reference, spec).iloc[0]
    lines = []
    if verdict != row["verdict"].iloc[0]:
        lines.append(f"with the limits and shares that params.yaml has now: {verdict}")
    lines.append(_chance(estimated, verdict, bundle.reference, spec))
    intervals = _by_intervals(estimated, spec)
    if verdict != intervals:
        lines.append(_contradiction(estimated, verdict, intervals, bundle, spec))
    return lines


def _chance(
    estimated: pd.DataFrame, verdict: str, reference: pd.DataFrame, spec: SoftSensor
) -> str:
    """The estimated chance of keeping all limits, the thresholds, and what is in the way."""
    law = risk.error_law(reference, spec)
    chances = risk.log_chances(estimated, law, spec)
    clean, not_clean = risk.thresholds(risk.known_rows(reference, law, spec), spec)
    above = "by the intervals" if math.isnan(clean) else f"above {math.exp(clean):.1%}"
    below = "by the intervals" if math.isnan(not_clean) else f"below {math.exp(not_clean):.1%}"
    chance = math.exp(risk.scores(chances).iloc[0])
    words = f"chance that it keeps all limits {chance:.1%}: clean {above}, not clean {below}"
    if verdict != Judgement.UNCERTAIN:
        return words
    target = spec.target(str(chances.idxmin(axis=1).iloc[0]))
    value = f"predicted {estimated[target.name].iloc[0]:.3g}"
    return f"{words}; held back by {limit_words(target)}, {value}"


def _by_intervals(estimated: pd.DataFrame, spec: SoftSensor) -> str:
    """The verdict if the intervals decided."""
    nothing = pd.Series(math.nan, index=estimated.index)
    return str(decide(nothing, math.nan, math.nan, *by_intervals(estimated, spec)).iloc[0])


def _contradiction(
    estimated: pd.DataFrame,
    verdict: str,
    intervals: str,
    bundle: Bundle,
    spec: SoftSensor,
) -> str:
    """How often the training phases with the same verdict against their intervals were wrong."""
    record = track_record(bundle, spec)
    same = record[(record[VERDICT] == verdict) & (record[BY_INTERVALS] == intervals)]
    known = same[same[TRUTH] != ""]
    decided = intervals if verdict == Judgement.UNCERTAIN else verdict
    other = Judgement.NOT_CLEAN if decided == Judgement.CLEAN else Judgement.CLEAN
    wrong = int((known[TRUTH] == other).sum())
    phases = "phase" if len(known) == 1 else "phases"
    count = f"of {len(known)} such training {phases} {wrong} {'was' if wrong == 1 else 'were'}"
    return f"{_crossing(estimated, intervals, spec)}; {count} {WORDS[other]}"


def _crossing(estimated: pd.DataFrame, intervals: str, spec: SoftSensor) -> str:
    """Which intervals cross their limits, or what they say together."""
    crossing = []
    for target, limit in risk.limited(spec):
        keeps, breaks = keep_and_break(estimated, target, limit)
        if not (keeps | breaks).iloc[0]:
            crossing.append(f"the {target.title} crosses {limit.bound:g} {target.unit}")
    if intervals != Judgement.UNCERTAIN or not crossing:
        return f"its intervals alone would say {intervals}"
    return f"the interval of {', that of '.join(crossing)}"
