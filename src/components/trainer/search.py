"""Hyperparameter search: one study for each member of the ensemble, side by side."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from queue import Empty, Queue

import numpy as np
import optuna
from threadpoolctl import threadpool_limits

from src.components.trainer.members import MEMBERS, Params
from src.progress import step

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
    # Processes, because fitting a forest holds the interpreter lock. Each fit uses one thread,
    # which keeps results the same whatever the number of cores, and with so few rows costs less.
    spawned = get_context("spawn")
    with spawned.Manager() as manager, ProcessPoolExecutor(mp_context=spawned) as pool:
        ended = manager.Queue()
        tune_one = partial(
            tune, fold_errors=fold_errors, trials=trials, start=start, seed=seed, ended=ended
        )
        studies = [pool.submit(tune_one, member) for member in searched]
        with step("searching hyperparameters, trials", trials * len(searched)) as advance:
            while not all(study.done() for study in studies):
                with suppress(Empty):
                    ended.get(timeout=0.5)
                    advance(1)
        best = {member: study.result() for member, study in zip(searched, studies)}
    logger.info("best hyperparameters: %s", best)
    return {name: best.get(name, start[name]) for name in MEMBERS}


def tune(
    member: str,
    fold_errors: FoldErrors,
    trials: int,
    start: dict[str, Params],
    seed: int,
    ended: Queue[int] | None = None,
) -> Params:
    """Search the space of one member by TPE (Bergstra et al., NeurIPS 2011).

    A trial is pruned when its errors on the folds so far are significantly larger than those of the
    best trial (Wilcoxon's signed-rank test).

    Args:
        member: one that has a space.
        start: hyperparameters by member; those of `member` are the first trial.
        ended: gets the number of each trial that has ended.

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
    callbacks = [lambda _, trial: ended.put(trial.number)] if ended is not None else []
    with threadpool_limits(1):
        study.optimize(objective, n_trials=trials, callbacks=callbacks)
    return dict(study.best_trial.user_attrs["params"])
