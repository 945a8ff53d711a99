"""Months for the tests of monitoring: of the benchmarks' plant, and of any other soft sensor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from src.components.drift_reporter import performance
from src.components.drift_reporter.evidence import (
    NO_TESTS,
    Earlier,
    Evidence,
    LaboratoryEvidence,
    Past,
    Period,
    reference_flags,
)
from src.components.drift_reporter.sample import Array, Codes, Sample
from src.soft_sensor import SoftSensor
from tests.builders.plant import MONTH, Plant

YEAR = 12 * MONTH  # s; a reference covers it, the month comes after it
# No report of another rig may use them.
WORDS_OF_A_LAUNDRY = (
    *("rinse", "rinsing", "washing", "textile", "recipe", "water", "detergent"),
    *("programme", "laundry"),
)


def plant(spec: SoftSensor, seed: int) -> Plant:
    """The plant of the benchmarks, whose five sensors are correlated as in laundry water."""
    return Plant(spec, np.random.default_rng(seed))


def of_the_ledger(table: pd.DataFrame) -> pd.DataFrame:
    """With flags and verdict, as the ledger has them for phases without any peculiarity."""
    return table.assign(flags="", verdict="")


def compared(month: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> Evidence:
    """A month and its reference as evidence, without a past, laboratory values or reports.

    Readings of the reference are within bounds and training, where it does not say otherwise.
    """
    unsaid = [flag for flag in reference_flags(spec) if flag not in reference]
    unflagged = pd.DataFrame(0.0, index=reference.index, columns=unsaid)
    end = pd.Timestamp(month["last_timestamp"].max(), unit="s", tz="UTC")
    return Evidence(
        period=Period(None, end),
        version="1",
        month=month,
        reference=pd.concat([reference, unflagged], axis=1),
        past=Past(),
        laboratory=unanalysed(spec),
        earlier=Earlier(accepted=[], tests=NO_TESTS),
    )


def unanalysed(spec: SoftSensor) -> LaboratoryEvidence:
    """No laboratory values have arrived; what errors are expected does not matter."""
    measured = phases(spec, 5, 0).assign(**dict.fromkeys(spec.target_names, 1.0))
    expected = performance.errors(measured, measured, spec)
    return LaboratoryEvidence(recent=expected.head(0), expected=expected)


def phases(
    spec: SoftSensor, experiments: int, seed: int, start: float = 0.0, common: float = 0.0
) -> pd.DataFrame:
    """All phases of healthy experiments of any soft sensor, one experiment an hour.

    Levels of variance 1 have half of it from the experiment; their phases lie 10 apart.

    Args:
        start: of the first experiment, Unix seconds.
        common: share of the variance that all sensors have in common.

    Returns:
        Keys, last_timestamp, n_samples, features, and predictions under the targets' names.
    """
    random, kinds = np.random.default_rng(seed), len(spec.phases)
    rows = experiments * kinds
    number = seed * 1_000_000 + np.repeat(np.arange(experiments), kinds)
    table = pd.DataFrame(
        {
            spec.columns.experiment: number,
            spec.columns.phase: [phase.value for phase in spec.phases] * experiments,
            "last_timestamp": start + 3600.0 * (np.arange(rows) / kinds + 1),
            "n_samples": 1000,
        }
    )
    if spec.columns.experiment_type == "text":
        table[spec.columns.experiment] = table[spec.columns.experiment].astype(str)

    def varied() -> np.ndarray:
        shared = np.repeat(random.normal(size=experiments), kinds)
        return np.asarray((shared + random.normal(size=rows)) / 2**0.5)

    together = varied()
    apart = 10 * np.tile(np.arange(kinds), experiments)
    features: dict[str, np.ndarray] = {}
    for sensor in spec.sensors:
        level = apart + common**0.5 * together + (1 - common) ** 0.5 * varied()
        spread = random.lognormal(0, 0.3, rows)
        for statistic in spec.statistics:
            percent = statistic.removeprefix("percentile")
            quantile = norm.ppf(float(percent) / 100) if percent.isdecimal() else 0.0
            values = spread if statistic == "std" else level + quantile * spread
            features[sensor.feature(statistic)] = values
    for target in spec.target_names:
        features[target] = varied() + apart
    return table.assign(**features)


def moved(table: pd.DataFrame, name: str, offset: float, spec: SoftSensor) -> pd.DataFrame:
    """As if a sensor had read `offset` more: all its statistics but the standard deviation."""
    sensor = spec.sensor(name)
    features = [feature for feature in spec.features_of(sensor) if feature != sensor.spread]
    return table.assign(**(table[features] + offset))


def within(values: pd.Series, table: pd.DataFrame, spec: SoftSensor) -> float:
    """Standard deviation of a column within the phases."""
    return float((values - values.groupby(table[spec.columns.phase]).transform("mean")).std())


def unit(name: str, table: pd.DataFrame, spec: SoftSensor) -> float:
    """Standard deviation of a sensor's level within the phases."""
    return within(table[spec.sensor(name).level], table, spec)


def sample_of(phase: Codes, experiment: Codes, month: Array, period: Codes | None = None) -> Sample:
    """Experiments in the order of their numbers, all in one month where nothing else is given."""
    in_one = np.zeros(len(month), dtype=int)
    number = np.asarray(experiment, dtype=float)
    return Sample(phase, experiment, in_one if period is None else period, month, number)


def months_of(count: int, per_month: int, wander: float, seed: int) -> tuple[Array, Sample]:
    """A reference of `count` months and one more, each off by a harmless offset of its own.

    Two phases of an experiment, of which half of the variance is the experiment's.
    """
    random = np.random.default_rng(seed)
    experiment = np.repeat(np.arange((count + 1) * per_month), 2)
    period = experiment // per_month
    own = random.normal(size=(2, len(experiment)))
    values = (own[0][experiment] + own[1]) / 2**0.5
    values += random.normal(0, wander, count + 1)[period]
    phase = np.arange(len(experiment)) % 2
    return values, sample_of(phase, experiment, (period == count).astype(float), period)
