"""Hyperparameters are searched from where they are told to begin, and hopeless trials end early."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from src.components.trainer import fitting
from src.components.trainer.members import Params
from src.components.trainer.search import tune
from src.soft_sensor import SoftSensor
from tests.builders.training import phase_table

FOLDS = 10
START: dict[str, Params] = {
    **fitting.DEFAULTS,
    "extra_trees": {
        "n_estimators": 20,
        "max_depth": 5,
        "min_samples_leaf": 2,
        "max_features": 0.5,
    },
}


def _depth_errors(_: str, params: Params) -> Iterator[float]:
    """Errors that are the larger the further a forest's depth is from 10."""
    for fold in range(FOLDS):
        yield abs(params["max_depth"] - 10) + 0.01 * fold


def test_a_search_begins_with_what_it_is_given(spec: SoftSensor) -> None:
    errors = partial(fitting.fold_errors, table=phase_table(20, spec, noise=0.1), spec=spec)
    assert tune("extra_trees", errors, 1, START, spec.training.seed) == START["extra_trees"]


def test_a_search_finds_the_least_error() -> None:
    best = tune("extra_trees", _depth_errors, 30, START, seed=0)
    assert best["max_depth"] == pytest.approx(10, abs=1)


def test_a_search_can_be_repeated() -> None:
    first, second = (tune("extra_trees", _depth_errors, 10, START, seed=3) for _ in range(2))
    assert first == second


def test_a_trial_that_is_clearly_worse_is_cut_short() -> None:
    asked = []

    def errors(member: str, params: Params) -> Iterator[float]:
        for error in _depth_errors(member, params):
            asked.append(error)
            yield error

    tune("extra_trees", errors, 20, START, seed=0)
    assert FOLDS < len(asked) < 20 * FOLDS
