"""A month's report on many rigs: how long it takes, who is found, and who is falsely accused.

`python -m benchmarks.rigs [RIGS]`: RIGS rigs (1,000) with 60 phases a month and a year before it,
in two differently built plants: that of `benchmarks.drift`, and that of the tests of other rigs,
whose levels are normal and share half of their variance. In one rig of fifty, one sensor reads 1
standard deviation too much, and in another one 2.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from src.components.drift_reporter.evidence import Period
from src.components.drift_reporter.rigs import judge_rigs
from src.components.drift_reporter.status import Status
from src.process import cores
from src.soft_sensor import SoftSensor, load_soft_sensor
from tests.builders.months import YEAR, moved, phases, unit
from tests.builders.plant import MONTH, Plant

PER_MONTH, EVERY = 60, 50  # phases; one rig of so many is at fault by each of SIZES
SIZES = (1.0, 2.0)  # SD
BEGIN = 1_735_689_600.0  # s: 2025-01-01
Draw = Callable[[SoftSensor, int], tuple[pd.DataFrame, pd.DataFrame]]


def of_the_benchmarks(spec: SoftSensor, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A month and the year before it."""
    plant = Plant(spec, np.random.default_rng(seed))
    month = plant.phases(PER_MONTH, BEGIN + YEAR)
    return month, plant.phases(12 * PER_MONTH, BEGIN, months=12)


def of_the_tests(spec: SoftSensor, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A month and the year before it, of 30 experiments a month."""
    both = phases(spec, 13 * PER_MONTH // 2, seed, common=0.5)
    number = np.repeat(np.arange(len(both) // 2), 2)
    both["last_timestamp"] = BEGIN + (number + 0.5) * MONTH / (PER_MONTH / 2)
    return both.iloc[-PER_MONTH:].reset_index(drop=True), both.iloc[:-PER_MONTH]


def rigs(draw: Draw, count: int, spec: SoftSensor) -> list[pd.DataFrame]:
    """Months, and the years before them, of `count` rigs."""
    sensors = [sensor.name for sensor in spec.sensors]
    drawn = []
    for number in range(count):
        month, year = draw(spec, number)
        if number % EVERY < len(SIZES):
            name = sensors[number // EVERY % len(sensors)]
            off = SIZES[number % EVERY] * unit(name, year, spec)
            month = moved(month, name, off, spec)
        drawn.append([_of_rig(rows, number, spec) for rows in (month, year)])
    return [pd.concat(parts, ignore_index=True) for parts in zip(*drawn)]


def _of_rig(rows: pd.DataFrame, number: int, spec: SoftSensor) -> pd.DataFrame:
    experiment = spec.columns.experiment
    names = f"rig {number}/" + rows[experiment].astype(str)
    times = {"first_timestamp": rows["last_timestamp"] - 1500}
    return rows.assign(**{experiment: names, **times}, flags="", verdict="")


def main(count: int = 1000) -> None:
    """Print a line for each plant and size."""
    spec = load_soft_sensor(Path("params.yaml"))
    columns = spec.columns.model_copy(update={"rig": "machine", "experiment_type": "text"})
    spec = spec.model_copy(update={"columns": columns})
    since, until = (pd.Timestamp(BEGIN + t, unit="s", tz="UTC") for t in (YEAR, YEAR + MONTH))
    print(f"{count} rigs, {PER_MONTH} phases a month, {cores()} processes")
    for draw in (of_the_benchmarks, of_the_tests):
        month, year = rigs(draw, count, spec)
        begin = time.perf_counter()
        found = judge_rigs(month, year, Period(since, until), spec, cores())
        took = time.perf_counter() - begin
        alarms = {rig.rig for rig in found if rig.status == Status.ALARM}
        words = [f"{draw.__name__}: {took:.0f} s"]
        for place, size in enumerate(SIZES):
            at_fault = {f"rig {number}" for number in range(place, count, EVERY)}
            words.append(f"{len(alarms & at_fault)} of {len(at_fault)} off by {size:g} SD found")
            alarms -= at_fault
        print("; ".join([*words, f"{len(alarms)} healthy ones in alarm"]), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
