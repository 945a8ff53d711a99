"""Is each part of the model worth having? Repeated grouped cross-validation with and without it.

python -m benchmarks.choices [HYDRAULICS]: on six simulated worlds, and with the folder of the
hydraulic rig (see examples/hydraulics) on that, by block. Each variant is trained as a whole,
weights included, on four fifths of the groups and predicts the rest; all variants on the same
folds.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.worlds import soft_sensor, training_data, world
from src.components.predictor import ensemble
from src.components.trainer import fitting
from src.components.trainer.evaluation import relative_error, typical_errors
from src.components.trainer.members import MEMBERS
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

SEEDS, REPEATS, FOLDS = range(2001, 2007), 2, 5
ALL = tuple(fitting.DEFAULTS)
CYCLES = 3  # of each block of the hydraulic rig, to be done in minutes


@dataclass(frozen=True)
class Variant:
    """One way to build the model."""

    members: tuple[str, ...] = ALL
    scales: bool = True
    skewness: bool = True
    impute: bool = False
    equal: bool = False
    multiply: int = 1  # of the number of trees


VARIANTS = {
    "as it is": Variant(),
    "without extra trees": Variant(members=("random_forest", "xgboost")),
    "without random forest": Variant(members=("extra_trees", "xgboost")),
    "without XGBoost": Variant(members=("random_forest", "extra_trees")),
    "without skewness": Variant(skewness=False),
    "without the log scale": Variant(scales=False),
    "equal weights": Variant(equal=True),
    "with a Gaussian process": Variant(members=(*ALL, "gaussian_process")),
    "missing labels imputed": Variant(impute=True),
    "four times the trees": Variant(multiply=4),
    "the original pair, plain": Variant(("random_forest", "xgboost"), False, False),
}


def gaussian_process(**_: object) -> Pipeline:
    """A smooth regression, the usual choice for so few rows."""
    kernel = 1.0 * RBF(5.0) + WhiteKernel(0.1)
    return make_pipeline(StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True))


@dataclass(frozen=True)
class Library:
    """A regressor of scikit-learn that stays what it is; a bundle could not store it."""

    fitted: Pipeline

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prediction, and no spread."""
        prediction = self.fitted.predict(inputs)
        return prediction, np.full_like(prediction, np.nan)


def plain_inputs(features: pd.DataFrame, spec: SoftSensor) -> np.ndarray:
    """The features alone."""
    return features[spec.features].to_numpy(dtype=np.float32)


def equal_weights(votes: dict[str, pd.DataFrame], *_: object) -> pd.DataFrame:
    """The same weight for each member."""
    return pd.DataFrame(1 / len(votes), list(votes), next(iter(votes.values())).columns)


def cross_validate(table: pd.DataFrame, variant: Variant, repeat: int, spec: SoftSensor) -> float:
    """Relative error of a variant over all folds of one repeat."""
    if not variant.scales:
        linear = tuple(t.model_copy(update={"scale": "linear"}) for t in spec.targets)
        spec = spec.model_copy(update={"targets": linear})
    params = {name: dict(fitting.DEFAULTS.get(name, {})) for name in variant.members}
    for name in {"random_forest", "extra_trees"} & set(params):
        params[name]["n_estimators"] *= variant.multiply
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=repeat)
    predicted = []
    with ExitStack() as changes:
        replaced: list[tuple[object, str, Callable[..., object], bool]] = [
            (fitting, "model_inputs", plain_inputs, not variant.skewness),
            (ensemble, "model_inputs", plain_inputs, not variant.skewness),
            (fitting, "member_weights", equal_weights, variant.equal),
        ]
        for where, name, instead, wanted in replaced:
            if wanted:
                changes.enter_context(patch.object(where, name, instead))
        process = replace(
            MEMBERS["extra_trees"],
            name="gaussian_process",
            build=gaussian_process,
            export=lambda pipeline, _: Library(pipeline),
        )
        changes.enter_context(patch.dict(MEMBERS, {process.name: process}))
        for training, validation in splitter.split(table, groups=table[GROUP]):
            part = table.iloc[training]
            if variant.impute:
                medians = part.groupby(spec.columns.phase)[spec.target_names].transform("median")
                part[spec.target_names] = part[spec.target_names].fillna(medians)
            bundle = fitting.assemble(part, params, spec)
            predicted.append(bundle.values(table.iloc[validation], spec))
    together = pd.concat(predicted).loc[table.index]
    return relative_error(together, table, typical_errors(table, spec), spec)


def compare(tables: dict[str, pd.DataFrame], repeats: int, spec: SoftSensor) -> pd.DataFrame:
    """Each variant on each table: error, and how much larger it is than that of the first."""
    jobs = [(t, v, r) for t in tables.values() for v in VARIANTS.values() for r in range(repeats)]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        errors = list(pool.map(partial(cross_validate, spec=spec), *zip(*jobs)))
    index = pd.MultiIndex.from_product([tables, VARIANTS, range(repeats)])
    found = pd.Series(errors, index).unstack(level=1)[list(VARIANTS)]
    more = found.sub(found.iloc[:, 0], axis=0)
    units = more.groupby(level=0).mean() if len(tables) > 1 else more
    return pd.DataFrame(
        {"error": found.mean(), "more": more.mean(), "se": units.std() / len(units) ** 0.5}
    )


def main(hydraulics: Path | None) -> None:
    """Print one table for the simulated worlds and one for the hydraulic rig."""
    spec = soft_sensor()
    worlds = {str(seed): world(seed, spec)[0] for seed in SEEDS}
    print(f"{len(worlds)} simulated worlds, {REPEATS} x {FOLDS} folds; se: between worlds\n")
    print(compare(worlds, REPEATS, spec).round(4).to_string(), flush=True)
    if hydraulics:
        rig = soft_sensor(params=Path("examples/hydraulics/params.yaml"))
        table = training_data(hydraulics, rig)
        table = table.groupby(GROUP).head(CYCLES).reset_index(drop=True)
        print(f"\nhydraulic rig, {len(table)} cycles of {table[GROUP].nunique()} blocks\n")
        print(compare({"rig": table}, REPEATS, rig).round(4).to_string())


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of Gaussian processes that reach a bound of their kernel
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
