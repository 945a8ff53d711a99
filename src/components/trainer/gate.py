"""May a model become Production? It must fit the database and be no worse than the present one.

Both are measured on the same experiments, which neither has seen: the hold-out is chosen by a hash
of the experiment, so it was the same for every version.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from sqlalchemy import Engine, inspect
from statsmodels.stats.multitest import multipletests

from src.components.database.tables import tables
from src.components.predictor.bundle import Bundle
from src.components.trainer.evaluation import typical_errors
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor

LEVEL = 0.05  # chance, at most, of refusing a model that is as good as the present one
ALL_TARGETS = "all targets"


@dataclass(frozen=True)
class Comparison:
    """Challenger beside Production.

    Attributes:
        table: one row a target, and one for all: n (phases), groups, production and challenger
            (mean absolute error in the target's unit; for all in units of `typical_errors`), p and
            p_holm of the challenger being worse.
        worse: the rows in which it surely is.
    """

    table: pd.DataFrame
    worse: list[str]


def compare(challenger: Bundle, production: Bundle, spec: SoftSensor) -> Comparison:
    """Compare two bundles on the challenger's hold-out by a paired test.

    One-sided signed-rank tests of the differences, group by group (Wilcoxon, Biometrics 1, 1945),
    Holm-corrected over the targets and their mean.

    Raises:
        BundleRefused: when one of them was trained on experiments of this hold-out.
    """
    rows = challenger.holdout
    _refuse_seen(rows, {"the new version": challenger, "Production": production}, spec)
    errors = {
        "production": absolute_errors(production, rows, spec),
        "challenger": absolute_errors(challenger, rows, spec),
    }
    typical = typical_errors(challenger.labels(spec), spec)
    typical = typical.reindex(rows[spec.columns.phase]).set_axis(rows.index)
    relative = {name: error / typical for name, error in errors.items()}
    lines = []
    measured_targets = [name for name in spec.target_names if rows[name].notna().any()]
    for label in [*measured_targets, ALL_TARGETS]:
        columns = measured_targets if label == ALL_TARGETS else [label]
        shown = relative if label == ALL_TARGETS else errors
        loss = relative["challenger"][columns] - relative["production"][columns]
        by_group = loss.mean(axis=1).groupby(rows["group"]).mean().dropna()
        lines.append(
            {
                "target": label,
                "n": int(errors["challenger"][columns].notna().any(axis=1).sum()),
                "groups": len(by_group),
                **{name: float(np.nanmean(shown[name][columns].to_numpy())) for name in shown},
                "p": _p_worse(by_group),
            }
        )
    table = pd.DataFrame(lines)
    table["p_holm"] = multipletests(table["p"], method="holm")[1]
    return Comparison(table, table.loc[table["p_holm"] <= LEVEL, "target"].tolist())


def _refuse_seen(rows: pd.DataFrame, bundles: dict[str, Bundle], spec: SoftSensor) -> None:
    for name, bundle in bundles.items():
        seen = set(rows[spec.columns.experiment]) & set(bundle.origin.experiments)
        if seen:
            raise BundleRefused(
                f"{name} was trained on experiment {min(seen)} of the hold-out: the two cannot be "
                "compared (was training.holdout or the grouping changed?)"
            )


def absolute_errors(bundle: Bundle, rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Rows by targets, NaN where not measured."""
    return (bundle.values(rows, spec) - rows[spec.target_names]).abs()


def _p_worse(differences: pd.Series) -> float:
    """p of the differences being above 0; 1 where all are 0."""
    changed = differences[differences != 0]
    return float(wilcoxon(changed, alternative="greater").pvalue) if len(changed) else 1.0


def check_database(engine: Engine, spec: SoftSensor) -> None:
    """Refuse a contract whose columns the tables lack. Tables that do not exist yet will fit.

    Raises:
        BundleRefused: naming the missing columns.
    """
    described = tables(spec)
    found = inspect(engine)
    for table in (described.online, described.archived):
        if not found.has_table(table.name):
            continue
        present = {column["name"] for column in found.get_columns(table.name)}
        if missing := [column.name for column in table.columns if column.name not in present]:
            raise BundleRefused(
                f"{table.name} lacks {', '.join(missing[:5])}, which the model needs: run "
                "`impress init`, or promote a model that fits the database"
            )
