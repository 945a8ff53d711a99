"""The members of the ensemble: one record each, in one table.

A member is fitted once for each fold and target. Its record says how it is built, from which
hyperparameters a search starts and in which space it searches, and how a fitted regressor becomes
the arrays that are stored and that predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from xgboost import XGBRegressor

from src.components.predictor.ensemble import Regressor
from src.components.trainer import export
from src.components.trainer.gaussian_process import SensorProcess
from src.components.transformation.features import input_sensors
from src.soft_sensor import SoftSensor

Params = dict[str, Any]  # hyperparameters of one member
Build = Callable[[Params, SoftSensor], Any]  # makes an unfitted regressor


class Trial(Protocol):
    """As much of an optuna trial as a search space uses."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number between two bounds."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number between two bounds."""


@dataclass(frozen=True)
class Member:
    """One kind of regressor.

    Attributes:
        build: makes an unfitted regressor from hyperparameters.
        start: hyperparameters that serve without a search, and its first trial.
        space: draws the searched hyperparameters; the others stay as in `start`. None for a
            regressor that finds all of them while it is fitted.
        export: makes arrays of a fitted regressor; raises ExportFailed when they do not predict the
            same for given inputs, (rows, inputs).
    """

    name: str
    build: Build
    start: Params
    space: Callable[[Trial], Params] | None
    export: Callable[[Any, NDArray[np.float32]], Regressor]


def of_library(kind: Callable[..., Any]) -> Build:
    """Build a regressor of scikit-learn or XGBoost, which draws numbers and uses one thread."""
    return lambda params, spec: kind(**params, random_state=spec.training.seed, n_jobs=1)


def _sensor_process(params: Params, spec: SoftSensor) -> SensorProcess:
    return SensorProcess(**params, sensors=input_sensors(spec), seed=spec.training.seed)


def _forest_space(trial: Trial) -> Params:
    return {
        "max_depth": trial.suggest_int("max_depth", 3, 20),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 6),
        "max_features": trial.suggest_float("max_features", 0.15, 1.0),
    }


def _boosting_space(trial: Trial) -> Params:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 6),
        "min_child_weight": trial.suggest_float("min_child_weight", 1, 10, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 10, log=True),
    }


# Ten folds of 20 trees are 200 trees; more change the error by less than 1 %
# (Documentation/model.md).
MEMBERS: dict[str, Member] = {
    member.name: member
    for member in (
        Member(
            name="random_forest",
            build=of_library(RandomForestRegressor),
            start={
                "n_estimators": 20,
                "max_depth": 20,
                "min_samples_leaf": 1,
                "max_features": 0.4,
            },
            space=_forest_space,
            export=export.forest,
        ),
        Member(
            name="extra_trees",
            build=of_library(ExtraTreesRegressor),
            start={
                "n_estimators": 20,
                "max_depth": 20,
                "min_samples_leaf": 1,
                "max_features": 0.6,
            },
            space=_forest_space,
            export=export.forest,
        ),
        Member(
            name="xgboost",
            build=of_library(XGBRegressor),
            start={
                "n_estimators": 150,
                "learning_rate": 0.07,
                "max_depth": 3,
                "min_child_weight": 2.0,
                "subsample": 0.7,
                "colsample_bytree": 0.5,
                "reg_lambda": 1.0,
            },
            space=_boosting_space,
            export=export.boosting,
        ),
        Member(
            name="gaussian_process",
            build=_sensor_process,
            start={},
            space=None,
            export=export.process,
        ),
    )
}
