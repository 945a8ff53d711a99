"""Is each part of the model worth having? Repeated grouped cross-validation with and without it.

For the members, their inputs' scales and their weights see benchmarks.members, which is quicker.

python -m benchmarks.choices [HYDRAULICS]: on six simulated worlds of each laundry, and with the
folder of the hydraulic rig (see examples/hydraulics) on that, by block. Each variant is trained as
a whole, weights included, on four fifths of the groups and predicts the rest; all variants on the
same folds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from benchmarks.worlds import LAUNDRIES, soft_sensor, training_data, world
from src.components.predictor import ensemble
from src.components.trainer import fitting, members
from src.components.trainer.evaluation import relative_error, typical_errors
from src.components.transformation.features import model_inputs
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor

SEEDS, REPEATS, FOLDS = range(2001, 2007), 2, 5
ALL = tuple(fitting.DEFAULTS)
TREES = ("random_forest", "extra_trees", "xgboost")
CYCLES = 3  # of each block of the hydraulic rig, to be done in minutes


@dataclass(frozen=True)
class Variant:
    """One way to build the model."""

    members: tuple[str, ...] = ALL
    scales: bool = True  # of targets
    sensor_scales: bool = True
    skewness: bool = True
    impute: bool = False
    multiply: int = 1  # of the number of trees


VARIANTS = {
    "as it is": Variant(),
    "trees alone, linear inputs": Variant(members=TREES, sensor_scales=False),
    "without skewness": Variant(skewness=False),
    "without the log scale of targets": Variant(scales=False),
    "missing labels imputed": Variant(impute=True),
    "four times the trees": Variant(multiply=4),
    "the original pair, plain": Variant(("random_forest", "xgboost"), False, False, False),
}


def plain_inputs(features: pd.DataFrame, spec: SoftSensor) -> np.ndarray:
    """The features on their scales, without skewness."""
    return model_inputs(features, spec)[:, : len(spec.features)]


def plain_sensors(spec: SoftSensor) -> np.ndarray:
    """The sensors of `plain_inputs`."""
    return np.repeat(np.arange(len(spec.sensors)), len(spec.statistics))


def linear(spec: SoftSensor, part: str) -> SoftSensor:
    """The same with linear scales of its `sensors` or `targets`."""
    plain = [quantity.model_copy(update={"scale": "linear"}) for quantity in getattr(spec, part)]
    return spec.model_copy(update={part: tuple(plain)})


def cross_validate(table: pd.DataFrame, variant: Variant, repeat: int, spec: SoftSensor) -> float:
    """Relative error of a variant over all folds of one repeat."""
    if not variant.scales:
        spec = linear(spec, "targets")
    if not variant.sensor_scales:
        spec = linear(spec, "sensors")
    params = {name: dict(fitting.DEFAULTS.get(name, {})) for name in variant.members}
    for name in {"random_forest", "extra_trees"} & set(params):
        params[name]["n_estimators"] *= variant.multiply
    splitter = GroupKFold(FOLDS, shuffle=True, random_state=repeat)
    predicted = []
    with ExitStack() as changes:
        replaced: list[tuple[object, str, Callable[..., object], bool]] = [
            (fitting, "model_inputs", plain_inputs, not variant.skewness),
            (ensemble, "model_inputs", plain_inputs, not variant.skewness),
            (members, "input_sensors", plain_sensors, not variant.skewness),
        ]
        for where, name, instead, wanted in replaced:
            if wanted:
                changes.enter_context(patch.object(where, name, instead))
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
    """Print one table for each laundry and one for the hydraulic rig."""
    for laundry in LAUNDRIES:
        spec = soft_sensor(laundry)
        worlds = {str(seed): world(seed, spec, laundry)[0] for seed in SEEDS}
        print(f"{laundry}, {len(worlds)} worlds, {REPEATS} x {FOLDS} folds; se: between worlds\n")
        print(compare(worlds, REPEATS, spec).round(4).to_string(), "\n", flush=True)
    if hydraulics:
        rig = soft_sensor(params=Path("examples/hydraulics/params.yaml"))
        table = training_data(hydraulics, rig)
        table = table.groupby(GROUP).head(CYCLES).reset_index(drop=True)
        print(f"hydraulic rig, {len(table)} cycles of {table[GROUP].nunique()} blocks\n")
        print(compare({"rig": table}, REPEATS, rig).round(4).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
