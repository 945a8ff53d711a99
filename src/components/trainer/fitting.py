"""Fit the members of the ensemble fold by fold, weigh them, and make a bundle of them.

Every choice is made over folds that never split a group. Each target has
regressors of its own, so a phase counts wherever it was measured. The models fitted with each fold
left out are the model; their errors on the rows left out calibrate its intervals.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from src.components.predictor.bundle import FOLD, Bundle, Origin, reference_columns
from src.components.predictor.ensemble import (
    Models,
    Regressors,
    combine,
    from_scale,
    in_units,
    out_of_fold,
    to_scale,
    votes_and_spread,
)
from src.components.predictor.intervals import floored, spread_floors
from src.components.trainer.evaluation import relative_error, typical_errors
from src.components.trainer.members import MEMBERS, Params
from src.components.trainer.search import tune_members
from src.components.transformation import censoring
from src.components.transformation.censoring import deviation, substituted
from src.components.transformation.features import feature_definition, model_inputs
from src.components.transformation.training_table import GROUP
from src.progress import step
from src.soft_sensor import SoftSensor

Fold = tuple[np.ndarray, np.ndarray]

# Hyperparameters that serve without a search, by member; a search begins with them.
DEFAULTS: dict[str, Params] = {name: member.start for name, member in MEMBERS.items()}

WEIGHT_STEPS = 10  # weights are multiples of 1 / WEIGHT_STEPS


def train(table: pd.DataFrame, trials: int, start: dict[str, Params], spec: SoftSensor) -> Bundle:
    """Tune all members on a table and make a bundle of them.

    Args:
        table: what `transformation.training_table` returns.
        trials: tuning trials per member; with 0, `start` is used as it is.
        start: hyperparameters by member, where the search begins.

    Returns:
        A bundle whose origin holds the hyperparameters only.
    """
    if not trials:
        return assemble(table, start, spec)
    errors = partial(fold_errors, table=table, spec=spec)
    params = tune_members(errors, trials, start, spec.training.seed)
    return assemble(table, params, spec)


def assemble(table: pd.DataFrame, params: dict[str, Params], spec: SoftSensor) -> Bundle:
    """Fit all members with given hyperparameters, fold by fold.

    Args:
        table: what `transformation.training_table` returns.
        params: hyperparameters by member.

    Returns:
        A bundle whose origin holds the hyperparameters only.
    """
    rows = table.reset_index(drop=True)
    phase = rows[spec.columns.phase]
    models, fold = fit_folds(substituted(rows, spec), params, spec)
    votes, spread = out_of_fold(models, rows, fold, spec)
    floors = spread_floors(spread, phase)
    spread = floored(spread, floors, phase)
    combined = _combined_out_of_fold(votes, rows, fold, spec)
    # A value that is a limit counts as the limit itself: see `intervals`.
    scores = (combined - _on_scale(rows, spec)).abs() / spread

    measured = {target.name: target.measured for target in spec.targets}
    marked = {target.censored: censoring.marks(rows, target) for target in spec.targets}
    score = {target.name: target.score for target in spec.targets}
    own_spread = {target.name: target.spread for target in spec.targets}
    reference = pd.concat(
        [
            rows.drop(columns=spec.target_names).assign(**{FOLD: fold}, **marked),
            in_units(combined, spec),
            rows[spec.target_names].rename(columns=measured),
            scores.rename(columns=score),
            spread.rename(columns=own_spread),
        ],
        axis=1,
    )
    return Bundle(
        spec=spec,
        definition=feature_definition(spec),
        folds=models,
        weights=member_weights(votes, rows, spec),
        floors=floors,
        reference=reference[reference_columns(spec)],
        origin=Origin(params=params),
    )


def make_folds(table: pd.DataFrame, spec: SoftSensor) -> list[Fold]:
    """Cross-validation folds that keep groups whole and phases in proportion.

    Returns:
        Positions of the training and of the validation rows, fold by fold.
    """
    count = min(spec.training.folds, table[GROUP].nunique())
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=spec.training.seed)
    return list(splitter.split(table, table[spec.columns.phase], table[GROUP]))


def fit_member(member: str, params: Params, table: pd.DataFrame, spec: SoftSensor) -> Regressors:
    """Fit one regressor per target, on the rows where that target was measured."""
    inputs = model_inputs(table, spec)
    regressors = {}
    for target in spec.targets:
        measured = table[target.name].notna()
        values = to_scale(table.loc[measured, target.name], target).to_numpy()
        kind = MEMBERS[member]
        fitted = kind.build(params, spec).fit(inputs[measured], values)
        regressors[target.name] = kind.export(fitted, inputs)
    return regressors


def fold_errors(
    member: str, params: Params, table: pd.DataFrame, spec: SoftSensor
) -> Iterator[float]:
    """Relative error of one member on the validation rows of each fold, see `relative_error`.

    Args:
        table: what `transformation.training_table` returns.
    """
    typical = typical_errors(table, spec)
    learned = substituted(table, spec)
    for training, validation in make_folds(table, spec):
        models = {member: fit_member(member, params, learned.iloc[training], spec)}
        rows = table.iloc[validation]
        votes, _ = votes_and_spread(models, rows, spec)
        predicted = in_units(votes[member], spec)
        yield relative_error(predicted, rows, typical, spec)


def member_weights(
    votes: dict[str, pd.DataFrame], table: pd.DataFrame, spec: SoftSensor
) -> pd.DataFrame:
    """Weights, in tenths, of the combination with the least relative error.

    Args:
        votes: out-of-fold votes on the working scale.
        table: the same rows with their measured targets.

    Returns:
        Members by targets; each column sums to 1.
    """
    candidates = _weight_candidates(len(votes))
    typical = typical_errors(table, spec)
    phase = table[spec.columns.phase]
    best = {}
    for target in spec.targets:
        measured = table[target.name]
        member_values = np.stack([vote[target.name].to_numpy() for vote in votes.values()])
        combined = from_scale(candidates @ member_values, target)
        mark = censoring.marks(table, target).to_numpy()
        errors = np.abs(deviation(combined, measured.to_numpy(), mark))  # candidates by rows
        relative = []
        for value, typical_error in typical[target.name].items():
            if typical_error > 0:
                rows = (phase == value) & measured.notna()
                relative.append(errors[:, rows].mean(axis=1) / typical_error)
        best[target.name] = candidates[np.sum(relative, axis=0).argmin()]
    return pd.DataFrame(best, index=list(votes))


def _weight_candidates(members: int) -> np.ndarray:
    """All weights in steps of a tenth that sum to 1, (candidates, members)."""
    combinations = itertools.product(range(WEIGHT_STEPS + 1), repeat=members)
    complete = [steps for steps in combinations if sum(steps) == WEIGHT_STEPS]
    return np.array(complete) / WEIGHT_STEPS


def _combined_out_of_fold(
    votes: dict[str, pd.DataFrame], table: pd.DataFrame, fold: pd.Series, spec: SoftSensor
) -> pd.DataFrame:
    """Combined votes on the working scale, those of a fold by weights chosen on the others.

    With weights that were chosen on all folds the errors would look smaller than they are.
    """
    parts = []
    for number in sorted(fold.unique()):
        own = fold == number
        others = {member: vote[~own] for member, vote in votes.items()}
        weights = member_weights(others, table[~own], spec)
        parts.append(combine({member: vote[own] for member, vote in votes.items()}, weights))
    return pd.concat(parts).loc[table.index]


def fit_folds(
    table: pd.DataFrame, params: dict[str, Params], spec: SoftSensor
) -> tuple[list[Models], pd.Series]:
    """All members fitted with each fold left out, and the number of the fold that has each row."""
    models = []
    fold = pd.Series(0, index=table.index)
    folds = make_folds(table, spec)
    with threadpool_limits(1), step("fitting, folds", len(folds)) as advance:
        for number, (training, validation) in enumerate(folds):
            rows = table.iloc[training]
            models.append({name: fit_member(name, params[name], rows, spec) for name in params})
            fold.iloc[validation] = number
            advance(1)
    return models, fold


def _on_scale(table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Measured targets on their working scales."""
    values = {target.name: to_scale(table[target.name], target) for target in spec.targets}
    return pd.DataFrame(values)
