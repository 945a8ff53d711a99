"""The members of the ensemble: one record each, in one table.

A member is fitted once for each fold and target. Its record says how it is built, from which
hyperparameters a search starts and in which space it searches, and in which format its regressors
are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import ZIP_DEFLATED

import numpy as np
import skops.io
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from skops.io.exceptions import UntrustedTypesFoundException
from xgboost import XGBRegressor

from src.errors import BundleRefused

Params = dict[str, Any]  # hyperparameters of one member

# What a bundle may contain beyond skops' own list of harmless types. It lives here and not in the
# bundle, so that no bundle can widen it.
TRUSTED_TYPES = frozenset({"sklearn.tree._tree.Tree"})


class Trial(Protocol):
    """As much of an optuna trial as a search space uses."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """A number between two bounds."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number between two bounds."""


@dataclass(frozen=True)
class Format:
    """How the regressors of a member are stored: one file without pickle.

    Attributes:
        suffix: of the file.
        write: regressors by `<fold>-<target>` into a file.
        read: the same back; raises BundleRefused for anything that is not such regressors.
    """

    suffix: str
    write: Callable[[dict[str, Any], Path], None]
    read: Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Member:
    """One kind of regressor.

    Attributes:
        build: makes an unfitted regressor from hyperparameters, `random_state` and `n_jobs`. One
            with `estimators_` contributes to the spread that scales the intervals.
        start: hyperparameters that serve without a search, and its first trial.
        space: draws the searched hyperparameters; the others stay as in `start`.
        format: how its regressors are stored.
    """

    name: str
    build: Callable[..., Any]
    start: Params
    space: Callable[[Trial], Params]
    format: Format


def _write_forests(regressors: dict[str, Any], file: Path) -> None:
    skops.io.dump(regressors, file, compression=ZIP_DEFLATED)


def _read_forests(file: Path) -> dict[str, Any]:
    try:
        forests = skops.io.load(file, trusted=sorted(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise BundleRefused(f"{file} asks for types that are not allowed: {error}") from error
    allowed = (RandomForestRegressor, ExtraTreesRegressor)
    if not isinstance(forests, dict) or not all(isinstance(f, allowed) for f in forests.values()):
        raise BundleRefused(f"{file} holds something other than forests")
    return forests


def _write_boosting(regressors: dict[str, Any], file: Path) -> None:
    raw = {}
    for key, regressor in regressors.items():
        raw[key] = np.frombuffer(regressor.get_booster().save_raw("ubj"), np.uint8)
    np.savez_compressed(file, allow_pickle=False, **raw)


def _read_boosting(file: Path) -> dict[str, Any]:
    try:
        with np.load(file, allow_pickle=False) as raw:
            return {key: _boosting(raw[key]) for key in raw.files}
    except ValueError as error:
        raise BundleRefused(f"{file} holds something other than bytes: {error}") from error


def _boosting(raw: np.ndarray) -> XGBRegressor:
    model = XGBRegressor(n_jobs=1)
    model.load_model(bytearray(raw.tobytes()))
    return model


FORESTS = Format(".skops", _write_forests, _read_forests)
BOOSTING = Format(".npz", _write_boosting, _read_boosting)
FORMATS = (FORESTS, BOOSTING)


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
            build=RandomForestRegressor,
            start={
                "n_estimators": 20,
                "max_depth": 20,
                "min_samples_leaf": 1,
                "max_features": 0.4,
            },
            space=_forest_space,
            format=FORESTS,
        ),
        Member(
            name="extra_trees",
            build=ExtraTreesRegressor,
            start={
                "n_estimators": 20,
                "max_depth": 20,
                "min_samples_leaf": 1,
                "max_features": 0.6,
            },
            space=_forest_space,
            format=FORESTS,
        ),
        Member(
            name="xgboost",
            build=XGBRegressor,
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
            format=BOOSTING,
        ),
    )
}
