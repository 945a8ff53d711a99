"""Which sensors a model listens to: in general (permutation), and for one phase (SHAP).

Both take all features of a sensor together: they move together, and it is the sensor that is
bought, cleaned and replaced.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from src.components.predictor.bundle import Bundle
from src.components.predictor.ensemble import combine, in_units, out_of_fold
from src.components.trainer.evaluation import relative_error, typical_errors
from src.soft_sensor import SoftSensor

REPEATS = 10
BACKGROUND = 50  # training rows that stand for "this sensor is not known"


def importance(bundle: Bundle, spec: SoftSensor, repeats: int = REPEATS) -> pd.DataFrame:
    """How much worse predictions get when a sensor says what it said in other phases of its kind.

    Permutation importance (Breiman, Machine Learning 45, 2001) of groups of features, on the
    training rows by models that have not seen them.

    Returns:
        One row for each sensor, repeat and target: increase of the error in units of
        `typical_errors`.
    """
    rows = bundle.reference
    table = bundle.labels(spec)
    typical = typical_errors(table, spec)
    random = np.random.default_rng(spec.training.seed)

    def errors(features: pd.DataFrame) -> dict[str, float]:
        votes, _ = out_of_fold(bundle.folds, features, rows["fold"], spec)
        predicted = in_units(combine(votes, bundle.weights), spec)
        alone = {t.name: spec.model_copy(update={"targets": (t,)}) for t in spec.targets}
        return {t: relative_error(predicted, table, typical, alone[t]) for t in alone}

    before = errors(rows)
    lines = []
    for sensor in spec.sensors:
        names = spec.features_of(sensor)
        for repeat in range(repeats):
            order = np.arange(len(rows))
            for value in rows[spec.columns.phase].unique():
                same = np.flatnonzero(rows[spec.columns.phase] == value)
                order[same] = random.permutation(same)
            after = errors(rows.assign(**{n: rows[n].to_numpy()[order] for n in names}))
            lines += [(sensor.name, repeat, t, after[t] - before[t]) for t in spec.target_names]
    return pd.DataFrame(lines, columns=["sensor", "repeat", "target", "increase"])


def shapley_values(bundle: Bundle, row: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """How much each sensor has moved one prediction away from the usual one of its phase.

    SHAP values (Lundberg and Lee, NeurIPS 2017) of the sensors. A sensor that is not known says
    what it said in training rows of the same phase, each in turn.

    Args:
        row: one row with keys and features.

    Returns:
        Sensors, and `usual` for where they start from, by targets, in the targets' units. A
        column sums to the prediction.
    """
    import shap

    logging.getLogger("shap").setLevel(logging.WARNING)
    same = bundle.reference[spec.columns.phase] == row[spec.columns.phase].iloc[0]
    known = bundle.reference[same]
    background = known.sample(min(BACKGROUND, len(known)), random_state=spec.training.seed)
    features = spec.features
    mask = {sensor.name: np.isin(features, spec.features_of(sensor)) for sensor in spec.sensors}

    def mean_predictions(coalitions: np.ndarray) -> np.ndarray:
        """(coalitions, sensors) of 0 and 1 to (coalitions, targets)."""
        tables = []
        for coalition in coalitions:
            values = background[features].to_numpy(copy=True)
            for present, columns in zip(coalition, mask.values()):
                if present:
                    values[:, columns] = row[features].to_numpy()[:, columns]
            tables.append(pd.DataFrame(values, columns=features))
        stacked = pd.concat(tables, ignore_index=True)
        predicted = bundle.values(stacked, spec).to_numpy()
        shape = (len(coalitions), len(background), len(spec.targets))
        return np.asarray(predicted.reshape(shape).mean(axis=1))

    count = len(spec.sensors)
    explainer = shap.KernelExplainer(mean_predictions, np.zeros((1, count)))
    found = np.asarray(explainer.shap_values(np.ones((1, count)), silent=True, l1_reg=False))[0]
    table = pd.DataFrame(found, index=list(mask), columns=spec.target_names)
    table.loc["usual"] = np.asarray(explainer.expected_value)
    return table


def write_importance(bundle: Bundle, spec: SoftSensor, folder: Path) -> pd.DataFrame:
    """Write importance.csv and .png, and SHAP values of the last held-out phase of each kind.

    Returns:
        What `importance` does.
    """
    found = importance(bundle, spec)
    found.to_csv(folder / "importance.csv", index=False)
    importance_chart(found, spec, folder / "importance.png")
    for phase in spec.phases:
        rows = bundle.holdout[bundle.holdout[spec.columns.phase] == phase.value]
        if not rows.empty:
            row = rows.tail(1)
            title = f"experiment {row[spec.columns.experiment].iloc[0]}, {phase.name}"
            values = shapley_values(bundle, row, spec)
            shapley_chart(values, title, spec, folder / f"shapley_{phase.name}.png")
    return found


def importance_chart(table: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw mean and standard deviation of the repeats of `importance`, one panel a target."""
    from matplotlib.figure import Figure

    height = 0.35 * len(spec.sensors) + 1.4
    figure = Figure(figsize=(4.2 * len(spec.targets), height), layout="constrained")
    axes = figure.subplots(1, len(spec.targets))
    titles = {sensor.name: sensor.title for sensor in spec.sensors}
    order = table.groupby("sensor")["increase"].mean().sort_values().index
    for axis, target in zip(np.atleast_1d(axes), spec.targets):
        repeats = table[table["target"] == target.name].groupby("sensor")["increase"]
        mean, spread = (statistic.loc[order] for statistic in (repeats.mean(), repeats.std()))
        axis.barh([titles[name] for name in order], mean, xerr=spread, color="tab:blue", capsize=3)
        axis.axvline(0, color="grey", linewidth=0.8)
        axis.set(title=target.title, xlabel="increase of the relative error")
    figure.savefig(file, dpi=110)


def shapley_chart(table: pd.DataFrame, title: str, spec: SoftSensor, file: Path) -> None:
    """Draw what `shapley_values` found for one phase, one panel a target."""
    from matplotlib.figure import Figure

    titles = {sensor.name: sensor.title for sensor in spec.sensors}
    height = 0.35 * len(spec.sensors) + 1.8
    figure = Figure(figsize=(4.2 * len(spec.targets), height), layout="constrained")
    axes = figure.subplots(1, len(spec.targets))
    figure.suptitle(title)
    for axis, target in zip(np.atleast_1d(axes), spec.targets):
        values = table[target.name].drop("usual")
        colours = np.where(values < 0, "tab:blue", "tab:red")
        axis.barh([titles[name] for name in values.index[::-1]], values[::-1], color=colours[::-1])
        axis.axvline(0, color="grey", linewidth=0.8)
        usual, here = table[target.name]["usual"], table[target.name].sum()
        axis.set(
            title=f"{target.title}: usual {usual:.3g}, here {here:.3g}",
            xlabel=f"moved by [{target.unit}]",
        )
    figure.savefig(file, dpi=110)
