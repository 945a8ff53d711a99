"""Do intervals cover what they say, and how often is a verdict wrong? On fresh experiments.

python -m benchmarks.honesty [TRIALS] [SEEDS]: in each of 20 simulated worlds a model is trained on
50 experiments, with a search of TRIALS trials for each member (default 0: the default
hyperparameters), and predicts 200 others.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import pandas as pd

from benchmarks.worlds import soft_sensor, world
from src.components.predictor.judgement import Judgement
from src.components.trainer import fitting
from src.soft_sensor import SoftSensor

FIRST_SEED = 1001


def one_world(
    seed: int, trials: int, spec: SoftSensor
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Errors and coverage, a line for each target and phase; and verdicts by what is true."""
    table, fresh = world(seed, spec)
    bundle = fitting.train(table, trials, fitting.DEFAULTS, spec)
    predicted = bundle.predict(fresh, spec)
    lines = []
    for phase in spec.phases:
        rows = fresh[spec.columns.phase] == phase.value
        known = table[table[spec.columns.phase] == phase.value]
        for target in spec.target_names:
            lower, upper = (predicted.loc[rows, f"{target}_{end}"] for end in ("lower", "upper"))
            measured, true = fresh.loc[rows, target], fresh.loc[rows, f"{target}_true"]
            inside = ((lower <= measured) & (measured <= upper))[measured.notna()]
            lines.append(
                {
                    "target": target,
                    "phase": phase.name,
                    "seed": seed,
                    "mae": (predicted.loc[rows, target] - true).abs().mean(),
                    "median_mae": (true - known[target].median()).abs().mean(),
                    "coverage": inside.mean(),
                    "width": (upper - lower).mean(),
                    "median_width": (upper - lower).median(),
                }
            )
    judged = fresh[spec.columns.phase].isin([p.value for p in spec.phases if p.judged])
    clean = is_clean(fresh[judged], spec).map({True: "clean", False: "not clean"})
    return lines, pd.DataFrame({"truth": clean, "verdict": predicted.loc[judged, "verdict"]})


def is_clean(fresh: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Whether the truth keeps every limit."""
    kept = pd.Series(True, fresh.index)
    for target in spec.targets:
        if target.limit is not None:
            true = fresh[f"{target.name}_true"]
            most, least = target.limit.max, target.limit.min
            kept &= true <= most if most is not None else true >= least
    return kept


def main(trials: int, seeds: int) -> None:
    """Print both tables."""
    spec = soft_sensor()
    worlds = [one_world(FIRST_SEED + at, trials, spec) for at in range(seeds)]
    lines = pd.DataFrame([line for lines, _ in worlds for line in lines])
    grouped = lines.groupby(["target", "phase"], sort=False)
    found = grouped[["mae", "median_mae", "coverage", "width", "median_width"]].mean()
    found.insert(3, "lowest", grouped["coverage"].min())
    found.insert(4, "highest", grouped["coverage"].max())
    print(f"{seeds} worlds, {trials} trials for each member\n")
    print(found.round(3).to_string())
    judged = pd.concat([verdicts for _, verdicts in worlds], ignore_index=True)
    table = pd.crosstab(judged["truth"], judged["verdict"])
    table = table.reindex(
        ["clean", "not clean"],
        columns=[Judgement.CLEAN, Judgement.UNCERTAIN, Judgement.NOT_CLEAN],
        fill_value=0,
    )
    print(f"\n{table.to_string()}\n")
    counts = table.to_numpy()
    for at, verdict, wrong in ((0, Judgement.CLEAN, 1), (2, Judgement.NOT_CLEAN, 0)):
        share = counts[wrong, at] / max(counts[:, at].sum(), 1)
        every = counts[wrong, at] / counts[wrong].sum()
        rinses = table.index[wrong]
        print(
            f"{verdict!r} and wrong: {share:.1%} of these verdicts, {every:.1%} of {rinses} rinses"
        )


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    arguments = [int(word) for word in sys.argv[1:]]
    main(*arguments, *(0, 20)[len(arguments) :])
