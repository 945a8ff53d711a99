"""How good predictions are: figures, a chart, Evidently's page."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from src.soft_sensor import SoftSensor

ALL_PHASES = "all"


def typical_errors(table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Mean absolute error of always guessing the phase's median: phases by targets."""
    values, phase = table[spec.target_names], table[spec.columns.phase]
    median = values.groupby(phase).transform("median")
    return (values - median).abs().groupby(phase).mean()


def relative_error(
    predicted: pd.DataFrame, table: pd.DataFrame, typical: pd.DataFrame, spec: SoftSensor
) -> float:
    """Mean absolute error in units of `typical_errors`, averaged over phases and targets.

    So the rinse, whose concentrations are small, counts as much as the wash. What was not measured
    does not count, nor does a target that is always the same in a phase.
    """
    errors = (predicted - table[spec.target_names]).abs()
    relative = errors.groupby(table[spec.columns.phase]).mean() / typical
    found = relative.where(typical > 0).to_numpy()
    return float(np.nanmean(found)) if np.isfinite(found).any() else 0.0


def metrics(
    predicted: pd.DataFrame, table: pd.DataFrame, training: pd.DataFrame, spec: SoftSensor
) -> pd.DataFrame:
    """Errors per target and phase, beside those of always guessing the training median.

    Args:
        predicted: targets and interval bounds, row by row of `table`.
        table: measured targets, NaN where not measured; such rows are left out.
        training: where the median predictor has its medians from.

    Returns:
        One row per target and phase (`all` first): n, mae, rmse, bias (predicted minus measured),
        r2 (NaN below two rows), median_mae, coverage and mean width of the intervals.
    """
    names = {phase.value: phase.name for phase in spec.phases}
    phases = table[spec.columns.phase].map(names)
    rows = []
    for target in spec.target_names:
        for phase in [ALL_PHASES, *names.values()]:
            chosen = table[target].notna() & ((phases == phase) | (phase == ALL_PHASES))
            if not chosen.any():
                continue
            truth, guess = table.loc[chosen, target], predicted.loc[chosen, target]
            median = np.full(len(truth), training[target].median())
            lower, upper = (predicted.loc[chosen, f"{target}_{end}"] for end in ("lower", "upper"))
            rows.append(
                {
                    "target": target,
                    "phase": phase,
                    "n": len(truth),
                    "mae": mean_absolute_error(truth, guess),
                    "rmse": root_mean_squared_error(truth, guess),
                    "bias": float((guess - truth).mean()),
                    "r2": r2_score(truth, guess) if len(truth) > 1 else float("nan"),
                    "median_mae": mean_absolute_error(truth, median),
                    "coverage": float(((lower <= truth) & (truth <= upper)).mean()),
                    "width": float((upper - lower).mean()),
                }
            )
    return pd.DataFrame(rows)


def flat_metrics(errors: pd.DataFrame) -> dict[str, float]:
    """The rows of `metrics` as `<target>_<phase>_<measure>`, without what could not be computed."""
    return {
        f"{row['target']}_{row['phase']}_{measure}": float(row[measure])
        for _, row in errors.iterrows()
        for measure in errors.columns.drop(["target", "phase"])
        if pd.notna(row[measure])
    }


def chart(predicted: pd.DataFrame, table: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw predicted against measured values with their intervals, one panel a target."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(spec.targets), 4), layout="constrained")
    axes = figure.subplots(1, len(spec.targets))
    for axis, target in zip(np.atleast_1d(axes), spec.targets):
        for phase in spec.phases:
            rows = table[spec.columns.phase] == phase.value
            guess = predicted.loc[rows, target.name]
            bounds = [
                (guess - predicted.loc[rows, f"{target.name}_lower"]).clip(lower=0),
                (predicted.loc[rows, f"{target.name}_upper"] - guess).clip(lower=0),
            ]
            axis.errorbar(
                table.loc[rows, target.name], guess, bounds, fmt="o", alpha=0.6, label=phase.name
            )
        if target.scale == "log":  # or the rinse would be one point at 0
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
    """Write Evidently's regression page of the measured rows, one part a target."""
    targets = [name for name in spec.target_names if table[name].notna().sum() > 1]
    frame = table[targets].join(predicted[targets].add_suffix("_predicted"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own, of libraries and of R2 of single rows
        from evidently import DataDefinition, Dataset, Regression, Report
        from evidently.presets import RegressionPreset

        regressions = [
            Regression(name=name, target=name, prediction=f"{name}_predicted") for name in targets
        ]
        definition = DataDefinition(numerical_columns=list(frame), regression=regressions)
        report = Report([RegressionPreset(regression_name=name) for name in targets])
        report.run(current_data=Dataset.from_pandas(frame, definition)).save_html(str(file))
