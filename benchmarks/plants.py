"""Plants to try the monitoring on: healthy experiments as features, in any number.

Three differently built ones. The laundry of `src.simulator` and the evaporator below follow
nonlinear physics, with recipes, dilution and levels that span orders of magnitude; the plant of the
tests is linear. Of the first two a pool of experiments is made once; months are drawn from it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from src import simulator
from src.components.ingestion import data_set
from src.simulator import Array, autocorrelated
from src.soft_sensor import Sensor, SoftSensor, load_soft_sensor
from tests.builders.months import within
from tests.builders.plant import Plant

SPEC = load_soft_sensor(Path("params.yaml"))
EXPERIMENTS, SECONDS = 3000, 200  # of the pool of the laundry, and in a phase
READINGS, CYCLES = 60, 4000  # in a phase of the evaporator, and in its pool
DAY = 86_400  # s


@dataclass(frozen=True)
class Pool:
    """Healthy experiments of a plant.

    Attributes:
        phases: features, one row per phase; the phases of an experiment follow each other.
        logarithmic: sensors whose readings span orders of magnitude, so that they vary by factors.
    """

    name: str
    spec: SoftSensor
    phases: pd.DataFrame
    logarithmic: frozenset[str]

    def draw(
        self,
        random: np.random.Generator,
        experiments: int,
        start: float,
        days: float,
        tilt: float = 0.0,
    ) -> pd.DataFrame:
        """Experiments drawn without replacement, evenly spread over `days` from `start` (s) on.

        Args:
            tilt: standard deviations by which a month of another production lies, on average, along
                the first principal axis of the experiments; its experiments are true ones.

        Returns:
            Keys, last_timestamp, n_samples, features, flags and verdict.
        """
        experiment, phase = self.spec.columns.keys
        first_rows, sizes = _extents(self)
        weights = np.exp(tilt * _along_the_axis(self))
        chosen = random.choice(len(sizes), experiments, replace=False, p=weights / weights.sum())
        order = np.repeat(np.arange(experiments), sizes[chosen])
        within_experiment = np.concatenate([np.arange(size) for size in sizes[chosen]])
        rows = self.phases.take(first_rows[chosen][order] + within_experiment)
        began = start + days * DAY * order / experiments
        ended = began + np.where(rows[phase] == self.spec.phases[0].value, 1500.0, 3000.0)
        number = order + int(random.integers(1 << 40))
        table = rows.assign(**{experiment: number}, last_timestamp=ended, n_samples=1000)
        return table.assign(flags="", verdict="").reset_index(drop=True)

    def predict(self, table: pd.DataFrame) -> pd.DataFrame:
        """With a soft sensor's predictions from the levels as they are."""
        levels = self.scaled(table)
        weights = np.random.default_rng(0).normal(size=(levels.shape[1], len(self.spec.targets)))
        return table.assign(**dict(zip(self.spec.target_names, (levels @ weights).T)))

    def scaled(self, table: pd.DataFrame) -> Array:
        """Levels in standard deviations within a phase, on the sensors' scales, (rows, sensors)."""
        columns = []
        for sensor in self.spec.sensors:
            level = self.on_scale(sensor, table[sensor.level].to_numpy(dtype=float))
            columns.append(np.nan_to_num(level / self.unit(sensor)))
        return np.column_stack(columns)

    def on_scale(self, sensor: Sensor, values: Array) -> Array:
        """The logarithm of a logarithmic sensor's values."""
        return np.log(np.maximum(values, 1e-9)) if sensor.name in self.logarithmic else values

    def unit(self, sensor: Sensor) -> float:
        """Standard deviation of a level within the phases, on the sensor's scale."""
        return _unit(self, sensor.name, on_scale=True)

    def raw_unit(self, sensor: Sensor) -> float:
        """Standard deviation of a level within the phases, in the sensor's unit."""
        return _unit(self, sensor.name, on_scale=False)

    def __hash__(self) -> int:
        """Pools are compared by name."""
        return hash(self.name)


@cache
def _unit(pool: Pool, name: str, on_scale: bool) -> float:
    sensor = pool.spec.sensor(name)
    values = pool.phases[sensor.level].to_numpy(dtype=float)
    scaled = pd.Series(pool.on_scale(sensor, values) if on_scale else values)
    return within(scaled, pool.phases, pool.spec)


