"""What adaptation by laboratory values brings: error, coverage and wrong verdicts, month by month.

python -m benchmarks.adapt [WORLDS] [DRAWS] [PICTURE]: in WORLDS worlds (10) of each laundry of
`benchmarks.worlds` a model is trained on 50 experiments with the default hyperparameters. Then
there are 60 experiments a month, of which 10 or 3 are analysed, drawn DRAWS times (2) by chance;
their values arrive two days later. Compared with the model alone:

- without any change, for four months;
- after a month without change, a surfactant mix unseen before for four months, of which months 2
  to 4 count;
- a month in which the conductivity drifts away, and monitor has not yet accused it;
- without any change, but all values of one laboratory day are off by 5 SD of the usual error.

PICTURE (.svg or .png) shows error and coverage after the recipe change, month by month.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.honesty import is_clean
from benchmarks.worlds import (
    EXPERIMENTS,
    LAUNDRIES,
    OTHER_CONSTANTS,
    OTHER_LAUNDRY,
    SECONDS,
    soft_sensor,
    training_data,
)
from src import simulator
from src.components.adaptation.replay import (
    DAY,
    SHIFT,
    State,
    errors,
    replay,
    usual_errors,
    with_predicted,
)
from src.components.emailer.page import BLUE, GREY
from src.components.ingestion import data_set
from src.components.predictor import risk
from src.components.predictor.bundle import Bundle, FoldPredictions
from src.components.predictor.correction import Correction
from src.components.predictor.ensemble import from_scale, to_scale
from src.components.predictor.judgement import Judgement, verdicts
from src.components.trainer import fitting
from src.components.trainer.evaluation import typical_errors
from src.components.transformation.training_table import laboratory_targets
from src.soft_sensor import SoftSensor

# The constants of adaptation were chosen by looking at seeds 1001 to 1003.
FIRST_SEED = 1004
MONTH, PER_MONTH = 30, 60  # days, experiments
DELAY, STEP = 2, 5  # days until a value arrives, and between two corrections
START = 1_700_006_400.0  # midnight, UTC
HINDSIGHT = "the best constant in hindsight"  # an adaptation
OFF = 5.0  # SD of the usual error, on the bad day


@dataclass(frozen=True)
class World:
    """A trained model, and by scenario fresh phases with truth and what the models predict."""

    bundle: Bundle
    scenarios: dict[str, tuple[pd.DataFrame, FoldPredictions]]


@dataclass(frozen=True)
class Case:
    """What happens, and how much of it the laboratory sees.

    Attributes:
        scenario: key of `World.scenarios`.
        analysed: experiments a month.
        counts: the first month that is judged.
    """

    name: str
    scenario: str
    analysed: int
    counts: int = 1


class BadDay(NamedTuple):
    """What a bad laboratory day does to the bias that it changes most, SD of the usual error.

    Attributes:
        moves: from the day before to the day after it.
        apart: from what it would be had the day been good, at any later time.
    """

    moves: float
    apart: float


CASES = (
    Case("no change", "quiet", 10),
    Case("no change, 3 analysed", "quiet", 3),
    Case("recipe change", "recipe", 10, counts=3),
    Case("recipe change, 3 analysed", "recipe", 3, counts=3),
    Case("ramp of the conductivity", "ramp", 10),
)


def prepared(laundry: str, seed: int) -> World:
    """Train a model, and let it predict fresh experiments."""
    spec = soft_sensor(laundry)
    constants = OTHER_CONSTANTS if laundry == OTHER_LAUNDRY else {}
    changed = patch.multiple(simulator, **constants) if constants else nullcontext()
    with changed, TemporaryDirectory() as scratch:
        old, first = Path(scratch) / "old", EXPERIMENTS + 1
        simulator.simulate(old, EXPERIMENTS, SECONDS, seed)
        table = training_data(old, spec)
        quiet = fresh(seed, first, 4 * PER_MONTH, None, spec)
        ramp = fresh(seed, first, PER_MONTH, "ramp", spec)
        recipe = fresh(seed, first + PER_MONTH, 4 * PER_MONTH, "recipe", spec)
    before = quiet[quiet[spec.columns.experiment] < first + PER_MONTH]
    bundle = fitting.assemble(table, fitting.DEFAULTS, spec)
    recipe = pd.concat([before, recipe], ignore_index=True)
    scenarios = {"quiet": quiet, "recipe": recipe, "ramp": ramp}
    return World(
        bundle,
        {name: (rows, bundle.fold_predictions(rows, spec)) for name, rows in scenarios.items()},
    )


def fresh(seed: int, first: int, count: int, fault: str | None, spec: SoftSensor) -> pd.DataFrame:
    """Features, `Target.measured`, and as `<target>_true` what was simulated; two a day."""
    keys = spec.columns.keys
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulator.simulate(folder, count, SECONDS, seed, first, fault)
        laboratory = data_set.read_laboratory(folder / spec.files.laboratory, spec)
        measured = laboratory_targets(laboratory, spec)
        truth = pd.read_csv(folder / "truth.csv", sep=spec.files.separator)
        features = data_set.read_features(folder, spec)
    true = truth[[*keys, *spec.target_names]]
    true = true.rename(columns={name: f"{name}_true" for name in spec.target_names})
    measured = measured.rename(columns={target.name: target.measured for target in spec.targets})
    rows = features.merge(true, on=keys).merge(measured, on=keys, how="left")
    number = rows[spec.columns.experiment] - EXPERIMENTS - 1
    return rows.assign(last_timestamp=START + number * MONTH * DAY / PER_MONTH)


def drawn(rows: pd.DataFrame, count: int, random: np.random.Generator, spec: SoftSensor) -> Any:
    """Which phases are analysed: those of `count` experiments a month."""
    number = rows[spec.columns.experiment]
    chosen = list[int]()
    for start in range(int(number.min()), int(number.max()) + 1, PER_MONTH):
        chosen += random.choice(np.arange(start, start + PER_MONTH), count, replace=False).tolist()
    return number.isin(chosen)


Estimate = Callable[[pd.DataFrame, Correction | None], pd.DataFrame]


def estimator(world: World, case: Case, spec: SoftSensor) -> Estimate:
    """What predicts rows of a case, with a correction or without, verdicts included."""
    _, folds = world.scenarios[case.scenario]
    bundle = world.bundle

    def estimate(rows: pd.DataFrame, correction: Correction | None) -> pd.DataFrame:
        phase = rows[spec.columns.phase]
        predicted = bundle.combined(folds.of(rows.index), phase, spec, correction)
        return predicted.assign(verdict=verdicts(predicted, phase, bundle.reference, spec))

    return estimate


def known_errors(seen: pd.DataFrame, alone: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """The errors of the model alone on analysed phases, see `replay`."""
    predicted = alone.loc[seen.index]
    off = with_predicted(errors(predicted, seen, spec), predicted, spec)
    return seen[[*spec.columns.keys, "last_timestamp"]].join(off)


def states(known: pd.DataFrame, world: World, spec: SoftSensor) -> Iterator[State]:
    """The state at the begin of each step, with the values that have arrived until then.

    Args:
        known: errors of the analysed phases, see `replay`.
    """
    usual = usual_errors(world.bundle, spec)
    for begin in np.arange(START, known["last_timestamp"].max() + DAY, STEP * DAY):
        arrived = pd.Timestamp(begin - DELAY * DAY, unit="s", tz="UTC")
        yield replay(known, usual, spec, arrived)


def adapted(world: World, case: Case, known: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Predictions with what was known at the time."""
    rows, _ = world.scenarios[case.scenario]
    estimate = estimator(world, case, spec)
    step = ((rows["last_timestamp"] - START) // (STEP * DAY)).astype(int)
    corrections = [state.correction(spec) for state in states(known, world, spec)]
    last = len(corrections) - 1
    parts = [estimate(own, corrections[min(at, last)]) for at, own in rows.groupby(step)]
    return pd.concat(parts).loc[rows.index]


def best_constant(
    alone: pd.DataFrame, rows: pd.DataFrame, counts: pd.Series, spec: SoftSensor
) -> pd.DataFrame:
    """Predictions with the one bias of each target and phase that is best in hindsight.

    It is the median of what was missing to the truth: more than any correction by a constant can
    know.

    Args:
        counts: rows that are judged.
    """
    best = alone.copy()
    for phase, target in product(spec.phases, spec.targets):
        own = rows[spec.columns.phase] == phase.value
        value = to_scale(alone[target.name], target)
        missing = to_scale(rows[f"{target.name}_true"], target) - value
        moved = from_scale((value + missing[own & counts].median()).to_numpy(), target)
        best.loc[own, target.name] = np.clip(moved, target.low, target.high)[own]
    return best


def figures(
    predicted: pd.DataFrame, rows: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> Iterator[dict[str, Any]]:
    """Error, coverage and width of each target, phase and month; and of verdicts by month."""
    month = ((rows["last_timestamp"] - START) // (MONTH * DAY)).astype(int) + 1
    typical = typical_errors(bundle.labels(spec), spec)
    for number, phase in product(sorted(month.unique()), spec.phases):
        own = (month == number) & (rows[spec.columns.phase] == phase.value)
        for target in spec.targets:
            of_target, value = predicted[own], rows.loc[own, target.measured]
            inside = (of_target[target.lower] <= value) & (value <= of_target[target.upper])
            error = (of_target[target.name] - rows.loc[own, f"{target.name}_true"]).abs().mean()
            yield {
                "month": number,
                "phase": phase.name,
                "target": target.name,
                "error": error,
                "relative": error / typical.loc[phase.value, target.name],
                "coverage": inside[value.notna()].mean(),
                "width": (of_target[target.upper] - of_target[target.lower]).mean(),
            }
        if phase.judged and risk.limited(spec):
            verdict, clean = predicted.loc[own, "verdict"], is_clean(rows[own], spec)
            yield {
                "month": number,
                "phase": phase.name,
                "target": "",
                "wrong clean": ((verdict == Judgement.CLEAN) & ~clean).mean(),
                "wrong not clean": ((verdict == Judgement.NOT_CLEAN) & clean).mean(),
                "uncertain": (verdict == Judgement.UNCERTAIN).mean(),
            }


def compared(world: World, case: Case, seed: int, spec: SoftSensor) -> pd.DataFrame:
    """`figures` of the model alone (`adaptation` False), adapted (True), and with HINDSIGHT."""
    rows, _ = world.scenarios[case.scenario]
    random = np.random.default_rng([seed, case.analysed])
    alone = estimator(world, case, spec)(rows, None)
    known = known_errors(rows[drawn(rows, case.analysed, random, spec)], alone, spec)
    served = adapted(world, case, known, spec)
    judged = rows["last_timestamp"] >= START + (case.counts - 1) * MONTH * DAY
    hindsight = best_constant(alone, rows, judged, spec)
    parts = []
    for on, predicted in ((False, alone), (True, served), (HINDSIGHT, hindsight)):
        lines = pd.DataFrame(figures(predicted, rows, world.bundle, spec))
        parts.append(lines.assign(adaptation=on))
    table = pd.concat(parts, ignore_index=True)
    facts: dict[str, Any] = {
        "case": case.name,
        "scenario": case.scenario,
        "analysed": case.analysed,
    }
    return table.assign(**facts, counts=table["month"] >= case.counts)


def bad_day(world: World, seed: int, spec: SoftSensor) -> BadDay:
    """What one laboratory day off by OFF, amid months without change, does to biases."""
    case = CASES[0]
    rows, _ = world.scenarios[case.scenario]
    alone = estimator(world, case, spec)(rows, None)
    chosen = drawn(rows, case.analysed, np.random.default_rng(seed), spec)
    known = known_errors(rows[chosen], alone, spec)
    day = known["last_timestamp"] // DAY
    middle = day[day >= day.median()].min()
    off, usual = known.copy(), usual_errors(world.bundle, spec)
    for (phase, target), expected in usual.items():
        of_phase = (day == middle) & (known[spec.columns.phase] == phase)
        off.loc[of_phase, target] += OFF * expected.deviation
    begin, end = (
        replay(off, usual, spec, pd.Timestamp(at * DAY - 1, unit="s", tz="UTC")).levels[SHIFT]
        for at in (middle, middle + 1)
    )
    apart = [
        (after.levels[SHIFT] - before.levels[SHIFT]).abs().max()
        for before, after in zip(states(known, world, spec), states(off, world, spec))
    ]
    return BadDay((end - begin).abs().max(), max(apart))


def one_world(laundry: str, seed: int, draws: int) -> tuple[pd.DataFrame, BadDay]:
    """All figures of one world, and what its bad day does."""
    spec = soft_sensor(laundry)
    world = prepared(laundry, seed)
    tables = [compared(world, case, draw, spec) for case in CASES for draw in range(draws)]
    lines = pd.concat(tables, ignore_index=True)
    return lines.assign(laundry=laundry, seed=seed), bad_day(world, seed, spec)


def ratios(
    lines: pd.DataFrame, measure: str, by: list[str], adaptation: object = True
) -> pd.DataFrame:
    """A measure of the adapted predictions relative to the model alone: mean and standard error.

    Args:
        by: columns whose values have a row each, besides laundry and case.
        adaptation: which one.
    """
    keys = ["laundry", "case", *by]
    means = lines.groupby([*keys, "seed", "adaptation"], sort=False)[measure].mean().unstack()
    ratio = (means[adaptation] / means[False]).groupby(keys, sort=False)
    return pd.DataFrame({f"{measure} x": ratio.mean(), "se": ratio.sem()})


def show(lines: pd.DataFrame, bad_days: dict[str, list[BadDay]]) -> None:
    """Print the tables."""
    judged = lines[lines["counts"]]
    errors_of = judged[judged["target"] != ""]
    print("all targets and phases: relative error, adapted to alone; width; coverage\n")
    table = ratios(errors_of, "relative", []).join(
        ratios(errors_of, "width", []), rsuffix=" of width"
    )
    table[HINDSIGHT] = ratios(errors_of, "relative", [], HINDSIGHT)["relative x"]
    keys = ["laundry", "case"]
    for on, name in ((False, "coverage alone"), (True, "coverage")):
        own = errors_of[errors_of["adaptation"] == on]
        table[name] = own.groupby(keys, sort=False)["coverage"].mean()
    print(table.round(3).to_string(), "\n")
    parts = ratios(errors_of, "error", ["target", "phase"])
    for on, name in ((False, "coverage alone"), (True, "coverage")):
        own = errors_of[errors_of["adaptation"] == on]
        parts[name] = own.groupby([*keys, "target", "phase"], sort=False)["coverage"].mean()
    print(parts.round(3).to_string(), "\n")
    verdict = judged[judged["target"] == ""]
    verdict = verdict[verdict["adaptation"] != HINDSIGHT]
    shares = verdict.groupby([*keys, "adaptation"], sort=False)[
        ["wrong clean", "wrong not clean", "uncertain"]
    ]
    budget = 100 * soft_sensor(LAUNDRIES[0]).verdict.wrong_clean
    print(f"verdicts, percent of the judged phases; {budget:g} % may be wrong clean\n")
    print((100 * shares.mean()).round(1).to_string(), "\n")
    print("relative error, adapted to alone, by month\n")
    by_month = ratios(lines[lines["target"] != ""], "relative", ["month"])["relative x"]
    print(by_month.unstack().round(2).to_string(), "\n")
    for laundry, days in bad_days.items():
        moves, apart = (np.array(each) for each in zip(*days))
        print(
            f"{laundry}: a bad day moves a bias by at most {moves.max():.2f} SD; later it is at "
            f"most {apart.max():.2f} SD from what it would be, {np.median(apart):.2f} in the median"
        )


def draw_curve(lines: pd.DataFrame, file: Path) -> None:
    """Draw error and coverage after the recipe change by month: alone, and adapted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots(2, len(LAUNDRIES), sharex=True, sharey="row", squeeze=False)
    changed = lines[(lines["scenario"] == "recipe") & (lines["target"] != "")]
    changed = changed[changed["adaptation"] != HINDSIGHT]
    for column, laundry in enumerate(LAUNDRIES):
        of_laundry = changed[changed["laundry"] == laundry]
        for (on, analysed), own in of_laundry.groupby(["adaptation", "analysed"]):
            if not on and analysed != CASES[0].analysed:
                continue  # the model alone is the same
            label = f"{analysed} analysed a month" if on else "model alone"
            style = {"color": BLUE if on else GREY, "ls": "-" if analysed == 10 else "--"}
            months = own.groupby("month")[["relative", "coverage"]].mean()
            for row, measure in enumerate(("relative", "coverage")):
                axes[row][column].plot(months.index - 1, months[measure], label=label, **style)
        axes[0][column].set_title(laundry, fontsize="medium")
        axes[1][column].axhline(0.9, color=GREY, lw=0.5)
        axes[1][column].set_xlabel("months since the recipe changed")
        axes[1][column].set_xticks(range(5))
    axes[0][0].set_ylabel("error, relative to that of\nthe usual value as a guess")
    axes[1][0].set_ylabel("laboratory values\ninside their intervals")
    axes[0][0].set_ylim(bottom=0)
    axes[0][0].legend(fontsize="small")
    figure.savefig(file, metadata={"Date": None})


def main(worlds: int = 10, draws: int = 2, picture: str = "") -> None:
    """Print the tables of both laundries, and draw the curve."""
    warnings.simplefilter("ignore")  # means of nothing
    tables, bad_days = list[pd.DataFrame](), dict[str, list[BadDay]]()
    for laundry, seed in product(LAUNDRIES, range(FIRST_SEED, FIRST_SEED + worlds)):
        lines, bad = one_world(laundry, seed, draws)
        tables.append(lines)
        bad_days.setdefault(laundry, []).append(bad)
    lines = pd.concat(tables, ignore_index=True)
    show(lines, bad_days)
    if picture:
        draw_curve(lines, Path(picture))


if __name__ == "__main__":
    given = dict(zip(("worlds", "draws", "picture"), sys.argv[1:]))
    main(int(given.get("worlds", 10)), int(given.get("draws", 2)), given.get("picture", ""))
