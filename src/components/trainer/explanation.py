"""Which sensors a model relies on: in general (permutation), and for one phase (SHAP).

Both treat all features of a sensor as one: they move together, and it is the sensor that is bought,
cleaned and replaced.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from src.components.predictor.bundle import FOLD, Bundle
from src.components.predictor.ensemble import combine, in_units, out_of_fold
from src.components.trainer.evaluation import relative_errors, typical_errors
from src.soft_sensor import SoftSensor

REPEATS = 10
BACKGROUND = 50  # training rows, at most, that stand in for a sensor that is left out
BASE_VALUE = "base value"  # row of `shapley_values`: the mean prediction, without any sensor


def importance(bundle: Bundle, spec: SoftSensor, repeats: int = REPEATS) -> pd.DataFrame:
    """How much worse predictions get when the readings of a sensor are shuffled between phases.

    Permutation importance (Breiman, Machine Learning 45, 2001) of groups of features, shuffled
    among training rows of the same phase and predicted by models that have not seen them.

    Returns:
        One row for each sensor, repeat and target: increase of the error in units of
        `typical_errors`.
    """
    rows = bundle.reference
    random = np.random.default_rng(spec.training.seed)
    unshuffled = _out_of_fold_errors(bundle, [rows], spec)[0]
    increases = []
    for sensor in spec.sensors:
        names = spec.features_of(sensor)
        copies = []
        for _ in range(repeats):
            order = _order_within_phases(rows[spec.columns.phase], random)
            shuffled = {name: rows[name].to_numpy()[order] for name in names}
            copies.append(rows.assign(**shuffled))
        for repeat, errors in enumerate(_out_of_fold_errors(bundle, copies, spec)):
            for target in spec.target_names:
                increase = errors[target] - unshuffled[target]
                increases.append((sensor.name, repeat, target, increase))
    return pd.DataFrame(increases, columns=["sensor", "repeat", "target", "increase"])


def _out_of_fold_errors(
    bundle: Bundle, copies: list[pd.DataFrame], spec: SoftSensor
) -> list[pd.Series]:
    """Relative error of each target, averaged over the phases, for each copy.

    Args:
        copies: the training rows, with their own or other features; predicted together, as a call
            of the models costs more than a row.
    """
    fold = bundle.reference[FOLD]
    folds = pd.concat([fold] * len(copies), ignore_index=True)
    together = pd.concat(copies, ignore_index=True)
    votes, _ = out_of_fold(bundle.folds, together, folds, spec)
    predicted = in_units(combine(votes, bundle.weights), spec)
    labels = bundle.labels(spec)
    typical = typical_errors(labels, spec)
    found = []
    for number in range(len(copies)):
        rows = slice(number * len(fold), (number + 1) * len(fold))
        of_copy = predicted.iloc[rows].set_axis(labels.index)
        found.append(relative_errors(of_copy, labels, typical, spec).mean().fillna(0))
    return found


def _order_within_phases(phase: pd.Series, random: np.random.Generator) -> np.ndarray:
    """Positions of rows, shuffled among the rows of the same phase."""
    order = np.arange(len(phase))
    for value in phase.unique():
        positions = np.flatnonzero(phase == value)
        order[positions] = random.permutation(positions)
    return order


def shapley_values(bundle: Bundle, row: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """How far each sensor moves one prediction away from the average one of its phase.

    SHAP values (Lundberg and Lee, NeurIPS 2017) of the sensors. A sensor that is left out takes its
    features from training rows of the same phase; the predictions are averaged over these rows.

    Args:
        row: one row with keys and features.

    Returns:
        Sensors and BASE_VALUE by targets, in the targets' units. A column sums to the prediction.
    """
    import shap

    logging.getLogger("shap").setLevel(logging.WARNING)
    phase = spec.columns.phase
    trained = bundle.reference[bundle.reference[phase] == row[phase].iloc[0]]
    size = min(BACKGROUND, len(trained))
    background = trained.sample(size, random_state=spec.training.seed)[spec.features]
    own = row[spec.features].to_numpy()
    columns = [np.isin(spec.features, spec.features_of(sensor)) for sensor in spec.sensors]

    def mean_predictions(coalitions: np.ndarray) -> np.ndarray:
        """(coalitions, sensors) of 0 and 1 to (coalitions, targets)."""
        tables = []
        for coalition in coalitions:
            values = background.to_numpy(copy=True)
            for present, of_sensor in zip(coalition, columns):
                if present:
                    values[:, of_sensor] = own[:, of_sensor]
            tables.append(pd.DataFrame(values, columns=spec.features))
        predicted = bundle.values(pd.concat(tables, ignore_index=True), spec).to_numpy()
        by_coalition = predicted.reshape(len(coalitions), len(background), len(spec.targets))
        return np.asarray(by_coalition.mean(axis=1))

    none, everything = np.zeros((1, len(spec.sensors))), np.ones((1, len(spec.sensors)))
    explainer = shap.KernelExplainer(mean_predictions, none)
    values = np.asarray(explainer.shap_values(everything, silent=True, l1_reg=False))[0]
    names = [sensor.name for sensor in spec.sensors]
    table = pd.DataFrame(values, index=names, columns=spec.target_names)
    table.loc[BASE_VALUE] = np.asarray(explainer.expected_value)
    return table


def write_importance(bundle: Bundle, spec: SoftSensor, folder: Path) -> pd.DataFrame:
    """Write importance.csv and .png, and a chart of SHAP values for the last row of each phase.

    Returns:
        What `importance` does.
    """
    increases = importance(bundle, spec)
    increases.to_csv(folder / "importance.csv", index=False)
    importance_chart(increases, spec, folder / "importance.png")
    for phase in spec.phases:
        rows = bundle.reference[bundle.reference[spec.columns.phase] == phase.value]
        if rows.empty:
            continue
        row = rows.tail(1)
        values = shapley_values(bundle, row, spec)
        title = f"experiment {row[spec.columns.experiment].iloc[0]}, {phase.name}"
        shapley_chart(values, title, spec, folder / f"shapley_{phase.name}.png")
    return increases


def importance_chart(increases: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw mean and standard deviation of the repeats of `importance`, one panel per target."""
    from matplotlib.figure import Figure

    height = 0.35 * len(spec.sensors) + 1.4
    figure = Figure(figsize=(4.2 * len(spec.targets), height), layout="constrained")
    axes = figure.subplots(1, len(spec.targets))
    order = increases.groupby("sensor")["increase"].mean().sort_values().index
    titles = [spec.sensor(name).title for name in order]
    for axis, target in zip(np.atleast_1d(axes), spec.targets):
        of_target = increases[increases["target"] == target.name]
        repeats = of_target.groupby("sensor")["increase"]
        mean = repeats.mean().loc[order]
        deviation = repeats.std().loc[order]
        axis.barh(titles, mean, xerr=deviation, color="tab:blue", capsize=3)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=target.title, xlabel="increase of the relative error")
    figure.savefig(file, dpi=110)


def shapley_chart(values: pd.DataFrame, title: str, spec: SoftSensor, file: Path) -> None:
    """Draw the `shapley_values` of one phase, one panel per target."""
    from matplotlib.figure import Figure

    height = 0.35 * len(spec.sensors) + 1.8
    figure = Figure(figsize=(4.2 * len(spec.targets), height), layout="constrained")
    axes = figure.subplots(1, len(spec.targets))
    figure.suptitle(title)
    for axis, target in zip(np.atleast_1d(axes), spec.targets):
        # Bars are drawn from the bottom up; the first sensor belongs on top.
        moved = values[target.name].drop(BASE_VALUE)[::-1]
        titles = [spec.sensor(name).title for name in moved.index]
        colours = np.where(moved < 0, "tab:blue", "tab:red")
        axis.barh(titles, moved, color=colours)
        axis.axvline(0, color="grey", linewidth=0.8)
        average = values[target.name][BASE_VALUE]
        prediction = values[target.name].sum()
        axis.set(
            title=f"{target.title}: average {average:.3g}, here {prediction:.3g}",
            xlabel=f"moved by [{target.unit}]",
        )
    figure.savefig(file, dpi=110)
