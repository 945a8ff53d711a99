"""How often an alarm is false, how often a fault is found, and which sensor is identified.

`python -m benchmarks.drift [MONTHS] [FOLDER]` draws MONTHS months (300) of every case and size, in
two processes, and writes a picture to FOLDER. It compares our tests with the usual rule: a
Kolmogorov-Smirnov test of every column, an alarm when any p is below 0.05.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import ks_2samp

from src.components.drift_reporter import checks, drift_tests, performance
from src.components.drift_reporter.status import Status
from src.soft_sensor import load_soft_sensor
from tests.builders.months import compared
from tests.builders.plant import MONTH, Plant, units

SPEC = load_soft_sensor(Path("params.yaml"))
SIZES = (20, 100, 500, 2000)
LABORATORY = 30  # rows

Effect = Callable[[pd.DataFrame, str, Plant], None]


def shifted(size: float) -> Effect:
    """The sensor reads `size` standard deviations too much."""
    return lambda month, name, _: _add(month, name, size * units(SPEC)[name])


def ramp(size: float) -> Effect:
    """An offset that grows from 0 to `size` standard deviations over the month."""

    def effect(month: pd.DataFrame, name: str, _: Plant) -> None:
        _add(month, name, _age(month) * size * units(SPEC)[name])

    return effect


def noisy(month: pd.DataFrame, name: str, _: Plant) -> None:
    """Half as much variance again within a phase."""
    sensor = SPEC.sensor(name)
    month[sensor.spread] *= np.sqrt(1.5)
    for quartile in (sensor.feature("percentile25"), sensor.feature("percentile75")):
        distance = month[quartile] - month[sensor.level]
        month[quartile] = month[sensor.level] + np.sqrt(1.5) * distance


def stuck(last: float) -> Effect:
    """The sensor shows one value in the `last` share of the month."""

    def effect(month: pd.DataFrame, name: str, _: Plant) -> None:
        rows = _age(month) >= 1 - last
        sensor = SPEC.sensor(name)
        month.loc[rows, _locations(name)] = month.loc[rows, sensor.level].iloc[0]
        month.loc[rows, sensor.spread] = 0.0

    return effect


def lost(share: float) -> Effect:
    """The sensor has no values in a `share` of the phases."""

    def effect(month: pd.DataFrame, name: str, plant: Plant) -> None:
        rows = plant.random.random(len(month)) < share
        month.loc[rows, SPEC.features_of(SPEC.sensor(name))] = np.nan

    return effect


def _add(month: pd.DataFrame, name: str, offset: Any) -> None:
    for feature in _locations(name):
        month[feature] += offset


def _locations(name: str) -> list[str]:
    """The features that move with the readings: all but the spread."""
    sensor = SPEC.sensor(name)
    return [feature for feature in SPEC.features_of(sensor) if feature != sensor.spread]


def _age(month: pd.DataFrame) -> pd.Series:
    """From 0 for the first phase of the month to 1 for the last."""
    return (month["last_timestamp"].rank() - 1) / (len(month) - 1)


@dataclass(frozen=True)
class Case:  # pylint: disable=too-many-instance-attributes  # a plain list of what may differ
    """What befalls one sensor, drawn at random, in the month, and how the plant is otherwise."""

    name: str
    effect: Effect | None = None
    wander: float = 0.0  # SD of each sensor's own offset in each month, harmless
    washing: float | None = None  # share of washing phases in the month
    missing: float = 0.0  # share of phases of the reference in which the sensor has no values
    reference: int = 1000  # rows
    check: str = ""  # that should report it
    concept: float = 0.0  # shift of the laboratory values, in SD within a phase, in 30 rows

    @property
    def sizes(self) -> tuple[int, ...]:
        """Months of so many rows; laboratory values are always LABORATORY."""
        return SIZES[:1] if self.concept else SIZES


CASES = [
    Case("no drift"),
    Case("no drift, reference of 100 rows", reference=100),
    Case("wander of 0.1 SD a month", wander=0.1),
    Case("0.25 SD", shifted(0.25)),
    Case("0.5 SD", shifted(0.5)),
    Case("0.5 SD, reference of 100 rows", shifted(0.5), reference=100),
    Case("1 SD", shifted(1.0)),
    Case("1 SD, reference of 100 rows", shifted(1.0), reference=100),
    Case("noise variance x 1.5", noisy),
    Case("ramp to 1 SD", ramp(1.0)),
    Case("stuck all month", stuck(1.0), check="stuck"),
    Case("stuck in the last 30 %", stuck(0.3), check="stuck"),
    Case("mix 50/50 to 80/20", washing=0.8, check="mix"),
    Case("missing 5 to 20 %", lost(0.2), missing=0.05, check="missing"),
    Case("missing 5 %, as before", lost(0.05), missing=0.05),
    Case("30 laboratory values as before", concept=1e-9),
    Case("30 laboratory values + 0.5 SD", concept=0.5),
]


def draw(case: Case, size: int, plant: Plant) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """A reference of twelve months, the month after it, and the sensor that something befell."""
    name = str(plant.random.choice([sensor.name for sensor in SPEC.sensors]))
    reference = plant.phases(case.reference, months=12)
    size = max(size, LABORATORY) if case.concept else size
    month = plant.phases(size if case.washing is None else 4 * size, start=12 * MONTH)
    if case.washing is not None:
        washing = month[SPEC.columns.phase] == 1
        share = round(case.washing * size)
        month = pd.concat([month[washing].iloc[:share], month[~washing].iloc[: size - share]])
        month = month.reset_index(drop=True)
    if case.missing:
        lost(case.missing)(reference, name, plant)
    if case.wander:
        for table in (reference, month):
            period = (table["last_timestamp"] // MONTH).astype(int)
            phase = table[SPEC.columns.phase]
            for sensor in SPEC.sensors:
                # Of the process and not of the probe: in each phase by its own measure.
                unit = table.groupby(phase)[sensor.level].std()
                offsets = plant.random.normal(0, case.wander, period.max() + 1)
                _add(table, sensor.name, offsets[period] * phase.map(unit))
            plant.predict(table)
    if case.effect:
        case.effect(month, name, plant)
        plant.predict(month)
    return reference, month.assign(flags="", verdict=""), name


def trial(case: Case, size: int, seed: int) -> dict[str, object]:
    """One month: our tests, and the usual rule."""
    plant = Plant(SPEC, np.random.default_rng([seed, size, CASES.index(case)]))
    reference, month, name = draw(case, size, plant)
    if case.concept:
        return _laboratory(case, reference, month)
    tests = drift_tests.drift(month, reference, SPEC)
    checked = checks.checks(compared(month, reference, SPEC), SPEC)
    at_fault = drift_tests.sensors_at_fault(tests)
    reported = checked[checked["status"] != Status.NO_DRIFT]
    return {
        "alarm": (pd.concat([tests["status"], checked["status"]]) == Status.ALARM).any(),
        "watch": (tests["status"] != Status.NO_DRIFT).any() or not reported.empty,
        "first": bool(at_fault) and name in at_fault[0],
        "identified": bool(at_fault),
        "innocent": any(name not in fault for fault in at_fault),
        "usual": usual_rule(month, reference),
        "reported": (reported["indicator"] == case.check).any(),
    }


def _laboratory(case: Case, reference: pd.DataFrame, month: pd.DataFrame) -> dict[str, object]:
    """Thirty laboratory values compared with the expected errors; the targets are unchanged."""
    recent = _errors(month.iloc[:LABORATORY], reference, case.concept)
    expected = _errors(reference, reference, 0.0)
    status = performance.tests(recent, expected, SPEC)["status"]
    return {"alarm": (status == Status.ALARM).any(), "watch": (status != Status.NO_DRIFT).any()}


def _errors(table: pd.DataFrame, reference: pd.DataFrame, offset: float) -> pd.DataFrame:
    """Errors of the predictions of the plant, on the linear scale, as `performance.errors`.

    Args:
        offset: of the laboratory values, in SD within a phase.
    """
    errors = table[[*SPEC.columns.keys, "last_timestamp"]].copy()
    phase = reference[SPEC.columns.phase]
    for target in SPEC.targets:
        values = reference[target.measured]
        unit = (values - values.groupby(phase).transform("mean")).std()
        width = (values - reference[target.name]).abs().quantile(0.9)
        error = table[target.measured] + offset * unit - table[target.name]
        errors[target.name] = error
        errors[target.inside] = (error.abs() <= width).astype(float)
    return errors


def usual_rule(month: pd.DataFrame, reference: pd.DataFrame) -> bool:
    """Kolmogorov-Smirnov on every column, phase and measured targets among them."""
    columns = [*SPEC.features, SPEC.columns.phase, *SPEC.target_names]
    return any(ks_2samp(reference[name], month[name]).pvalue < 0.05 for name in columns)


def _trials(job: tuple[int, int, int]) -> dict[str, object]:
    case, size, months = CASES[job[0]], *job[1:]
    trials = pd.DataFrame([trial(case, size, seed) for seed in range(months)])
    share = trials.mean() * 100
    if "first" in trials:
        identified = trials["identified"].sum()
        share["first"] = 100 * trials["first"].sum() / identified if identified else np.nan
    return {"case": case.name, "rows": size} | {str(name): share[name] for name in share.index}


def markdown(table: pd.DataFrame) -> str:
    """One row per case: alarm / watch / reported by its check, by rows; sensors; the usual rule."""
    sizes = " | ".join(f"{size:,} rows" for size in SIZES)
    lines = [f"| % of months | {sizes} | accused first / innocent named | usual rule |"]
    lines.append(f"| --- |{' ---: |' * (len(SIZES) + 2)}")
    names = {case.name: case.check for case in CASES}
    for case, rows in table.groupby("case", sort=False):
        by_size = rows.set_index("rows")
        reported = ["reported"] if names[str(case)] else []
        cells = [_pair(by_size, size, "alarm", "watch", *reported) for size in SIZES]
        cells += [_pair(by_size, 100, "first", "innocent"), _pair(by_size, 100, "usual")]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _pair(by_size: pd.DataFrame, size: int, *names: str) -> str:
    """Figures of one size; sensors only where one was identified in at least half of the months."""
    if size not in by_size.index:
        return ""
    row = by_size.loc[size]
    if "first" in names and not row["identified"] >= 50:
        return ""
    return " / ".join(f"{row[name]:.1f}" for name in names if pd.notna(row[name]))


def chart(table: pd.DataFrame, file: Path) -> None:
    """Draw how often each kind of month is in alarm, by its number of rows."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name in ("no drift", "wander of 0.1 SD a month", "mix 50/50 to 80/20"):
        rows = table[table["case"] == name]
        line = left.plot(rows["rows"], rows["alarm"], "o-", label=name)[0]
        left.plot(rows["rows"], rows["usual"], "x--", color=line.get_color())
    for name in ("0.25 SD", "0.5 SD", "1 SD", "noise variance x 1.5", "ramp to 1 SD"):
        rows = table[table["case"] == name]
        right.plot(rows["rows"], rows["alarm"], "o-", label=name)
    left.set(title="nothing wrong with a sensor\n(dashed: the usual rule)", ylabel="alarms [%]")
    right.set(title="one sensor at fault")
    for axis in (left, right):
        axis.set(xscale="log", xlabel="phases in the month", ylim=(-3, 103))
        axis.legend(fontsize="small")
    figure.savefig(file, dpi=110)


def main(months: int = 300, folder: str | None = None) -> None:
    """Draw all cases and print the table as Markdown."""
    jobs = [(k, size, months) for k, case in enumerate(CASES) for size in case.sizes]
    rows = []
    with ProcessPoolExecutor(2) as pool:
        for row in pool.map(_trials, jobs):
            print(f"{row['case']}, {row['rows']} rows", file=sys.stderr, flush=True)
            rows.append(row)
    table = pd.DataFrame(rows)
    print(markdown(table))
    if folder:
        chart(table, Path(folder) / "benchmark-drift.png")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300, *sys.argv[2:3])
