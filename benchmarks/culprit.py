"""Is the right probe named, and is a healthy plant left alone? On three differently built plants.

`python -m benchmarks.culprit [MONTHS] [PLANT ...]` draws MONTHS months (100) of fifty experiments
for every case, after a first installation (the training experiments of six days) and after six and
twelve accepted months, and years with a season; in two processes. It prints a table for each plant.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from benchmarks.plants import DAY, PLANTS, Pool
from src.components.drift_reporter import drift_tests
from src.components.drift_reporter.indicators import PROCESS
from src.components.drift_reporter.status import Status
from src.soft_sensor import Sensor

EXPERIMENTS, TRAINED, TRAINING_DAYS, DAYS = 50, 40, 6.25, 30.0
ACCEPTED = (0, 6, 12)  # months
YEARS = 2  # with a season, whose quiet months are accepted

Random = np.random.Generator
Effect = Callable[[pd.DataFrame, Pool, Random], pd.DataFrame]


def offset(name: str, size: float) -> Effect:
    """The sensor reads `size` standard deviations within a phase too much."""

    def effect(month: pd.DataFrame, pool: Pool, _: Random) -> pd.DataFrame:
        sensor = pool.spec.sensor(name)
        return month.assign(**(month[_locations(sensor, pool)] + size * pool.raw_unit(sensor)))

    return effect


def gain(name: str, factor: float) -> Effect:
    """The sensor reads `factor` times the truth."""

    def effect(month: pd.DataFrame, pool: Pool, _: Random) -> pd.DataFrame:
        return month.assign(**(month[pool.spec.features_of(pool.spec.sensor(name))] * factor))

    return effect


def ramp(name: str, size: float) -> Effect:
    """An offset that grows to `size` standard deviations over the month."""

    def effect(month: pd.DataFrame, pool: Pool, _: Random) -> pd.DataFrame:
        sensor = pool.spec.sensor(name)
        off = month["last_timestamp"].rank(pct=True) * size * pool.raw_unit(sensor)
        return month.assign(**month[_locations(sensor, pool)].add(off, axis=0))

    return effect


def noisy(name: str, factor: float) -> Effect:
    """The standard deviation within a phase is `factor` times the usual one."""

    def effect(month: pd.DataFrame, pool: Pool, _: Random) -> pd.DataFrame:
        spread = pool.spec.sensor(name).spread
        return month.assign(**{spread: factor * month[spread]})

    return effect


def stuck(name: str, last: float) -> Effect:
    """The sensor shows one value in the `last` share of the month."""

    def effect(month: pd.DataFrame, pool: Pool, _: Random) -> pd.DataFrame:
        sensor, month = pool.spec.sensor(name), month.copy()
        rows = month["last_timestamp"].rank(pct=True) > 1 - last
        month.loc[rows, _locations(sensor, pool)] = month.loc[rows, sensor.level].iloc[0]
        month.loc[rows, sensor.spread] = 0.0
        return month

    return effect


def both(*effects: Effect) -> Effect:
    """Several effects in the same month."""

    def effect(month: pd.DataFrame, pool: Pool, random: Random) -> pd.DataFrame:
        for each in effects:
            month = each(month, pool, random)
        return month

    return effect


def displaced(table: pd.DataFrame, sensor: Sensor, by: np.ndarray, pool: Pool) -> pd.DataFrame:
    """What the sensor truly measures is `by` standard deviations more, (rows,), on its scale."""
    off = by * pool.unit(sensor)
    places = _locations(sensor, pool)
    if sensor.name in pool.logarithmic:
        return table.assign(**table[places].mul(np.exp(off), axis=0))
    return table.assign(**table[places].add(off, axis=0))


def _locations(sensor: Sensor, pool: Pool) -> list[str]:
    """The features that move with the readings: all but the spread."""
    return [name for name in pool.spec.features_of(sensor) if name != sensor.spread]


@dataclass(frozen=True)
class Case:
    """What befalls a month.

    Attributes:
        faulty: the sensors at fault; none in a healthy month.
        memory, slow: correlation of neighbouring experiments in a process of each sensor's own, and
            its SD; in month and reference, harmless.
        tilt: how much the production of the month differs, see `Pool.draw`.
    """

    name: str
    effect: Effect | None = None
    faulty: frozenset[str] = frozenset()
    memory: float = 0.0
    slow: float = 0.0
    tilt: float = 0.0


HEALTHY = (
    Case("healthy"),
    Case("slow, 0.9, 0.5 SD", memory=0.9, slow=0.5),
    Case("slow, 0.9, 0.3 SD", memory=0.9, slow=0.3),
    Case("slow, 0.5, 0.5 SD", memory=0.5, slow=0.5),
    Case("other production, 0.7 SD", tilt=0.7),
    Case("other production, 1.4 SD", tilt=1.4),
)


def _offsets(name: str, *sizes: float) -> Iterator[Case]:
    for size in sizes:
        yield Case(f"{name} {size:+g} SD", offset(name, size), frozenset({name}))


def _gains(name: str, *factors: float) -> Iterator[Case]:
    for factor in factors:
        yield Case(f"{name} x {factor:g}", gain(name, factor), frozenset({name}))


def _others(first: str, second: str) -> Iterator[Case]:
    """Faults of other kinds, and two at once."""
    one, two = frozenset({first}), frozenset({first, second})
    for size in (0.7, 1.4, 2.8):
        yield Case(f"{first} ramp to {size:g} SD", ramp(first, size), one)
    for factor in (1.2, 1.5, 2.0):
        yield Case(f"{first} noise x {factor:g}", noisy(first, factor), one)
    for last in (0.3, 1.0):
        yield Case(f"{first} stuck for {last:.0%}", stuck(first, last), one)
    pair = both(offset(first, 1.0), offset(second, -1.0))
    yield Case(f"{first} +1 SD, {second} -1 SD", pair, two)


CASES: dict[str, tuple[Case, ...]] = {
    "laundry": (
        *HEALTHY,
        *_offsets("ph", 0.34, 0.7, 1.4),
        *_gains("fluss1", 0.98, 0.95, 0.9),
        *_gains("druck1", 1.02, 1.05, 1.1),
        *_gains("truebung", 1.15, 1.3, 1.6),
        *_gains("leitfaehigkeit", 1.1, 1.2, 1.3),
        *_others("ph", "fluss1"),
    ),
    "evaporator": (
        *HEALTHY,
        *_offsets("feed_temperature", 0.34, 0.7, 1.4),
        *_offsets("steam_temperature", 0.34, 0.7, 1.4),
        *_gains("flow", 0.98, 0.95, 0.9),
        *_gains("pressure_drop", 1.05, 1.1, 1.2),
        *_gains("power", 1.02, 1.05, 1.1),
        *_gains("turbidity", 1.15, 1.3, 1.6),
        *_gains("conductivity", 1.1, 1.2, 1.3),
        *_offsets("density", 0.34, 0.7, 1.4),
        *_others("conductivity", "flow"),
    ),
    "linear": (
        *HEALTHY,
        *_offsets("ph", 0.34, 0.7, 1.4),
        *_offsets("fluss1", 0.34, 0.7, 1.4),
        *_gains("truebung", 1.15, 1.3, 1.6),
        *_others("ph", "fluss1"),
    ),
}


def slow_process(table: pd.DataFrame, case: Case, pool: Pool, random: Random) -> pd.DataFrame:
    """With what wanders from experiment to experiment, each sensor by itself."""
    experiment = pd.factorize(table[pool.spec.columns.experiment])[0]
    for sensor in pool.spec.sensors:
        shocks = random.normal(size=experiment.max() + 1) * np.sqrt(1 - case.memory**2)
        shocks[0] /= np.sqrt(1 - case.memory**2)
        wander = case.slow * lfilter([1.0], [1.0, -case.memory], shocks)
        table = displaced(table, sensor, wander[experiment], pool)
    return table


def reference_of(pool: Pool, random: Random, accepted: int) -> pd.DataFrame:
    """The training experiments, and months accepted after them."""
    parts = [pool.draw(random, TRAINED, 0.0, TRAINING_DAYS)]
    parts += [
        pool.draw(random, EXPERIMENTS, (age + 1) * DAYS * DAY, DAYS) for age in range(accepted)
    ]
    return pd.concat(parts, ignore_index=True)


def trial(case: Case, accepted: int, pool: Pool, seed: int) -> dict[str, bool]:
    """One month after so many accepted ones."""
    random = np.random.default_rng([seed, accepted])
    reference = reference_of(pool, random, accepted)
    month = pool.draw(random, EXPERIMENTS, (accepted + 1) * DAYS * DAY, DAYS, case.tilt)
    if case.slow:
        reference = slow_process(reference, case, pool, random)
        month = slow_process(month, case, pool, random)
    if case.effect is not None:
        month = case.effect(month, pool, random)
    return outcome(pool.predict(month), pool.predict(reference), case.faulty, pool)


def outcome(
    month: pd.DataFrame, reference: pd.DataFrame, faulty: frozenset[str], pool: Pool
) -> dict[str, bool]:
    """What the drift tests say about a month."""
    tests = drift_tests.drift(month, reference, pool.spec)
    accused = drift_tests.sensors_at_fault(tests)
    process = tests.loc[tests["indicator"] == PROCESS.name, "status"]
    return {
        "alarm": bool((tests["status"] == Status.ALARM).any()),
        "watch": bool((tests["status"] != Status.NO_DRIFT).any()),
        "right": bool(accused) and bool(set(accused[0]) & faulty),
        "pair": bool(accused) and len(accused[0]) > 1,
        "innocent": any(not set(each) & faulty for each in accused),
        "all": bool(faulty) and faulty <= {name for each in accused for name in each},
        "process": bool((process == Status.ALARM).any()),
    }


def season(pool: Pool, seed: int) -> list[dict[str, object]]:
    """Years in which two sensors go up and down by 0.5 SD with the season, and the quiet months are
    accepted. Returns one row for each month."""
    random = np.random.default_rng([seed, 99])
    sensors = random.choice(len(pool.spec.sensors), 2, replace=False)
    begin = random.uniform(0, 2 * np.pi)

    def seasonal(table: pd.DataFrame) -> pd.DataFrame:
        angle = 2 * np.pi * table["last_timestamp"].to_numpy() / (365.25 * DAY) + begin
        for place in sensors:
            table = displaced(table, pool.spec.sensors[place], 0.5 * np.sin(angle), pool)
        return pool.predict(table)

    reference, rows = seasonal(reference_of(pool, random, 0)), []
    for age in range(12 * YEARS):
        month = seasonal(pool.draw(random, EXPERIMENTS, (age + 1) * DAYS * DAY, DAYS))
        found = outcome(month, reference, frozenset(), pool)
        rows.append({"case": f"season, year {age // 12 + 1}", "accepted": -1, **found})
        if not found["alarm"]:
            reference = pd.concat([reference, month], ignore_index=True)
    return rows


def _job(job: tuple[str, int, int, int]) -> list[dict[str, object]]:
    """All trials of a case, or of the season (-1)."""
    plant, case_number, accepted, months = job
    pool = PLANTS[plant]()
    if case_number < 0:
        years = max(1, months // (12 * YEARS))
        return [row for seed in range(years) for row in season(pool, seed)]
    case = CASES[plant][case_number]
    return [
        {"case": case.name, "accepted": accepted, **trial(case, accepted, pool, seed)}
        for seed in range(months)
    ]


def measured(plant: str, months: int, executor: ProcessPoolExecutor) -> pd.DataFrame:
    """All cases of a plant: one row per month."""
    jobs = [
        (plant, number, accepted, months)
        for accepted, number in product(ACCEPTED, range(len(CASES[plant])))
    ]
    rows: list[dict[str, object]] = []
    for result in executor.map(_job, [(plant, -1, 0, 3 * months), *jobs]):
        rows += result
        print(plant, result[0]["case"], result[0]["accepted"], file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Percent of months: alarm / the right one first / an innocent one named, by the reference.

    In brackets, where there are any: months in which two were named as a pair, and in which the
    process was an alarm.
    """
    references = sorted(table["accepted"].unique())
    titles = ["season" if each < 0 else f"{each} accepted" for each in references]
    lines = [f"| % of months | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}"]
    for case, rows in table.groupby("case", sort=False):
        cells = [_cell(rows[rows["accepted"] == accepted]) for accepted in references]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    share = 100 * rows.drop(columns=["case", "accepted"]).mean()
    rest = [f"{share[name]:.0f} {name}" for name in ("pair", "process") if share[name] >= 0.5]
    words = f"{share['alarm']:.0f} / {share['right']:.0f} / {share['innocent']:.0f}"
    return words + (f" ({', '.join(rest)})" if rest else "")


def main(months: int, plants: Sequence[str]) -> None:
    """Measure and print, plant by plant."""
    with ProcessPoolExecutor(2) as executor:
        for plant in plants:
            print(f"\n{plant}\n\n{markdown(measured(plant, months, executor))}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2:] or list(PLANTS))
