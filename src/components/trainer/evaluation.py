"""How good predictions are: figures, a chart, and Evidently's regression page."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from src.components.transformation import censoring
from src.components.transformation.censoring import contained, deviation, deviations
from src.soft_sensor import SoftSensor, Target

ALL_PHASES = "all"


def typical_errors(table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Mean absolute error of always guessing the phase's median: phases by targets.

    All errors here are `censoring.deviations`.
    """
    phase = table[spec.columns.phase]
    median = table[spec.target_names].groupby(phase).transform("median")
    return deviations(median, table, spec).abs().groupby(phase).mean()


def relative_errors(
    predicted: pd.DataFrame, table: pd.DataFrame, typical: pd.DataFrame, spec: SoftSensor
) -> pd.DataFrame:
    """Mean absolute errors in units of `typical_errors`: phases by targets.

    NaN where nothing was measured, and where a target is always the same in a phase.
    """
    errors = deviations(predicted, table, spec).abs()
    relative = errors.groupby(table[spec.columns.phase]).mean() / typical
    return relative.where(typical > 0)


def relative_error(
    predicted: pd.DataFrame, table: pd.DataFrame, typical: pd.DataFrame, spec: SoftSensor
) -> float:
    """Mean of `relative_errors` over phases and targets; 0 where none of them is known.

    So a phase with small values counts as much as one with large values.
    """
    relative = relative_errors(predicted, table, typical, spec).to_numpy()
    return float(np.nanmean(relative)) if np.isfinite(relative).any() else 0.0


def metrics(predicted: pd.DataFrame, table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Errors per target and phase, and those of always guessing the median of the phase.

    Args:
        predicted: targets and interval bounds, row by row of `table`.
        table: measured targets, NaN where not measured; such rows are left out. A value that is a
            limit of the assay counts as in `censoring.deviation` and `censoring.contained`.

    Returns:
        One row per target and phase (`all` first): n, mae, rmse, bias (predicted minus measured),
        r2 (NaN below two rows), median_mae (of guessing the median), coverage and mean width of the
        intervals.
    """
    phase_names = {phase.value: phase.name for phase in spec.phases}
    phases = table[spec.columns.phase].map(phase_names)
    rows = []
    for target in spec.targets:
        measured = table[target.name].notna()
        median = table[target.name].groupby(phases).transform("median")
        for phase in [ALL_PHASES, *phase_names.values()]:
            chosen = measured & ((phases == phase) | (phase == ALL_PHASES))
            if chosen.any():
                measures = _measures(predicted[chosen], table[chosen], median[chosen], target)
                rows.append({"target": target.name, "phase": phase, **measures})
    return pd.DataFrame(rows)


def _measures(
    predicted: pd.DataFrame, table: pd.DataFrame, median: pd.Series, target: Target
) -> dict[str, float]:
    """How far predictions of one target are from the laboratory values; without missing values."""
    # Here, as the command line imports this module on machines that do not train.
    from sklearn.metrics import r2_score

    measured, mark = table[target.name], censoring.marks(table, target)
    error = deviation(predicted[target.name], measured, mark)
    return {
        "n": len(measured),
        "mae": float(error.abs().mean()),
        "rmse": float((error**2).mean() ** 0.5),
        "bias": float(error.mean()),
        "r2": r2_score(measured, measured + error) if len(measured) > 1 else float("nan"),
        "median_mae": float(deviation(median, measured, mark).abs().mean()),
        "coverage": float(contained(predicted, measured, mark, target).mean()),
        "width": float((predicted[target.upper] - predicted[target.lower]).mean()),
    }


def flat_metrics(errors: pd.DataFrame) -> dict[str, float]:
    """The rows of `metrics` as `<target>_<phase>_<measure>`, without those that are NaN."""
    flat = {}
    for row in errors.to_dict("records"):
        prefix = f"{row['target']}_{row['phase']}"
        for measure in errors.columns.drop(["target", "phase"]):
            if pd.notna(row[measure]):
                flat[f"{prefix}_{measure}"] = float(row[measure])
    return flat


def chart(predicted: pd.DataFrame, table: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw predicted against measured values with their intervals, one panel per target."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(spec.targets), 4), layout="constrained")
    axes = figure.subplots(1, len(spec.targets))
    for axis, target in zip(np.atleast_1d(axes), spec.targets):
        for phase in spec.phases:
            rows = table[spec.columns.phase] == phase.value
            measured = table.loc[rows, target.name]
            value = predicted.loc[rows, target.name]
            below = (value - predicted.loc[rows, target.lower]).clip(lower=0)
            above = (predicted.loc[rows, target.upper] - value).clip(lower=0)
            drawn = axis.errorbar(
                measured, value, [below, above], fmt="o", alpha=0.6, label=phase.name
            )
            color = drawn[0].get_color()
            mark = censoring.marks(table[rows], target)
            for side in ("<", ">"):  # the tip points to where the value lies
                axis.plot(measured[mark == side], value[mark == side], side, color=color, ms=10)
        if target.scale == "log":  # or all small values would be one point at 0
            axis.set(xscale="symlog", yscale="symlog", xlim=(0, None), ylim=(0, None))
        ends = [table[target.name].min(), table[target.name].max()]
        axis.plot(ends, ends, color="grey")
        axis.set(
            title=target.title,
            xlabel=f"measured [{target.unit}]",
            ylabel=f"predicted [{target.unit}]",
        )
        axis.legend()
    figure.savefig(file, dpi=110)


def regression_report(
    predicted: pd.DataFrame, table: pd.DataFrame, spec: SoftSensor, file: Path
) -> None:
    """Write Evidently's regression page of the measured rows, one section per target.

    Values that are limits of the assay are left out.
    """
    known = table[spec.target_names].copy()
    for target in spec.targets:
        known[target.name] = known[target.name].where(censoring.marks(table, target) == "")
    targets = [name for name in spec.target_names if known[name].notna().sum() > 1]
    frame = known[targets].join(predicted[targets].add_suffix("_predicted"))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Evidently's own, about its libraries and R2 of single rows
        from evidently import DataDefinition, Dataset, Regression, Report
        from evidently.presets import RegressionPreset

        regressions = [
            Regression(name=name, target=name, prediction=f"{name}_predicted") for name in targets
        ]
        definition = DataDefinition(numerical_columns=list(frame), regression=regressions)
        dataset = Dataset.from_pandas(frame, definition)
        report = Report([RegressionPreset(regression_name=name) for name in targets])
        report.run(current_data=dataset).save_html(str(file))
