"""Which members, which scale of the sensors, which weights? Judged on fresh experiments.

python -m benchmarks.members [HYDRAULICS]: in six simulated worlds of each laundry, each member is
fitted once on 50 experiments, fold by fold, and predicts 200 others; what differs is which members
are combined, and how. With the folder of the hydraulic rig (see examples/hydraulics), also there:
four fifths of the blocks predict the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.choices import CYCLES, FOLDS, SEEDS, TREES, linear
from benchmarks.worlds import LAUNDRIES, soft_sensor, training_data, world
from src.components.predictor.ensemble import (
    combine,
    in_units,
    out_of_fold,
    to_scale,
    total,
    votes_and_spread,
)
from src.components.trainer import fitting
from src.components.trainer.evaluation import relative_error, typical_errors
from src.components.trainer.members import MEMBERS, Member
from src.components.transformation.censoring import substituted
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

Votes = dict[str, pd.DataFrame]  # member -> rows by targets, on the working scale
ALL = (*TREES, "gaussian_process")


@dataclass(frozen=True)
class Library:
    """A regressor of scikit-learn that stays what it is; a bundle could not store it."""

    fitted: Pipeline

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prediction, and no spread."""
        prediction = self.fitted.predict(inputs)
        return prediction, np.full_like(prediction, np.nan)


RIDGE = Member(
    name="ridge",
    build=lambda *_: make_pipeline(StandardScaler(), RidgeCV(np.geomspace(0.1, 1000, 13))),
    start={},
    space=None,
    export=lambda pipeline, _: Library(pipeline),
)


@dataclass(frozen=True)
class Case:
    """Rows to learn from, and others to predict."""

    name: str
    table: pd.DataFrame
    fresh: pd.DataFrame
    spec: SoftSensor


def votes(case: Case) -> tuple[Votes, Votes]:
    """Out-of-fold votes of the rows that are learned, and those of the others, mean over folds.

    A member whose name ends in `linear` sees all sensors on the linear scale.
    """
    known, fresh = dict[str, pd.DataFrame](), dict[str, pd.DataFrame]()
    learned = substituted(case.table, case.spec)
    params = {**fitting.DEFAULTS, RIDGE.name: RIDGE.start}
    for suffix, spec in {"": case.spec, " linear": linear(case.spec, "sensors")}.items():
        with patch.dict(MEMBERS, {RIDGE.name: RIDGE}):
            models, fold = fitting.fit_folds(learned, params, spec)
        own, _ = out_of_fold(models, case.table, fold, spec)
        others = [votes_and_spread(of_fold, case.fresh, spec)[0] for of_fold in models]
        for member, vote in own.items():
            known[member + suffix] = vote
            fresh[member + suffix] = total([of_fold[member] for of_fold in others]) / len(others)
    return known, fresh


def equal(known: Votes, case: Case) -> pd.DataFrame:
    """The same weight for each member."""
    return pd.DataFrame(1 / len(known), list(known), case.spec.target_names)


def least_squares(known: Votes, case: Case) -> pd.DataFrame:
    """Weights of the least squared error, not negative, scaled to a sum of 1."""
    weights = equal(known, case)
    for target in case.spec.targets:
        measured = to_scale(case.table[target.name], target)
        rows = measured.notna()
        columns = [vote.loc[rows, target.name] - measured.mean() for vote in known.values()]
        found, _ = nnls(np.stack(columns, axis=1), measured[rows] - measured.mean())
        if found.sum() > 0:
            weights[target.name] = found / found.sum()
    return weights


def tenths(known: Votes, case: Case) -> pd.DataFrame:
    """What the model does."""
    return fitting.member_weights(known, case.table, case.spec)


def shrunk(known: Votes, case: Case) -> pd.DataFrame:
    """Half-way between tenths and equal weights."""
    return (tenths(known, case) + equal(known, case)) / 2


WAYS = {
    "as it is": (ALL, tenths),
    "trees alone, linear inputs": (tuple(f"{name} linear" for name in TREES), tenths),
    "trees alone": (TREES, tenths),
    "Gaussian process alone": (("gaussian_process",), equal),
    "with a ridge regression": ((*ALL, "ridge"), tenths),
    "linear inputs": (tuple(f"{name} linear" for name in ALL), tenths),
    "without random forest": (tuple(name for name in ALL if name != "random_forest"), tenths),
    "without extra trees": (tuple(name for name in ALL if name != "extra_trees"), tenths),
    "without XGBoost": (tuple(name for name in ALL if name != "xgboost"), tenths),
    "equal weights": (ALL, equal),
    "half-way to equal weights": (ALL, shrunk),
    "non-negative least squares": (ALL, least_squares),
}


def errors(case: Case) -> list[float]:
    """Relative error of each way on the fresh rows."""
    known, fresh = votes(case)
    typical = typical_errors(case.table, case.spec)
    found = []
    for members, rule in WAYS.values():
        weights = rule({name: known[name] for name in members}, case)
        predicted = combine({name: fresh[name] for name in members}, weights)
        found.append(relative_error(in_units(predicted, case.spec), case.fresh, typical, case.spec))
    return found


def simulated(seed: int, laundry: str) -> Case:
    """A world whose fresh experiments are judged by what was simulated."""
    spec = soft_sensor(laundry)
    table, fresh = world(seed, spec, laundry)
    truth = {name: fresh[f"{name}_true"] for name in spec.target_names}
    return Case(laundry, table, fresh.assign(**truth), spec)


def of_rig(folder: Path) -> Iterator[Case]:
    """Each fifth of the blocks is predicted once."""
    spec = soft_sensor(params=Path("examples/hydraulics/params.yaml"))
    table = training_data(folder, spec).groupby(GROUP).head(CYCLES).reset_index(drop=True)
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=0)
    for training, others in splitter.split(table, groups=table[GROUP]):
        learned, rest = (table.iloc[rows].reset_index(drop=True) for rows in (training, others))
        yield Case("hydraulic rig", learned, rest, spec)


def main(hydraulics: Path | None) -> None:
    """Print a table for each laundry and the rig."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        cases = []
        for laundry in LAUNDRIES:
            cases += list(pool.map(partial(simulated, laundry=laundry), SEEDS))
        cases += of_rig(hydraulics) if hydraulics else []
        found = pd.DataFrame(pool.map(errors, cases), columns=list(WAYS))
    found["case"] = [case.name for case in cases]
    for name, rows in found.groupby("case", sort=False):
        error = rows.drop(columns="case")
        more = error.div(error["as it is"], axis=0) - 1
        table = pd.DataFrame({"error": error.mean(), "more": more.mean(), "se": more.sem()})
        print(f"{name}, {len(rows)} data sets; more: relative to the first\n")
        print(table.round(3).to_string(), "\n", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
