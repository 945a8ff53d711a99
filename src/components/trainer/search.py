"""Hyperparameter search: one study for each member of the ensemble, side by side."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import optuna

from src.components.trainer.members import MEMBERS, Params

logger = logging.getLogger(__name__)

# Errors of a member with given hyperparameters, fold by fold. It is sent to other processes, so it
# must be possible to pickle it.
FoldErrors = Callable[[str, Params], Iterator[float]]


def tune_members(
    fold_errors: FoldErrors, trials: int, start: dict[str, Params], seed: int
) -> dict[str, Params]:
    """Search hyperparameters, each member that has a space in a process of its own.

    Args:
        trials: per member.
        start: hyperparameters by member, the first trial of each study.

    Returns:
        The best hyperparameters by member.
    """
    searched = [name for name, member in MEMBERS.items() if member.space]
    logger.info("tuning %s, %d trials each, in parallel", ", ".join(searched), trials)
    tune_one = partial(tune, fold_errors=fold_errors, trials=trials, start=start, seed=seed)
    # Processes, because fitting a forest holds the interpreter lock. Each fit uses one thread,
    # which keeps results the same whatever the number of cores.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        best = dict(zip(searched, pool.map(tune_one, searched)))
    logger.info("best hyperparameters: %s", best)
    return {name: best.get(name, start[name]) for name in MEMBERS}


def tune(
    member: str, fold_errors: FoldErrors, trials: int, start: dict[str, Params], seed: int
) -> Params:
    """Search the space of one member by TPE (Bergstra et al., NeurIPS 2011).

    A trial is pruned when its errors on the folds so far are significantly larger than those of the
    best trial (Wilcoxon's signed-rank test).

    Args:
        member: one that has a space.
        start: hyperparameters by member; those of `member` are the first trial.

    Returns:
        The hyperparameters with the least mean error.
    """

    space = MEMBERS[member].space
    assert space is not None

    def objective(trial: optuna.Trial) -> float:
        params = {**MEMBERS[member].start, **space(trial)}
        trial.set_user_attr("params", params)
        errors = []
        for fold, error in enumerate(fold_errors(member, params)):
            errors.append(error)
            trial.report(error, fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.nanmean(errors))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # about the pruner
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.WilcoxonPruner(n_startup_steps=3),
    )
    study.enqueue_trial(start[member])
    study.optimize(objective, n_trials=trials)
    return dict(study.best_trial.user_attrs["params"])