@cache
def _extents(pool: Pool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First row and number of rows of each experiment."""
    experiment = pool.phases[pool.spec.columns.experiment].to_numpy()
    _, first_rows, sizes = np.unique(experiment, return_index=True, return_counts=True)
    return first_rows, sizes


@cache
def _along_the_axis(pool: Pool) -> Array:
    """How far each experiment lies along the first principal axis of the levels, in SD."""
    levels = pd.DataFrame(pool.scaled(pool.phases))
    levels -= levels.groupby(pool.phases[pool.spec.columns.phase].to_numpy()).transform("mean")
    axis = np.linalg.eigh(levels.cov())[1][:, -1]
    first_rows, sizes = _extents(pool)
    place = np.add.reduceat(levels.to_numpy() @ axis, first_rows) / sizes
    return np.asarray(place / place.std())


@cache
def laundry() -> Pool:
    """Experiments of the simulator: five sensors, five recipes."""
    with tempfile.TemporaryDirectory() as scratch:
        simulator.simulate(Path(scratch), EXPERIMENTS, SECONDS, seed=11)
        phases = data_set.read_features(Path(scratch), SPEC)
    phases = phases.sort_values(SPEC.columns.keys, ignore_index=True)
    return Pool("laundry", SPEC, phases, frozenset({"truebung", "leitfaehigkeit"}))


# Of the evaporator: name, unit, noise of a reading as share of it.
EVAPORATOR = {
    "feed_temperature": ("C", 0.002),
    "steam_temperature": ("C", 0.002),
    "flow": ("m3/h", 0.01),
    "pressure_drop": ("bar", 0.02),
    "power": ("kW", 0.01),
    "turbidity": ("NTU", 0.03),
    "conductivity": ("mS/cm", 0.01),
    "density": ("kg/m3", 0.0005),
}


@cache
def evaporator() -> Pool:
    """Cycles of an evaporator: eight sensors, three products, evaporation and flushing."""
    sensors = tuple(
        Sensor(name=name, title=name.replace("_", " "), unit=unit, low=0, high=1e5)
        for name, (unit, _) in EVAPORATOR.items()
    )
    spec = SPEC.model_copy(update={"name": "evaporator", "sensors": sensors})
    random = np.random.default_rng(12)
    experiment, phase = spec.columns.keys
    # A row for each phase: first evaporation (1), then flushing (0).
    flushing = np.tile([False, True], CYCLES)
    levels = _evaporator_levels(random, CYCLES, flushing)
    table = {experiment: np.repeat(np.arange(CYCLES), 2), phase: (~flushing).astype(int)}
    for sensor, level in zip(sensors, levels):
        table |= _statistics(random, sensor, level, EVAPORATOR[sensor.name][1])
    phases = pd.DataFrame(table)[random.random(2 * CYCLES) > 0.03]
    return Pool("evaporator", spec, phases.reset_index(drop=True), frozenset({"turbidity"}))


def _evaporator_levels(
    random: np.random.Generator, cycles: int, flushing: NDArray[np.bool_]
) -> list[Array]:
    """True levels of the sensors, each (2 cycles,), in the order of EVAPORATOR.

    Friction in a tube with a viscosity that falls with temperature and rises with solids (Blasius,
    Einstein), the pump's power, and density and conductivity of the liquor.
    """

    def of_cycle(values: Array) -> Array:
        return np.repeat(values, 2)

    product = random.integers(3, size=cycles)
    solids = np.array([0.08, 0.14, 0.24])[product] * random.lognormal(0, 0.12, cycles)
    rinsed = np.where(flushing, random.lognormal(-3.2, 0.35, 2 * cycles), 1)
    share = of_cycle(solids) * rinsed
    salt = of_cycle(np.array([9.0, 5.0, 7.0])[product] * random.lognormal(0, 0.1, cycles)) * rinsed
    feed = of_cycle(random.normal(18, 3, cycles)) + random.normal(0, 0.5, 2 * cycles)
    steam = of_cycle(random.normal(78, 1.5, cycles)) + random.normal(0, 0.7, 2 * cycles)
    fouling = of_cycle(random.lognormal(0, 0.15, cycles))
    speed = of_cycle(random.normal(1, 0.06, cycles)) * np.where(flushing, 1.3, 1)
    viscosity = (1 + 2.5 * share + 14 * share**2) * np.exp(-0.02 * (steam - 78))
    flow = 12 * speed / (1 + 0.25 * fouling * viscosity**0.25)
    drop = 0.004 * fouling * viscosity**0.25 * flow**1.75
    power = flow * (drop + 0.8) / 36 / of_cycle(random.normal(0.62, 0.02, cycles))
    haze = 4 + 2500 * share**1.3 * of_cycle(random.lognormal(0, 0.35, cycles))
    conductivity = (0.4 + salt * (1 - share)) * (1 + 0.02 * (steam - 25)) / 2
    density = 1000 * (1 + 0.4 * share) - 0.45 * (steam - 20)
    return [feed, steam, flow, drop, power, haze, conductivity, density]


def _statistics(
    random: np.random.Generator, sensor: Sensor, level: Array, noise: float
) -> dict[str, Array]:
    """The features of noisy readings around each level; how noisy they are varies by a fifth."""
    own = noise * random.lognormal(0, 0.2, len(level))
    shape = len(level), READINGS
    readings = level[:, None] * (1 + autocorrelated(random, shape, 0.6) * own[:, None])
    low, median, high = np.quantile(readings, [0.25, 0.5, 0.75], axis=1)
    return {
        sensor.feature("mean"): readings.mean(axis=1),
        sensor.spread: readings.std(axis=1, ddof=1),
        sensor.level: median,
        sensor.feature("percentile25"): low,
        sensor.feature("percentile75"): high,
    }


@cache
def linear() -> Pool:
    """The plant of the tests: five sensors whose levels are correlated linearly."""
    phases = Plant(SPEC, np.random.default_rng(13)).phases(8000)
    kept = [*SPEC.columns.keys, *SPEC.features]
    return Pool("linear", SPEC, phases[kept], frozenset({"truebung"}))


PLANTS = {"laundry": laundry, "evaporator": evaporator, "linear": linear}
