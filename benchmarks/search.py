"""Our search beside the naive one, on the default data set: time and error.

python -m benchmarks.search [NAIVE_TRIALS]: the naive search draws up to 30,000 trees of a depth of
up to 30,000, cuts nothing short, and fits one model a target, fold by fold. Few of its trials are
run (default 2), the rest is extrapolated.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from xgboost import XGBRegressor

from benchmarks.worlds import soft_sensor, world
from src.components.trainer import fitting
from src.components.trainer.evaluation import relative_error, typical_errors
from src.soft_sensor import SoftSensor

MOST = 30_000
BUILDERS: dict[str, Callable[..., Any]] = {
    "random_forest": RandomForestRegressor,
    "xgboost": XGBRegressor,
}


def fit(
    member: str, params: dict[str, Any], part: pd.DataFrame, spec: SoftSensor
) -> dict[str, Any]:
    """One model a target, on all cores."""
    models = {}
    for target in spec.target_names:
        rows = part[part[target].notna()]
        model = BUILDERS[member](**params, random_state=0, n_jobs=-1)
        models[target] = model.fit(rows[spec.features], rows[target])
    return models


def predict(models: dict[str, Any], rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Rows by targets."""
    values = {target: model.predict(rows[spec.features]) for target, model in models.items()}
    return pd.DataFrame(values, rows.index)


def naive(
    part: pd.DataFrame, trials: int, spec: SoftSensor
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Seconds a trial, and the best hyperparameters, by member."""
    five = spec.training.model_copy(update={"folds": 5})
    folds = fitting.make_folds(part, spec.model_copy(update={"training": five}))
    typical = typical_errors(part, spec)
    seconds: dict[str, float] = {}
    best: dict[str, dict[str, Any]] = {}

    for member in BUILDERS:

        def objective(trial: optuna.Trial, member: str = member) -> float:
            params = {
                "n_estimators": trial.suggest_int("n_estimators", 1, MOST),
                "max_depth": trial.suggest_int("max_depth", 1, MOST),
            }
            parts = [
                predict(fit(member, params, part.iloc[t], spec), part.iloc[v], spec)
                for t, v in folds
            ]
            return relative_error(pd.concat(parts).loc[part.index], part, typical, spec)

        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        start = time.perf_counter()
        study.optimize(objective, n_trials=trials)
        seconds[member] = (time.perf_counter() - start) / trials
        best[member] = study.best_params
    return seconds, best


def main(naive_trials: int) -> None:
    """Print the comparison."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = soft_sensor()
    table, fresh = world(1, spec)
    typical = typical_errors(table, spec)
    truth = fresh.drop(columns=spec.target_names)
    truth = truth.rename(columns={f"{name}_true": name for name in spec.target_names})

    def scores(predicted: Callable[[pd.DataFrame], pd.DataFrame]) -> str:
        error = relative_error(predicted(truth), truth, typical, spec)
        return f"error on 200 fresh experiments {error:.3f}"

    for trials in dict.fromkeys((0, naive_trials, spec.training.trials)):
        start = time.perf_counter()
        bundle = fitting.train(table, trials, fitting.DEFAULTS, spec)
        taken = time.perf_counter() - start
        found = scores(lambda rows, bundle=bundle: bundle.values(rows, spec))  # type: ignore[misc]
        print(
            f"ours, {trials} trials a member ({len(fitting.DEFAULTS)}): {taken:.0f} s, {found}",
            flush=True,
        )
    seconds, best = naive(table, naive_trials, spec)
    models = {member: fit(member, best[member], table, spec) for member in BUILDERS}

    def both(rows: pd.DataFrame) -> pd.DataFrame:
        first, second = (predict(models[member], rows, spec) for member in BUILDERS)
        return (first + second) / 2

    whole = sum(seconds.values()) * spec.training.trials
    each = ", ".join(f"{member} {taken:.0f} s" for member, taken in seconds.items())
    print(f"naive, {naive_trials} trials a member (2): a trial takes {each}; {scores(both)}")
    print(f"naive, {spec.training.trials} trials a member, extrapolated: {whole / 3600:.1f} h")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
