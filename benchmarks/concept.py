"""How many laboratory values does it take to see that the process has changed?

`python -m benchmarks.concept [DRAWS] [WORLDS]`: in WORLDS worlds (3) of each laundry of
`benchmarks.worlds` a model is trained, and of the values of fresh experiments some are drawn, DRAWS
times (100): as they are, and with all surfactants dosed 1.4 or 0.7 times, which no sensor shows.
"""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pandas as pd

from benchmarks.worlds import LAUNDRIES, soft_sensor, world
from src.components.drift_reporter import performance
from src.components.drift_reporter.status import Status
from src.components.trainer import fitting
from src.soft_sensor import SoftSensor

FIRST_SEED = 1001
ROWS, FACTORS = (5, 10, 14, 30), (1.0, 1.4, 0.7)
MEMBERS = {"extra_trees": {"n_estimators": 100}}


def found(errors: pd.DataFrame, expected: pd.DataFrame, spec: SoftSensor) -> bool:
    """Whether the errors are an alarm."""
    tests = performance.tests(errors, expected, spec)
    return bool((tests["status"] == Status.ALARM).any())


def dosed(fresh: pd.DataFrame, factor: float, spec: SoftSensor) -> pd.DataFrame:
    """Laboratory values of another recipe, as if the assays had no upper limit."""
    surfactants = [target.name for target in spec.targets if target.scale == "log"]
    return fresh.assign(**(fresh[surfactants] * factor))


def main(draws: int = 100, worlds: int = 3) -> None:
    """Print a table: percent of draws in alarm."""
    rows = []
    for laundry, seed in product(LAUNDRIES, range(FIRST_SEED, FIRST_SEED + worlds)):
        spec = soft_sensor(laundry)
        table, fresh = world(seed, spec, laundry)
        bundle = fitting.assemble(table, MEMBERS, spec)
        expected = performance.expected_errors(bundle, spec)
        predicted = bundle.estimate(fresh, spec)
        random = np.random.default_rng(seed)
        for factor in FACTORS:
            errors = performance.errors(predicted, dosed(fresh, factor, spec), spec)
            for count, _ in product(ROWS, range(draws)):
                some = errors.iloc[random.choice(len(errors), count, replace=False)]
                alarm = 100.0 * found(some, expected, spec)
                rows.append({"laundry": laundry, "dose x": factor, "rows": count, "alarm": alarm})
    result = pd.DataFrame(rows)
    print(result.groupby(["laundry", "dose x", "rows"])["alarm"].mean().unstack().round(1))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:3]))
