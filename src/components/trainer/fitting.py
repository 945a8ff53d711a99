"""Tune, cross-validate and fit the members of the ensemble.

Every choice is made inside the training part, over folds that never split a group. Each target has
a regressor of its own, so that a phase counts wherever it was measured. What is fitted without a
fold is kept: together these are the model, and what they say of the rows that they have not seen
is the evidence for its intervals.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import optuna
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from src.components.predictor.bundle import Bundle, Origin
from src.components.predictor.ensemble import (
    Regressors,
    combine,
    from_scale,
    in_units,
    out_of_fold,
    to_scale,
    votes_and_spread,
)
from src.components.predictor.intervals import floored, spread_floors
from src.components.predictor.members import MEMBERS, Params
from src.components.trainer.evaluation import relative_error, typical_errors
from src.components.transformation.features import feature_definition, model_inputs
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

Fold = tuple[np.ndarray, np.ndarray]

# Hyperparameters that serve without a search, by member; a search begins with them.
DEFAULTS: dict[str, Params] = {name: member.start for name, member in MEMBERS.items()}


def make_folds(table: pd.DataFrame, spec: SoftSensor) -> list[Fold]:
    """Cross-validation folds that keep groups whole and phases in proportion.

    Returns:
        Positions of the training and of the validation rows, fold by fold.
    """
    count = min(spec.training.folds, table["group"].nunique())
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=spec.training.seed)
    return list(splitter.split(table, table[spec.columns.phase], table["group"]))


def fit_member(member: str, params: Params, table: pd.DataFrame, spec: SoftSensor) -> Regressors:
    """Fit one regressor a target on the rows where that target was measured."""
    inputs = model_inputs(table, spec)
    regressors = {}
    for target in spec.targets:
        measured = table[target.name].notna()
        regressor = MEMBERS[member].build(**params, random_state=spec.training.seed, n_jobs=1)
        values = to_scale(table.loc[measured, target.name], target).to_numpy()
        regressors[target.name] = regressor.fit(inputs[measured], values)
    return regressors


def tune(
    member: str,
    table: pd.DataFrame,
    trials: int,
    start: dict[str, Params],
    spec: SoftSensor,
) -> Params:
    """Search hyperparameters of least relative error by TPE (Bergstra et al., NeurIPS 2011).

    A trial whose errors on the folds so far are surely larger than the best one's is cut short
    (Wilcoxon's signed-rank test).

    Args:
        start: hyperparameters by member; the first trial.
    """
    folds, typical = make_folds(table, spec), typical_errors(table, spec)

    def objective(trial: optuna.Trial) -> float:
        params = {**MEMBERS[member].start, **MEMBERS[member].space(trial)}
        trial.set_user_attr("params", params)
        errors = []
        for step, (training, validation) in enumerate(folds):
            models = {member: fit_member(member, params, table.iloc[training], spec)}
            rows = table.iloc[validation]
            votes, _ = votes_and_spread(models, rows, spec)
            predicted = in_units(votes[member], spec)
            errors.append(relative_error(predicted, rows, typical, spec))
            trial.report(errors[-1], step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.nanmean(errors))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the pruner
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=spec.training.seed),
        pruner=optuna.pruners.WilcoxonPruner(n_startup_steps=3),
    )
    study.enqueue_trial(start[member])
    study.optimize(objective, n_trials=trials)
    return dict(study.best_trial.user_attrs["params"])


def member_weights(
    votes: dict[str, pd.DataFrame], table: pd.DataFrame, spec: SoftSensor
) -> pd.DataFrame:
    """Weights, in tenths, of the combination with the least relative error.

    Args:
        votes: out-of-fold votes on the working scale.

    Returns:
        Members by targets; each column sums to 1.
    """
    tenths = itertools.product(range(11), repeat=len(votes))
    shares = np.array([combination for combination in tenths if sum(combination) == 10]) / 10
    typical, phase = typical_errors(table, spec), table[spec.columns.phase]
    chosen = {}
    for target in spec.targets:
        said = np.stack([vote[target.name].to_numpy() for vote in votes.values()])
        measured = table[target.name]
        errors = np.abs(from_scale(shares @ said, target) - measured.to_numpy())
        relative = [
            errors[:, (phase == value) & measured.notna()].mean(axis=1) / usual
            for value, usual in typical[target.name].items()
            if usual > 0
        ]
        chosen[target.name] = shares[np.sum(relative, axis=0).argmin()]
    return pd.DataFrame(chosen, index=list(votes))


def assemble(table: pd.DataFrame, params: dict[str, Params], spec: SoftSensor) -> Bundle:
    """Fit all members with given hyperparameters on the training part, fold by fold.

    Args:
        table: what `transformation.training_table` returns.
        params: hyperparameters by member.

    Returns:
        A bundle whose origin holds the hyperparameters only.
    """
    part = table[~table["holdout"]].reset_index(drop=True)
    phase = part[spec.columns.phase]
    folds, models, fold = make_folds(part, spec), [], pd.Series(0, index=part.index)
    for number, (training, validation) in enumerate(folds):
        rows = part.iloc[training]
        models.append({name: fit_member(name, params[name], rows, spec) for name in params})
        fold.iloc[validation] = number
    votes, spread = out_of_fold(models, part, fold, spec)
    weights, floors = member_weights(votes, part, spec), spread_floors(spread, phase)
    combined = combine(votes, weights)
    measured = part[spec.target_names]
    on_scale = pd.DataFrame({t.name: to_scale(measured[t.name], t) for t in spec.targets})
    scores = (combined - on_scale).abs() / floored(spread, floors, phase)
    known = [*spec.columns.keys, "group", "last_timestamp", *spec.features]
    beyond = [f"{each.name}_out_of_bounds" for each in spec.sensors]
    return Bundle(
        features=spec.features,
        targets=spec.target_names,
        definition=feature_definition(spec),
        scales={target.name: target.scale for target in spec.targets},
        folds=models,
        weights=weights,
        floors=floors,
        reference=pd.concat(
            [
                part[[*known, *beyond]].assign(fold=fold),
                in_units(combined, spec),
                measured.add_suffix("_measured"),
                scores.add_suffix("_score"),
            ],
            axis=1,
        ),
        holdout=table.loc[table["holdout"], [*known, *measured]].reset_index(drop=True),
        origin=Origin(params=params),
    )


def train(table: pd.DataFrame, trials: int, start: dict[str, Params], spec: SoftSensor) -> Bundle:
    """Tune the members side by side on the training part of a table and make a bundle of them.

    Args:
        table: what `transformation.training_table` returns.
        trials: tuning trials per member; without any, `start` serves as it is.
        start: hyperparameters by member, where the search begins.

    Returns:
        The bundle; its origin holds the hyperparameters only.
    """
    if not trials:
        return assemble(table, start, spec)
    part = table[~table["holdout"]].reset_index(drop=True)
    search = partial(tune, table=part, trials=trials, start=start, spec=spec)
    logger.info("tuning %s, %d trials each, side by side", ", ".join(MEMBERS), trials)
    # A process each: forests hold the interpreter's lock, and single-threaded fits keep results
    # the same whatever the number of cores.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = dict(zip(MEMBERS, pool.map(search, MEMBERS)))
    logger.info("found %s", found)
    return assemble(table, found, spec)
