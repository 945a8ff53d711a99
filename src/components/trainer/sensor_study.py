"""Which sensors are worth their price: the error with and without them, and its uncertainty."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from src.components.predictor.ensemble import total
from src.components.trainer import fitting
from src.components.trainer.evaluation import typical_errors
from src.components.trainer.members import Params
from src.components.transformation.censoring import deviations
from src.components.transformation.training_table import GROUP
from src.progress import step
from src.soft_sensor import Sensor, SoftSensor

EVERY_SUBSET_UP_TO = 6  # sensors; with more there are too many subsets to try
SensorSets = dict[str, tuple[Sensor, ...]]


def sensor_sets(spec: SoftSensor, importance: pd.Series | None = None) -> SensorSets:
    """Sets of sensors to compare, all of them first.

    With few sensors these are all subsets. With many they are all sensors but one, for each of
    them; and for each size the cheapest and the most important ones.

    Args:
        importance: by name of the sensor, if known.
    """
    if len(spec.sensors) <= EVERY_SUBSET_UP_TO:
        return _every_subset(spec.sensors)
    sets: SensorSets = {"all": spec.sensors}
    for left_out in spec.sensors:
        remaining = tuple(sensor for sensor in spec.sensors if sensor != left_out)
        sets[f"all but {left_out.title}"] = remaining
    orders = {"cheapest": sorted(spec.sensors, key=lambda sensor: sensor.price)}
    if importance is not None:
        by_importance = sorted(spec.sensors, key=lambda sensor: -importance[sensor.name])
        orders["most important"] = by_importance
    for label, order in orders.items():
        for size in range(1, len(spec.sensors)):
            first = set(order[:size])
            sets[f"{size} {label}"] = tuple(sensor for sensor in spec.sensors if sensor in first)
    return sets


def _every_subset(sensors: tuple[Sensor, ...]) -> SensorSets:
    """All subsets, the largest first, named after their sensors."""
    sets = {}
    for size in range(len(sensors), 0, -1):
        for subset in combinations(sensors, size):
            sets[" + ".join(sensor.title for sensor in subset)] = subset
    return sets


def compare_sets(
    table: pd.DataFrame,
    params: dict[str, Params],
    sets: SensorSets,
    repeats: int,
    spec: SoftSensor,
) -> pd.DataFrame:
    """Cross-validate each set on the training part, repeatedly and all with the same folds.

    Returns:
        One row per set: set, sensors (number), price, the mean absolute error of each target in its
        unit; `relative`, the error in units of `typical_errors`; `loss`, how much larger that is
        than with all sensors, and `loss_se`, the standard error of this difference between groups;
        `pareto`, whether no other set is both cheaper and better.
    """
    errors = _errors_of_sets(table, params, sets, repeats, spec)
    all_sensors = next(iter(sets))
    rows = []
    for name, sensors in sets.items():
        loss = errors[name]["relative"] - errors[all_sensors]["relative"]
        rows.append(
            {
                "set": name,
                "sensors": len(sensors),
                "price": sum(sensor.price for sensor in sensors),
                **errors[name].mean().to_dict(),
                "loss": loss.mean(),
                "loss_se": loss.sem(),
            }
        )
    compared = pd.DataFrame(rows).sort_values(["price", "relative"], ignore_index=True)
    best_of_cheaper = compared["relative"].cummin().shift(fill_value=float("inf"))
    return compared.assign(pareto=compared["relative"] < best_of_cheaper)


def _errors_of_sets(
    table: pd.DataFrame,
    params: dict[str, Params],
    sets: SensorSets,
    repeats: int,
    spec: SoftSensor,
) -> dict[str, pd.DataFrame]:
    """`group_errors` of each set, averaged over the repeats."""
    jobs = [(sensors, repeat) for sensors in sets.values() for repeat in range(repeats)]
    run_job = partial(group_errors, table=table, params=params, spec=spec)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        results = pool.map(run_job, *zip(*jobs))
        errors = {}
        with step("sets of sensors", len(sets)) as advance:
            for name in sets:
                errors[name] = total([next(results) for _ in range(repeats)]) / repeats
                advance(1)
        return errors


def group_errors(
    sensors: tuple[Sensor, ...],
    repeat: int,
    table: pd.DataFrame,
    params: dict[str, Params],
    spec: SoftSensor,
) -> pd.DataFrame:
    """Out-of-fold errors of models that use only some of the sensors.

    Args:
        repeat: number of the repeat; each has other folds.

    Returns:
        Groups by targets (mean absolute error in their units) and `relative`.
    """
    training = spec.training.model_copy(update={"seed": spec.training.seed + repeat})
    reduced = spec.model_copy(update={"sensors": sensors, "training": training})
    bundle = fitting.assemble(table, params, reduced)
    rows, labels = bundle.reference, bundle.labels(spec)
    errors = deviations(rows, labels, spec).abs()
    typical = typical_errors(labels, spec).reindex(rows[spec.columns.phase])
    relative = (errors / typical.set_axis(errors.index)).mean(axis=1)
    return errors.assign(relative=relative).groupby(rows[GROUP]).mean()


def pareto_chart(compared: pd.DataFrame, file: Path) -> None:
    """Draw error against price, and name the sets that no other beats in both."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    axis = figure.add_subplot()
    axis.errorbar(
        compared["price"],
        compared["relative"],
        compared["loss_se"],
        fmt="o",
        color="silver",
        capsize=2,
    )
    best = compared[compared["pareto"]]
    axis.plot(best["price"], best["relative"], color="tab:blue")
    for number, row in enumerate(best.to_dict("records"), start=1):
        point = (row["price"], row["relative"])
        axis.plot(*point, "o", color="tab:blue", label=f"{number}  {row['set']}")
        axis.annotate(str(number), point, xytext=(5, 5), textcoords="offset points")
    axis.legend(title="no other set is both cheaper and better", handlelength=0)
    axis.set_yscale("log")
    axis.set(
        xlabel="price of the sensors",
        ylabel="error, relative to the phase's median",
        title="bars: standard error of the difference from all sensors",
    )
    figure.savefig(file, dpi=110)
