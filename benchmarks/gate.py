"""What the gate says of versions whose quality is known, and what putting experiments aside costs.

python -m benchmarks.gate [SEEDS] [TRIALS]: in each of 20 worlds of both laundries Production is
trained on 40 experiments, and compared with

- equal ones, which differ in their folds only,
- one of the same 40 and 10 later experiments,
- itself with noise on the predictions, which makes the out-of-fold error 20 or 50 % larger,
- one of 10 of the experiments,
- one whose training labels were shuffled unnoticed, so that both have the right values,
- one of a laboratory file that was shuffled, the same experiments or later ones alone; and a first
  version of such a file of 10 to 50 experiments.

The second table compares a model of all 50 experiments, judged out of fold, with one of 40 of them,
judged by the 10 others: errors on 200 fresh experiments, and how far the error that is shown is
from that. With a search of TRIALS trials for each member (default 0); all other models have the
default hyperparameters.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq

from benchmarks.worlds import LAUNDRIES, soft_sensor, world
from src.components.predictor.bundle import Bundle
from src.components.predictor.ensemble import Array, Models, in_units, to_scale
from src.components.trainer import fitting, gate
from src.components.trainer.evaluation import relative_error, typical_errors
from src.components.trainer.gate import Outcome
from src.components.transformation.features import model_inputs
from src.soft_sensor import SoftSensor

FIRST_SEED, TRAINED, FEW = 1001, 40, 10
EQUAL, NOISES = 3, 5  # comparisons of a kind in each world


@dataclass(frozen=True)
class Noisy:
    """A regressor whose predictions have noise; `exact` predicts without."""

    exact: Callable[[NDArray[np.float32]], tuple[Array, Array]]
    size: float  # SD on the working scale
    seed: int

    def predict(self, inputs: NDArray[np.float32]) -> tuple[Array, Array]:
        """As `Regressor.predict`."""
        prediction, spread = self.exact(inputs)
        return prediction + self.size * noise(inputs, self.seed), spread


def noise(inputs: NDArray[np.float32], seed: int) -> Array:
    """About standard normal, and the same whenever the inputs are."""
    values = np.nan_to_num(inputs.astype(float))
    directions = np.random.default_rng(seed).normal(1e3, 1e3, (values.shape[1], 12))
    return np.asarray(np.sin(values @ directions).sum(axis=1) / 6**0.5)


def noisy(bundle: Bundle, sizes: dict[str, float], seeds: dict[str, int]) -> Bundle:
    """A bundle all members of which have the same noise, of a size and a seed for each target."""
    folds: list[Models] = [
        {
            member: {
                target: Noisy(regressor.predict, sizes[target], seeds[target])
                for target, regressor in regressors.items()
            }
            for member, regressors in models.items()
        }
        for models in bundle.folds
    ]
    return replace(bundle, folds=folds)


def worse_by(bundle: Bundle, loss: float, seed: int, spec: SoftSensor) -> Bundle:
    """A bundle with noise that makes its out-of-fold error larger by a share."""
    labels, predicted = bundle.labels(spec), bundle.reference[spec.target_names]
    inputs = model_inputs(bundle.reference, spec)
    typical = typical_errors(labels, spec)
    usual = relative_error(predicted, labels, typical, spec)
    seeds = {name: 100 * seed + at for at, name in enumerate(spec.target_names)}
    drawn = {name: noise(inputs, seeds[name]) for name in spec.target_names}
    centre = {t.name: to_scale(predicted[t.name], t) for t in spec.targets}
    unit = {t.name: (centre[t.name] - to_scale(labels[t.name], t)).std() for t in spec.targets}

    def larger(share: float) -> float:
        moved = {name: centre[name] + share * unit[name] * drawn[name] for name in drawn}
        return relative_error(in_units(pd.DataFrame(moved), spec), labels, typical, spec) / usual

    share = brentq(lambda share: larger(share) - 1 - loss, 0, 20)
    return noisy(bundle, {name: share * size for name, size in unit.items()}, seeds)


def shuffled(table: pd.DataFrame, seed: int, spec: SoftSensor) -> pd.DataFrame:
    """A table whose laboratory values were mixed up between the experiments, phase by phase."""
    random = np.random.default_rng(seed)
    mixed = table.copy()
    columns = [*spec.target_names, *(target.censored for target in spec.targets)]
    for _, rows in table.groupby(spec.columns.phase).groups.items():
        mixed.loc[rows, columns] = table.loc[random.permutation(rows), columns].to_numpy()
    return mixed


def fitted(table: pd.DataFrame, spec: SoftSensor, seed: int = 0) -> Bundle:
    """A bundle without a search; the seed decides on folds and trees."""
    training = spec.training.model_copy(update={"seed": seed})
    seeded = spec.model_copy(update={"training": training})
    return fitting.assemble(table.reset_index(drop=True), fitting.DEFAULTS, seeded)


def first_experiments(table: pd.DataFrame, count: int, spec: SoftSensor) -> pd.DataFrame:
    """The rows of the first experiments."""
    experiments = table[spec.columns.experiment]
    return table[experiments.isin(experiments.unique()[:count])].reset_index(drop=True)


def challengers(
    production: Bundle, table: pd.DataFrame, seed: int, spec: SoftSensor
) -> Iterator[tuple[str, Bundle]]:
    """Versions that are compared with one of the first experiments of a table, and their kind."""
    known = first_experiments(table, TRAINED, spec)
    later = table[~table.index.isin(known.index)]
    for number in range(1, EQUAL + 1):
        yield "equal", fitted(known, spec, number)
    yield "of 10 more experiments", fitted(table, spec, 1)
    for loss in (0.2, 0.5):
        for number in range(NOISES):
            yield f"{loss:.0%} worse", worse_by(production, loss, 100 * seed + number, spec)
    yield "of 10 of the experiments", fitted(first_experiments(table, FEW, spec), spec, 1)
    wrong = fitted(shuffled(known, seed, spec), spec, 1)
    yield "of a shuffled file", wrong
    measured = [target.measured for target in spec.targets]
    right = wrong.reference.assign(**{name: production.reference[name] for name in measured})
    yield "of shuffled labels, unnoticed", replace(wrong, reference=right)
    yield "of a shuffled file of later experiments", fitted(shuffled(later, seed, spec), spec, 1)


def verdicts(table: pd.DataFrame, seed: int, spec: SoftSensor) -> Iterator[dict[str, Any]]:
    """Kind of a version, and what each part of the gate says."""
    production = fitted(first_experiments(table, TRAINED, spec), spec)
    for kind, challenger in challengers(production, table, seed, spec):
        comparison = gate.compare(challenger, production, spec)
        guessing = bool(gate.no_better_than_guessing(challenger, spec))
        yield {
            "version": kind,
            "passes": comparison.good and not guessing,
            **{str(outcome): comparison.outcome == outcome for outcome in Outcome},
            "other values": comparison.changed > 0,
            "guessing": guessing,
            **comparison.table.iloc[-1][["change", "detectable"]],
        }
    for count in (10, 20, 30, 40, 50):
        first = fitted(shuffled(first_experiments(table, count, spec), seed, spec), spec)
        guessing = bool(gate.no_better_than_guessing(first, spec))
        kind = f"a first one of a shuffled file of {count}"
        yield {"version": kind, "passes": not guessing, "guessing": guessing}


def held_out(
    table: pd.DataFrame, fresh: pd.DataFrame, trials: int, spec: SoftSensor
) -> Iterator[dict[str, Any]]:
    """Errors on fresh experiments, and those that are shown, with and without a hold-out."""
    typical = typical_errors(table, spec)

    def error(predicted: pd.DataFrame, rows: pd.DataFrame) -> float:
        return relative_error(predicted, rows, typical, spec)

    whole = fitting.train(table, trials, fitting.DEFAULTS, spec)
    shown = error(whole.reference, whole.labels(spec))
    yield {"way": "all", "fresh": error(whole.values(fresh, spec), fresh), "shown": shown}
    known = first_experiments(table, TRAINED, spec)
    rest = table[~table[spec.columns.experiment].isin(known[spec.columns.experiment])]
    part = fitting.train(known, trials, fitting.DEFAULTS, spec)
    shown = error(part.values(rest, spec), rest)
    yield {"way": "hold-out", "fresh": error(part.values(fresh, spec), fresh), "shown": shown}


def one_world(laundry: str, seed: int, trials: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of one world."""
    warnings.simplefilter("ignore")
    spec = soft_sensor(laundry)
    table, fresh = world(seed, spec, laundry)
    found = pd.DataFrame(verdicts(table, seed, spec))
    ways = pd.DataFrame(held_out(table, fresh, trials, spec))
    keys: dict[str, Any] = {"laundry": laundry, "seed": seed}
    return found.assign(**keys), ways.assign(**keys)


