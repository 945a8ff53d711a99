"""Do intervals cover what they say, and how often is a verdict wrong? On fresh experiments.

python -m benchmarks.honesty [TRIALS] [SEEDS]: in each of 20 simulated worlds of each of two
laundries a model is trained on 50 experiments, with a search of TRIALS trials for each member
(default 0: the default hyperparameters), and predicts 200 others. Verdicts are judged by what was
simulated: by the rule of the intervals, and by the shares of wrong verdicts that are promised.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import pandas as pd

from benchmarks.worlds import LAUNDRIES, soft_sensor, world
from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.components.trainer import fitting
from src.soft_sensor import Budget, SoftSensor

FIRST_SEED = 1001

# Promised shares of wrong verdicts; one that needs more groups than there are leaves the intervals.
RULES = {"intervals": 1e-6, "3 %": 0.03, "5 %": 0.05}

Lines = list[dict[str, Any]]


def one_world(seed: int, trials: int, spec: SoftSensor, laundry: str) -> tuple[Lines, Lines]:
    """Errors and coverage, a line for each target and phase; and shares of verdicts by rule."""
    table, fresh = world(seed, spec, laundry)
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
    shares = [
        {"rule": rule, **verdict_shares(bundle, fresh, share, spec)}
        for rule, share in RULES.items()
    ]
    return lines, shares


def verdict_shares(
    bundle: Bundle, fresh: pd.DataFrame, share: float, spec: SoftSensor
) -> dict[str, float]:
    """How the judged phases of a world fare with a promise.

    Returns:
        Shares of all judged phases: wrong clean, wrong not clean and uncertain. And of those that
        are clean in truth, the share that is called so.
    """
    budget = Budget(wrong_clean=share, wrong_not_clean=share)
    predicted = bundle.predict(fresh, spec.model_copy(update={"verdict": budget}))
    judged = risk.judged(fresh[spec.columns.phase], spec)
    verdict, clean = predicted.loc[judged, "verdict"], is_clean(fresh[judged], spec)
    return {
        "wrong clean": ((verdict == Judgement.CLEAN) & ~clean).mean(),
        "wrong not clean": ((verdict == Judgement.NOT_CLEAN) & clean).mean(),
        "uncertain": (verdict == Judgement.UNCERTAIN).mean(),
        "clean found": (verdict[clean] == Judgement.CLEAN).mean(),
    }


def is_clean(fresh: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Whether the truth keeps every limit."""
    kept = pd.Series(True, fresh.index)
    for target, limit in risk.limited(spec):
        kept &= limit.side * (limit.bound - fresh[f"{target.name}_true"]) >= 0
    return kept


def show_coverage(lines: pd.DataFrame) -> None:
    """Print errors, coverage and widths by target and phase: means over the worlds."""
    grouped = lines.groupby(["target", "phase"], sort=False)
    means = grouped[["mae", "median_mae", "coverage", "width", "median_width"]].mean()
    means.insert(3, "lowest", grouped["coverage"].min())
    means.insert(4, "highest", grouped["coverage"].max())
    print(means.round(3).to_string())


def show_verdicts(shares: pd.DataFrame) -> None:
    """Print the shares of verdicts by rule, in percent: means over the worlds, and their range."""
    grouped = (100 * shares.set_index("rule")).groupby("rule", sort=False)
    means, least, most = grouped.mean(), grouped.min(), grouped.max()
    cells = {}
    for name in means:
        ends = zip(means[name], least[name], most[name])
        cells[name] = [f"{mean:.1f} ({low:.0f} to {high:.0f})" for mean, low, high in ends]
    print(f"\n{pd.DataFrame(cells, means.index).to_string()}\n")


def main(trials: int, seeds: int) -> None:
    """Print both tables for each laundry."""
    for laundry in LAUNDRIES:
        spec = soft_sensor(laundry)
        worlds = [one_world(FIRST_SEED + at, trials, spec, laundry) for at in range(seeds)]
        print(f"{laundry}: {seeds} worlds, {trials} trials for each member\n")
        show_coverage(pd.DataFrame([line for lines, _ in worlds for line in lines]))
        show_verdicts(pd.DataFrame([line for _, lines in worlds for line in lines]))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    arguments = [int(word) for word in sys.argv[1:]]
    main(*arguments, *(0, 20)[len(arguments) :])
