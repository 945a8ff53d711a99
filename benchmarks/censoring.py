"""What to learn from laboratory values such as "<5" or ">1000": the rules compared.

python -m benchmarks.censoring [SEEDS]: in each of 3 worlds of two kinds a model is trained on 50
experiments whose laboratory values below a limit are known as such only. The limit hits 20, 40 or
60 % of the rinses; another one, above which values are not known, 20 or 40 % of the washes. The
model is judged by the true values of 200 other experiments, and by the limits of the surfactants
alone. Default hyperparameters, 3 folds.

The worlds are those of the simulator, and synthetic ones that are built in another way: values are
lognormal, sensors respond to powers of them that saturate, and the tension to their logarithms.

`learned` is the rule that params.yaml does not have: the model only learns that a value lies below
the limit. Values below it are replaced by their out-of-fold prediction where that is below the
limit, else by the limit, and the model is fitted again, ROUNDS times in all; this is
expectation-maximisation with the mean in place of the distribution. `known` is what could be
reached at best: no limit.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.worlds import soft_sensor
from src import simulator
from src.components.ingestion import data_set
from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.components.trainer import fitting
from src.components.transformation import censoring
from src.components.transformation.censoring import ABOVE, BELOW, marks
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor, Target

EXPERIMENTS, FRESH, SECONDS, FIRST_SEED, FOLDS, ROUNDS = 50, 200, 300, 2001, 3, 2
# Side of the limit: value of the phase that is cut off, shares of it, rules.
SIDES = {
    BELOW: (0, (0.2, 0.4, 0.6), ("half", "limit", "zero", "missing", "learned", "known")),
    ABOVE: (1, (0.2, 0.4), ("limit", "missing", "known")),
}
NOISE = 0.06  # of the laboratory, relative


def simulated(seed: int, spec: SoftSensor) -> pd.DataFrame:
    """Phases of the simulator: keys, features and true targets."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulator.simulate(folder, EXPERIMENTS + FRESH, SECONDS, seed)
        truth = pd.read_csv(folder / "truth.csv", sep=spec.files.separator)
        features = data_set.read_features(folder, spec)
    return features.merge(truth[[*spec.columns.keys, *spec.target_names]], on=spec.columns.keys)


