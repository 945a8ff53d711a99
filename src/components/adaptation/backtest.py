"""What adaptation would have brought: the history of the ledger, with it and without."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from src.components.adaptation.known import known_errors
from src.components.adaptation.replay import replay, usual_errors
from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement, verdicts
from src.components.transformation import censoring
from src.soft_sensor import SoftSensor

ALONE, ADAPTED = "alone", "adapted"


@dataclass(frozen=True)
class Backtest:
    """Figures of the model ALONE and ADAPTED.

    Attributes:
        targets: for each target, in its unit `error_` (mean absolute
            error), `bias_` (mean of measured minus predicted) and `coverage_` of both.
        judged: analysed phases with a verdict of which the laboratory knows whether they are clean.
        wrong: how many of them each way calls wrongly clean, and wrongly not clean.
    """

    targets: pd.DataFrame
    judged: int
    wrong: dict[str, tuple[int, int]]


def backtest(
    rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor, delay: timedelta | None = None
) -> Backtest:
    """Predict the analysed phases again, each with the values that were known on its day.

    Args:
        rows: analysed phases that count, see `known.analysed_phases`.
        delay: how long after the end of a phase its values are known; by default from when they
            were loaded, and predictions count from when they were made.
    """
    ended = pd.to_datetime(rows["last_timestamp"], unit="s", utc=True)
    predicted_at = pd.to_datetime(rows["predicted_at"], utc=True) if delay is None else ended
    loaded_at = pd.to_datetime(rows["loaded_at"], utc=True)
    arrived = loaded_at if delay is None else ended + delay
    known, usual = known_errors(rows, spec), usual_errors(bundle, spec)
    phase = rows[spec.columns.phase]
    folds = bundle.fold_predictions(rows, spec)
    alone = bundle.combined(folds, phase, spec)
    parts = []
    for day, own in rows.groupby(predicted_at.dt.floor("D")):
        state = replay(known[arrived <= day], usual, spec, pd.Timestamp(str(day)))
        correction = state.correction(spec)
        parts.append(bundle.combined(folds.of(own.index), phase[own.index], spec, correction))
    adapted = pd.concat(parts).loc[rows.index]
    ways = {ALONE: alone, ADAPTED: adapted}
    targets = pd.DataFrame({name: _figures(each, rows, spec) for name, each in ways.items()})
    truth = rows[risk.judged(phase, spec) & (risk.kept(rows, spec) | risk.broken(rows, spec))]
    wrong = {name: _wrong(each, truth, bundle, spec) for name, each in ways.items()}
    return Backtest(_side_by_side(targets, spec), len(truth), wrong)


def _figures(predicted: pd.DataFrame, rows: pd.DataFrame, spec: SoftSensor) -> dict[str, float]:
    figures = {}
    for target in spec.targets:
        values = rows[[target.measured, target.censored]]
        values = values.rename(columns={target.measured: target.name})
        mark = censoring.marks(values, target)
        measured = values[target.name]
        off = -censoring.deviation(predicted[target.name], measured, mark)
        inside = censoring.contained(predicted, measured, mark, target)
        figures[f"{target.name} error"] = off.abs().mean()
        figures[f"{target.name} bias"] = off.mean()
        figures[f"{target.name} coverage"] = inside[measured.notna()].mean()
    return figures


def _side_by_side(figures: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    lines = []
    for target in spec.targets:
        line: dict[str, object] = {"target": target.name}
        for measure in ("error", "bias", "coverage"):
            for way in (ALONE, ADAPTED):
                line[f"{measure}_{way}"] = figures.loc[f"{target.name} {measure}", way]
        lines.append(line)
    return pd.DataFrame(lines)


def _wrong(
    predicted: pd.DataFrame, truth: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> tuple[int, int]:
    """How many phases are wrongly called clean, and wrongly not clean."""
    if truth.empty:
        return 0, 0
    own = predicted.loc[truth.index]
    verdict = verdicts(own, truth[spec.columns.phase], bundle.reference, spec)
    wrong_clean = (verdict == Judgement.CLEAN) & risk.broken(truth, spec)
    wrong_not_clean = (verdict == Judgement.NOT_CLEAN) & risk.kept(truth, spec)
    return int(wrong_clean.sum()), int(wrong_not_clean.sum())