def main(seeds: int, trials: int) -> None:
    """Print both tables for both laundries."""
    worlds = list(product(LAUNDRIES, range(FIRST_SEED, FIRST_SEED + seeds)))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found, ways = zip(*pool.map(partial(one_world, trials=trials), *zip(*worlds)))
    compared = pd.concat(found, ignore_index=True).drop(columns="seed")
    kinds = compared.groupby(["laundry", "version"], sort=False)
    shares = kinds.mean()
    shares.insert(0, "n", kinds.size())
    print(f"{seeds} worlds of each laundry: what the gate says, shares of the comparisons\n")
    print(shares.astype(float).round(3).to_string(), "\n")
    judged = pd.concat(ways, ignore_index=True)
    judged["ratio"] = np.log(judged["shown"] / judged["fresh"])
    by_way = judged.groupby(["laundry", "way"], sort=False)
    summary = by_way[["fresh", "shown"]].mean()
    summary["shown / fresh"] = np.exp(by_way["ratio"].mean())
    summary["spread of that"] = by_way["ratio"].std()
    paired = judged.pivot(index=["laundry", "seed"], columns="way", values="fresh")
    gain = np.log(paired["all"] / paired["hold-out"]).groupby("laundry").agg(["mean", "sem"])
    print(summary.round(3).to_string(), "\n")
    print("error on fresh experiments without a hold-out, relative to that with it, in log units")
    print(gain.round(4).to_string())


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]]
    main(*arguments, *(20, 0)[len(arguments) :])