def synthetic(seed: int, spec: SoftSensor) -> pd.DataFrame:
    """The same from other distributions and other relations."""
    random = np.random.default_rng(seed)
    rows = 2 * (EXPERIMENTS + FRESH)
    keys = {"experimentnummer": np.arange(rows) // 2 + 1, "waschen": np.arange(rows) % 2}
    table = pd.DataFrame(keys)
    is_wash = table["waschen"].to_numpy()
    # Logarithms of two concentrations and of something that only disturbs.
    logs = random.multivariate_normal(
        [1.6, 1.0, 0], [[1, 0.5, 0.2], [0.5, 1, 0.1], [0.2, 0.1, 1]], rows
    )
    logs[:, :2] += 2.5 * is_wash[:, None]
    logs[:, :2] = np.minimum(logs[:, :2], 6.7)
    loads = random.normal(0, 1, (len(spec.sensors), 3)) * [1, 1, 0.5]
    for sensor, load in zip(spec.sensors, loads):
        response = np.exp(0.4 * (logs - [1.6, 1.0, 0]) @ load + random.normal(0, 0.12, rows))
        level = sensor.low + (sensor.high - sensor.low) * response / (3 + response)
        spread = level * random.lognormal(-3, 0.3, rows)
        for statistic in spec.statistics:
            shift = {"percentile25": -0.7, "percentile75": 0.7}.get(statistic, 0.0)
            own = random.normal(0, 0.05, rows) + shift
            table[sensor.feature(statistic)] = (
                spread if statistic == "std" else level + own * spread
            )
        table[sensor.out_of_bounds] = 0
    tension, anionic, nonionic = spec.target_names
    table[anionic], table[nonionic] = np.exp(logs[:, 0]), np.exp(logs[:, 1])
    table[tension] = np.clip(70 - 4 * logs[:, 0] - 2 * logs[:, 1], 25, 72)
    return table.assign(n_samples=1000, first_timestamp=0.0, last_timestamp=1500.0)


WORLDS: dict[str, Callable[[int, SoftSensor], pd.DataFrame]] = {
    "simulator": simulated,
    "synthetic": synthetic,
}


def surfactants(spec: SoftSensor) -> list[Target]:
    """The targets whose values are cut off: those with a scale of their own."""
    return [target for target in spec.targets if target.scale == "log"]


def analysed(
    truth: pd.DataFrame, side: str, share: float, seed: int, spec: SoftSensor
) -> pd.DataFrame:
    """The training table of the first experiments, with noise and limits of the laboratory."""
    random = np.random.default_rng(seed)
    table = truth[truth["experimentnummer"] <= EXPERIMENTS].reset_index(drop=True)
    for target in spec.targets:
        noise = 1 + NOISE * random.normal(size=len(table))
        table[target.name] = (table[target.name] * noise).clip(target.low, target.high)
    for target in surfactants(spec):
        of_phase = table.loc[table["waschen"] == SIDES[side][0], target.name]
        limit = of_phase.quantile(share if side == BELOW else 1 - share)
        cut = table[target.name] < limit if side == BELOW else table[target.name] > limit
        table[target.censored] = np.where(cut & (share > 0), side, "")
        table[target.name] = table[target.name].where(~cut, limit)
        table[f"{target.name}_limit"] = limit
    experiment = table["experimentnummer"]
    table[GROUP] = experiment
    return table


def trained(rule: str, table: pd.DataFrame, known: pd.DataFrame, spec: SoftSensor) -> Bundle:
    """A model by one of the RULES; `known` has the laboratory values without limits."""
    if rule == "known":
        return fitting.assemble(known, fitting.DEFAULTS, spec)
    if rule == "learned":
        return learned(table, spec)
    if rule == "missing":  # as `censoring.means` leaves them
        for target in surfactants(spec):
            table = table.assign(
                **{target.name: table[target.name].where(marks(table, target) == "")}
            )
    rules = {"below_detection": rule, "above_range": "missing" if rule == "missing" else "limit"}
    targets = tuple(target.model_copy(update=rules) for target in spec.targets)
    return fitting.assemble(table, fitting.DEFAULTS, spec.model_copy(update={"targets": targets}))


def learned(table: pd.DataFrame, spec: SoftSensor) -> Bundle:
    """See the module: values below the limit follow the model's own predictions."""
    original = censoring.substituted
    guess: pd.DataFrame | None = None

    def by_prediction(part: pd.DataFrame, of: SoftSensor) -> pd.DataFrame:
        filled = original(part, of)
        for target in surfactants(of):
            if guess is not None:
                below = marks(part, target) == BELOW
                limit = part[target.name]
                nearest = guess[target.name].clip(target.low, limit)
                filled[target.name] = filled[target.name].mask(below, nearest)
        return filled

    setattr(fitting, "substituted", by_prediction)
    try:
        for _ in range(ROUNDS):
            bundle = fitting.assemble(table, fitting.DEFAULTS, spec)
            guess = bundle.reference[spec.target_names]
    finally:
        setattr(fitting, "substituted", original)
    return bundle


def one_world(kind: str, side: str, share: float, seed: int) -> list[dict[str, Any]]:
    """A line for each rule: errors, coverage and, of rinses, verdicts."""
    spec = soft_sensor()
    tension = spec.targets[0].model_copy(update={"limit": None})
    training = spec.training.model_copy(update={"folds": FOLDS})
    spec = spec.model_copy(update={"training": training, "targets": (tension, *surfactants(spec))})
    phase, _, rules = SIDES[side]
    truth = WORLDS[kind](seed, spec)
    fresh = truth[(truth["experimentnummer"] > EXPERIMENTS) & (truth["waschen"] == phase)]
    fresh = fresh.reset_index(drop=True)
    table = analysed(truth, side, share, seed, spec)
    known = analysed(truth, side, 0.0, seed, spec)
    lines = []
    for rule in rules:
        predicted = trained(rule, table, known, spec).predict(fresh, spec)
        figures = [_figures(predicted, fresh, table, side, target) for target in surfactants(spec)]
        line: dict[str, Any] = {"world": kind, "side": side, "share": share, "rule": rule}
        for name in figures[0]:
            line[name] = np.mean([figure[name] for figure in figures])
        clean = pd.Series(True, fresh.index)
        for target in surfactants(spec):
            assert target.limit is not None
            clean &= fresh[target.name] <= target.limit.max
        for name, rows in (("clean", clean), ("dirty", ~clean)):
            verdicts = predicted.loc[rows, "verdict"]
            line[name] = int(rows.sum())
            line[f"{name}_as_clean"] = int((verdicts == Judgement.CLEAN).sum())
            line[f"{name}_as_dirty"] = int((verdicts == Judgement.NOT_CLEAN).sum())
        lines.append(line)
    return lines


def _figures(
    predicted: pd.DataFrame, fresh: pd.DataFrame, table: pd.DataFrame, side: str, target: Target
) -> dict[str, float]:
    """Errors of one target on log(1 + mg/L), and the share of true values inside the intervals."""
    true, limit = fresh[target.name], table[f"{target.name}_limit"].iloc[0]
    error = np.log1p(predicted[target.name]) - np.log1p(true)
    inside = (predicted[target.lower] <= true) & (true <= predicted[target.upper])
    beyond = true < limit if side == BELOW else true > limit
    near = ~beyond & true.between(limit / 2, 2 * limit)
    width = np.log1p(predicted[target.upper]) - np.log1p(predicted[target.lower])
    return {
        "error": error.abs().mean(),
        "error_beyond": error[beyond].abs().mean(),
        "error_within": error[~beyond].abs().mean(),
        "bias_beyond": error[beyond].mean(),
        "bias_near": error[near].mean(),
        "covers": inside.mean(),
        "covers_beyond": inside[beyond].mean(),
        "covers_within": inside[~beyond].mean(),
        "width": width.mean(),
    }


def main(seeds: int) -> None:
    """Print what each rule does, by world and share of the phases beyond the limit."""
    jobs = []
    for seed, side in product(range(FIRST_SEED, FIRST_SEED + seeds), SIDES):
        for share, kind in product(SIDES[side][1], WORLDS):
            jobs.append((kind, side, share, seed))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = pd.DataFrame([line for lines in pool.map(one_world, *zip(*jobs)) for line in lines])
    grouped = found.groupby(["world", "side", "share", "rule"], sort=False)
    table = grouped[[name for name in found.select_dtypes("float") if name != "share"]].mean()
    total = grouped[list(found.select_dtypes("int"))].sum()
    for true, given in product(("clean", "dirty"), repeat=2):
        table[f"{true}_as_{given}"] = total[f"{true}_as_{given}"] / total[true]
    print(f"{seeds} worlds of each kind; errors and biases of log(1 + mg/L)\n")
    for names, part in table.groupby(["world", "side"], sort=False):
        print(f"{names}\n{part.droplevel([0, 1]).round(3).to_string()}\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(*[int(word) for word in sys.argv[1:]] or (3,))
