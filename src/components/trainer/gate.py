"""May a model become Production? It must predict, fit the database, and not be worse.

Two versions are compared on every phase that either was trained on. Each predicts a phase with its
models that have not seen the phase's group: those fitted without the fold that has it, or all of
them if it came after the training. So no experiment has to be put aside for this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sqlalchemy import Engine

from src.components.database.existing import find
from src.components.database.tables import tables
from src.components.predictor.bundle import FOLD, Bundle
from src.components.predictor.ensemble import Array, combine, in_units, votes_and_spread
from src.components.trainer.evaluation import typical_errors
from src.components.transformation import censoring
from src.components.transformation.censoring import deviations
from src.components.transformation.training_table import GROUP
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor

# Losses are relative to the errors of Production.
LARGE = 0.2  # refused even if it may be chance; "not worse" means that it can be ruled out
SMALL = 0.02  # never refused
CONFIDENCE = 0.95  # of the interval of a loss on the whole, and of those of all targets together
POWER = 0.8  # chance of refusing a loss that is called detectable
ALL_TARGETS = "all targets"


class Outcome(StrEnum):
    """What a comparison has shown."""

    NOT_WORSE = "not worse"
    WORSE = "worse"
    TOO_FEW = "too few groups to tell"


@dataclass(frozen=True)
class Comparison:
    """Challenger and Production on the same phases.

    Attributes:
        table: one row per target, and one for all: n (phases), groups, production and challenger
            (mean absolute error in the target's unit; for all in units of `typical_errors`), change
            (relative), low and high (ends of its interval), detectable (see POWER).
        worse: the rows in which the challenger is worse.
        outcome: what follows.
        changed: number of laboratory values that differ between the data of the two.
        left_out: phases that no models of one of the two are new to, as groups were changed.
    """

    table: pd.DataFrame
    worse: list[str]
    outcome: Outcome
    changed: int = 0
    left_out: int = 0

    @property
    def good(self) -> bool:
        """Whether it speaks for a promotion."""
        return self.outcome == Outcome.NOT_WORSE and not self.changed

    def in_words(self, present: str) -> str:
        """The outcome and its numbers, with the number of the version in production."""
        overall = self.table.iloc[-1]
        numbers = f"{overall['groups']} can be compared"
        if overall["groups"] > 1:
            numbers = (
                f"error {overall['change']:+.0%} ({overall['low']:+.0%} to {overall['high']:+.0%}) "
                f"in {overall['groups']} groups, where a loss of {overall['detectable']:.0%} can "
                "be detected"
            )
        sentences = {
            Outcome.NOT_WORSE: f"not worse than version {present}: {numbers}",
            Outcome.WORSE: f"worse than version {present} in {', '.join(self.worse)}: {numbers}",
            Outcome.TOO_FEW: f"too few groups to tell whether it is worse than version {present}: "
            f"{numbers}",
        }
        sentence = sentences[self.outcome]
        if self.changed:
            sentence = (
                f"{self.changed} laboratory values differ from those that version {present} was "
                f"trained with, so both were judged by the new ones; {sentence}"
            )
        return sentence


def no_better_than_guessing(challenger: Bundle, spec: SoftSensor) -> str:
    """Why a model is not worth having at all; empty if its predictions are better than medians.

    Compares its out-of-fold errors with those of always guessing the median of the phase. Without
    this the labels of a file could be shuffled unnoticed where no version knows its experiments.
    """
    rows = labelled(challenger, spec)
    medians = rows.groupby(spec.columns.phase)[spec.target_names].transform("median")
    typical = _typical(rows, spec)
    guessed = deviations(medians, rows, spec).abs() / typical
    predicted = deviations(challenger.reference, rows, spec).abs() / typical
    line = _line(ALL_TARGETS, guessed, predicted, rows[GROUP])
    if line["high"] < 0:
        return ""
    return (
        "it is not shown to be better than always guessing the median of the phase: error "
        f"{line['change']:+.0%} ({line['low']:+.0%} to {line['high']:+.0%}) in {line['groups']} "
        "groups, so check that laboratory values and experiments belong together"
    )


def compare(challenger: Bundle, production: Bundle, spec: SoftSensor) -> Comparison:
    """Compare two bundles on all phases that either was trained on, group by group.

    Where both have a phase, the laboratory values are those of the challenger. A loss is the mean
    over the groups of the difference of errors; its interval is Student's. The intervals of the
    targets hold together (Bonferroni), so that an equal version is not refused for one of many.
    """
    of_new, of_present = labelled(challenger, spec), labelled(production, spec)
    rows = _united(of_new, of_present, spec)
    present = unseen_errors(production, rows, spec)
    new = unseen_errors(challenger, rows, spec)
    both = present.notna() & new.notna()
    present, new = present.where(both), new.where(both)
    measured = [name for name in spec.target_names if both[name].any()]
    confidence = 1 - (1 - CONFIDENCE) / max(len(measured), 1)
    lines = [
        _line(name, present[[name]], new[[name]], rows[GROUP], confidence) for name in measured
    ]
    typical = _typical(rows, spec)
    lines.append(_line(ALL_TARGETS, present / typical, new / typical, rows[GROUP]))
    table = pd.DataFrame(lines)
    known = rows[spec.target_names].notna().any(axis=1)
    return Comparison(
        table=table,
        worse=table.loc[_worse(table), "target"].tolist(),
        outcome=outcome_of(table),
        changed=_changed_values(of_new, of_present, spec),
        left_out=int((known & ~both.any(axis=1)).sum()),
    )


def labelled(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """The phases that a bundle was trained on: keys, GROUP, features, targets and their marks."""
    rows = bundle.reference[[*spec.columns.keys, GROUP, *spec.features]]
    return rows.join(bundle.labels(spec).drop(columns=spec.columns.phase))


def unseen_errors(bundle: Bundle, rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Absolute `censoring.deviations` of a bundle's models that have not seen the group of a row.

    Args:
        rows: what `labelled` returns.

    Returns:
        Rows by targets: the mean over these models, so that a group which all of them can predict
        is not at an advantage; NaN where not measured, and where there is no such model because
        the bundle had the experiments of a group in several folds.
    """
    fold = _folds_of(rows, bundle, spec)
    first = fold.groupby(rows[GROUP]).transform("min")
    last = fold.groupby(rows[GROUP]).transform("max")
    total = pd.DataFrame(0.0, rows.index, spec.target_names)
    count = pd.Series(0, rows.index)
    for number, models in enumerate(bundle.folds):
        chosen = first.isna() | ((first == number) & (last == number))
        unseen = rows[chosen]
        if unseen.empty:
            continue
        votes, _ = votes_and_spread(models, unseen, spec)
        predicted = in_units(combine(votes, bundle.weights), spec)
        total[chosen] += deviations(predicted, unseen, spec).abs()
        count += chosen
    return total.div(count.where(count > 0), axis=0)


def _folds_of(rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor) -> pd.Series:
    """The fold of a bundle that has each row's experiment, or else its group; NaN for new ones."""
    experiment = spec.columns.experiment
    trained = bundle.reference
    of_experiment = trained.drop_duplicates(experiment).set_index(experiment)[FOLD]
    of_group = trained.drop_duplicates(GROUP).set_index(GROUP)[FOLD]
    return rows[experiment].map(of_experiment).fillna(rows[GROUP].map(of_group))


def _united(new: pd.DataFrame, present: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """The phases of both, once; experiments that both have are in the groups of the new one."""
    experiment = spec.columns.experiment
    both = pd.concat([new, present], ignore_index=True)
    rows = both.drop_duplicates(spec.columns.keys, ignore_index=True)
    groups = new.drop_duplicates(experiment).set_index(experiment)[GROUP]
    return rows.assign(**{GROUP: rows[experiment].map(groups).fillna(rows[GROUP])})


def _changed_values(new: pd.DataFrame, present: pd.DataFrame, spec: SoftSensor) -> int:
    """How many laboratory values of the same phases differ between the data of two bundles."""
    new, present = (side.set_index(spec.columns.keys) for side in (new, present))
    common = new.index.intersection(present.index)
    new, present = new.loc[common], present.loc[common]
    changed = 0
    for target in spec.targets:
        known = new[target.name].notna() & present[target.name].notna()
        same = np.isclose(new[target.name], present[target.name], rtol=1e-9, atol=0)
        same &= (censoring.marks(new, target) == censoring.marks(present, target)).to_numpy()
        changed += int((known & ~same).sum())
    return changed


def _typical(rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """`typical_errors` for each row; NaN where a target is always the same in a phase."""
    typical = typical_errors(rows, spec)
    of_row = typical.where(typical > 0).reindex(rows[spec.columns.phase])
    return of_row.set_axis(rows.index)


def _group_means(values: pd.Series, groups: pd.Series) -> Array:
    """Means over the phases of each group; groups without a value are left out."""
    return values.groupby(groups).mean().dropna().to_numpy()


def _line(
    label: str,
    present: pd.DataFrame,
    new: pd.DataFrame,
    groups: pd.Series,
    confidence: float = CONFIDENCE,
) -> dict[str, Any]:
    """One row of a comparison.

    Args:
        present, new: errors of Production and of the challenger, phases by targets.
        confidence: of the interval.
    """
    errors = _group_means(present.mean(axis=1), groups)
    usual = errors.mean() if len(errors) else np.nan
    losses = _group_means((new - present).mean(axis=1), groups) / usual
    change, low, high = _interval(losses, confidence)
    return {
        "target": label,
        "n": int(new.notna().any(axis=1).sum()),
        "groups": len(losses),
        "production": float(usual),
        "challenger": float(usual * (1 + change)),
        "change": change,
        "low": low,
        "high": high,
        "detectable": _detectable(losses, confidence),
    }


def _interval(values: Array, confidence: float) -> tuple[float, float, float]:
    """Mean and the ends of its interval; NaN without a value."""
    mean = float(values.mean()) if len(values) else np.nan
    half = _margin((1 + confidence) / 2, values)
    return mean, mean - half, mean + half


def _detectable(losses: Array, confidence: float) -> float:
    """The relative loss that would be found to be worse with a chance of POWER."""
    return SMALL + _margin((1 + confidence) / 2, losses) + _margin(POWER, losses)


def _margin(probability: float, values: Array) -> float:
    """How far a mean of such values lies above its expectation, at most, with a probability.

    Infinite with less than two values.
    """
    if len(values) < 2:
        return np.inf
    return float(stats.t.ppf(probability, len(values) - 1) * stats.sem(values))


def _worse(table: pd.DataFrame) -> pd.Series:
    """Rows whose loss is more than SMALL for certain, or on the whole more than LARGE."""
    on_the_whole = table["target"] == ALL_TARGETS
    return (table["low"] > SMALL) | (on_the_whole & (table["change"] > LARGE))


def outcome_of(table: pd.DataFrame) -> Outcome:
    """What the lines of a comparison show, see `Comparison.table`."""
    if _worse(table).any():
        return Outcome.WORSE
    return Outcome.NOT_WORSE if table["high"].iloc[-1] < LARGE else Outcome.TOO_FEW


def check_database(engine: Engine, spec: SoftSensor) -> None:
    """Refuse a contract whose columns the tables lack; tables that do not exist yet will fit.

    Raises:
        BundleRefused: naming the missing columns.
    """
    described = tables(spec)
    with engine.connect() as connection:
        found = find(connection, (described.online, described.archived))
    for existing in found:
        if existing.relation is None:
            continue
        missing = [column.name for column in existing.lacking()]
        if missing:
            raise BundleRefused(
                f"{existing.table.name} lacks {', '.join(missing[:5])}, which the model needs: run "
                "`impress init`, or promote a model that fits the database"
            )
