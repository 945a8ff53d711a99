"""Which sensors are worth their price: the error with and without them, and how sure that is."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from src.components.predictor.ensemble import total
from src.components.predictor.members import Params
from src.components.trainer import fitting
from src.components.trainer.evaluation import typical_errors
from src.soft_sensor import Sensor, SoftSensor

EVERY_SUBSET_UP_TO = 6  # sensors; beyond, the number of subsets is out of hand
Sets = dict[str, tuple[Sensor, ...]]


def sensor_sets(spec: SoftSensor, importance: pd.Series | None = None) -> Sets:
    """Sets of sensors to compare, all of them first.

    Every subset where there are few; else all but each one, and for each number the most important
    and the cheapest.

    Args:
        importance: by name of the sensor, where known.
    """
    parts = spec.sensors
    if len(parts) <= EVERY_SUBSET_UP_TO:
        sizes = range(len(parts), 0, -1)
        sets = [subset for size in sizes for subset in combinations(parts, size)]
        return {" + ".join(sensor.title for sensor in subset): subset for subset in sets}
    found: Sets = {"all": parts}
    for sensor in parts:
        found[f"all but {sensor.title}"] = tuple(other for other in parts if other != sensor)
    orders = {"cheapest": sorted(parts, key=lambda sensor: sensor.price)}
    if importance is not None:
        orders["most important"] = sorted(parts, key=lambda sensor: -importance[sensor.name])
    for name, order in orders.items():
        for size in range(1, len(parts)):
            chosen = set(order[:size])
            found[f"{size} {name}"] = tuple(sensor for sensor in parts if sensor in chosen)
    return found


def compare_sets(
    table: pd.DataFrame,
    params: dict[str, Params],
    sets: Sets,
    repeats: int,
    spec: SoftSensor,
) -> pd.DataFrame:
    """Cross-validate each set on the training part, repeatedly and with the same folds.

    Returns:
        One row a set: set, sensors (number), price, the mean absolute error of each target in its
        unit; `relative`, the error in units of `typical_errors`; `loss`, how much larger that is
        than with all sensors, and `loss_se`, the standard error of this difference between groups;
        `pareto`, whether no set is both cheaper and better.
    """
    jobs = [(parts, repeat) for parts in sets.values() for repeat in range(repeats)]
    work = partial(group_errors, table=table, params=params, spec=spec)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        done = list(pool.map(work, *zip(*jobs)))
    errors = {
        name: total(done[at * repeats : (at + 1) * repeats]) / repeats
        for at, name in enumerate(sets)
    }
    everything = errors[next(iter(sets))]["relative"]
    rows = []
    for name, parts in sets.items():
        loss = errors[name]["relative"] - everything
        rows.append(
            {
                "set": name,
                "sensors": len(parts),
                "price": sum(sensor.price for sensor in parts),
                **errors[name].mean().to_dict(),
                "loss": loss.mean(),
                "loss_se": loss.sem(),
            }
        )
    found = pd.DataFrame(rows).sort_values(["price", "relative"], ignore_index=True)
    return found.assign(pareto=found["relative"] < found["relative"].cummin().shift(fill_value=1e9))


def group_errors(
    parts: tuple[Sensor, ...],
    repeat: int,
    table: pd.DataFrame,
    params: dict[str, Params],
    spec: SoftSensor,
) -> pd.DataFrame:
    """Out-of-fold errors with some of the sensors.

    Args:
        repeat: another one, other folds.

    Returns:
        Groups by targets (mean absolute error in their units) and `relative`.
    """
    training = spec.training.model_copy(update={"seed": spec.training.seed + repeat})
    fewer = spec.model_copy(update={"sensors": parts, "training": training})
    bundle = fitting.assemble(table, params, fewer)
    rows, labels = bundle.reference, bundle.labels(spec)
    errors = (rows[spec.target_names] - labels[spec.target_names]).abs()
    typical = typical_errors(labels, spec).reindex(rows[spec.columns.phase])
    relative = (errors / typical.set_axis(errors.index)).mean(axis=1)
    return errors.assign(relative=relative).groupby(rows["group"]).mean()


def pareto_chart(found: pd.DataFrame, file: Path) -> None:
    """Draw error against price; the sets that no other beats in both are named."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    axis = figure.add_subplot()
    axis.errorbar(
        found["price"], found["relative"], found["loss_se"], fmt="o", color="silver", capsize=2
    )
    best = found[found["pareto"]]
    axis.plot(best["price"], best["relative"], color="tab:blue")
    for number, row in enumerate(best.to_dict("records"), start=1):
        place = (row["price"], row["relative"])
        axis.plot(*place, "o", color="tab:blue", label=f"{number}  {row['set']}")
        axis.annotate(str(number), place, xytext=(5, 5), textcoords="offset points")
    axis.legend(title="no other is both cheaper and better", handlelength=0)
    axis.set_yscale("log")
    axis.set(
        xlabel="price of the sensors",
        ylabel="error, relative to the phase's median",
        title="bars: standard error of the difference to all sensors",
    )
    figure.savefig(file, dpi=110)
