"""Tune, cross-validate and fit the members of the ensemble.

Every choice is made inside the training part, over folds that never split a group. Each target has
a model of its own, so that a phase counts wherever it was measured.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import optuna
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import StratifiedGroupKFold
from xgboost import XGBRegressor

from src.components.predictor import Bundle, Member, combine, interval_half_widths, predict_members
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)

# More trees only average more: few serve to compare hyperparameters, more to predict.
SEARCH_TREES, FINAL_TREES = 60, 150

Params = dict[str, Any]
Fold = tuple[np.ndarray, np.ndarray]


def _forest(params: Params, seed: int) -> RandomForestRegressor:
    return RandomForestRegressor(**params, random_state=seed, n_jobs=1)


def _boosting(params: Params, seed: int) -> XGBRegressor:
    return XGBRegressor(**params, random_state=seed, n_jobs=1, tree_method="hist")


BUILDERS: dict[str, Callable[[Params, int], Any]] = {
    "random_forest": _forest,
    "xgboost": _boosting,
}


def _suggest(member: str, trial: optuna.Trial) -> Params:
    if member == "random_forest":
        return {
            "n_estimators": SEARCH_TREES,
            "max_depth": trial.suggest_int("max_depth", 3, 16),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 1, 6),
            "max_features": trial.suggest_float("max_features", 0.15, 1.0),
        }
    return {
        "n_estimators": trial.suggest_int("n_estimators", 50, 600, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 6),
        "min_child_weight": trial.suggest_float("min_child_weight", 1, 10, log=True),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 1.0),
        "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 10, log=True),
    }


def make_folds(table: pd.DataFrame, sensor: SoftSensor) -> list[Fold]:
    """Cross-validation folds that keep groups whole and phases in proportion.

    Returns:
        Positions of the training and of the validation rows, fold by fold.
    """
    count = min(sensor.training.folds, table["group"].nunique())
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=sensor.training.seed)
    return list(splitter.split(table, table[sensor.columns.phase], table["group"]))


def fit_member(member: str, params: Params, table: pd.DataFrame, sensor: SoftSensor) -> Member:
    """Fit one model a target on the rows where that target was measured."""
    models = {}
    for target in sensor.target_names:
        rows = table[table[target].notna()]
        model = BUILDERS[member](params, sensor.training.seed)
        models[target] = model.fit(rows[sensor.features].to_numpy(), rows[target].to_numpy())
    return models


def out_of_fold(
    member: str, params: Params, table: pd.DataFrame, folds: list[Fold], sensor: SoftSensor
) -> pd.DataFrame:
    """Predictions of each row by a model that has not seen its group.

    Returns:
        Rows of `table` by targets, in the targets' own units.
    """

    def one_fold(fold: Fold) -> pd.DataFrame:
        training, validation = fold
        models = fit_member(member, params, table.iloc[training], sensor)
        return predict_members({member: models}, table.iloc[validation], sensor)[member]

    # Both libraries fit without the interpreter's lock; single-threaded fits keep results exact.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return pd.concat(pool.map(one_fold, folds)).loc[table.index]


def relative_error(predicted: pd.DataFrame, table: pd.DataFrame, sensor: SoftSensor) -> float:
    """Mean over the targets of the mean absolute error, in units of the median predictor's."""
    measured = table[sensor.target_names]
    error = (predicted - measured).abs().mean()
    spread = (measured - measured.median()).abs().mean()
    return float((error / spread).mean())


def tune(
    member: str, table: pd.DataFrame, folds: list[Fold], trials: int, sensor: SoftSensor
) -> Params:
    """Search hyperparameters of least relative error by TPE (Bergstra et al., NeurIPS 2011)."""

    def objective(trial: optuna.Trial) -> float:
        params = _suggest(member, trial)
        trial.set_user_attr("params", params)
        return relative_error(out_of_fold(member, params, table, folds, sensor), table, sensor)

    sampler = optuna.samplers.TPESampler(seed=sensor.training.seed)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=trials, show_progress_bar=True)
    logger.info("%s: relative error %.3f after %d trials", member, study.best_value, trials)
    best = dict(study.best_trial.user_attrs["params"])
    return {**best, "n_estimators": FINAL_TREES} if member == "random_forest" else best


def member_weights(
    predictions: dict[str, pd.DataFrame], table: pd.DataFrame, sensor: SoftSensor
) -> pd.DataFrame:
    """Weights by inverse cross-validated mean absolute error.

    Returns:
        Members by targets; each column sums to 1.
    """
    measured = table[sensor.target_names]
    errors = {member: (p - measured).abs().mean() for member, p in predictions.items()}
    inverse = 1 / pd.DataFrame(errors).T.clip(lower=np.finfo(float).tiny)
    return inverse / inverse.sum()


def assemble(part: pd.DataFrame, params: dict[str, Params], sensor: SoftSensor) -> Bundle:
    """Fit all members with given hyperparameters and measure them by cross-validation.

    Args:
        part: the training part of a table.

    Returns:
        A bundle whose metadata are still empty.
    """
    folds = make_folds(part, sensor)
    predictions = {m: out_of_fold(m, params[m], part, folds, sensor) for m in params}
    weights = member_weights(predictions, part, sensor)
    combined = combine(predictions, weights, sensor)
    errors = combined - part[sensor.target_names]
    phase = part[sensor.columns.phase]
    kept = part[[*sensor.columns.keys, *sensor.features]]
    measured = part[sensor.target_names].add_suffix("_measured")
    return Bundle(
        features=sensor.features,
        targets=sensor.target_names,
        members={member: fit_member(member, params[member], part, sensor) for member in params},
        weights=weights,
        half_widths=interval_half_widths(errors, phase, sensor.training.coverage),
        reference=pd.concat([kept, combined, measured], axis=1),
        metadata={},
    )


def train(table: pd.DataFrame, trials: int, sensor: SoftSensor) -> tuple[Bundle, dict[str, Params]]:
    """Tune the members on the training part of a table and make a bundle of them.

    Args:
        table: what `transformation.training_table` returns.
        trials: tuning trials per member.

    Returns:
        The bundle, its metadata still empty, and the members' hyperparameters.
    """
    part = table[~table["holdout"]].reset_index(drop=True)
    folds = make_folds(part, sensor)
    params = {member: tune(member, part, folds, trials, sensor) for member in BUILDERS}
    return assemble(part, params, sensor), params
