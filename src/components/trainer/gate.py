"""May a model become Production? It must fit the database and not be worse than the present one.

Both are measured on the same experiments, which neither has seen: the hold-out is chosen by a hash
of the experiment, so it was the same for every version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon
from sqlalchemy import Engine
from statsmodels.stats.multitest import multipletests

from src.components.database.existing import find
from src.components.database.tables import tables
from src.components.predictor.bundle import Bundle
from src.components.trainer.evaluation import typical_errors
from src.components.transformation.censoring import deviations
from src.components.transformation.training_table import GROUP
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor

LEVEL = 0.05  # chance, at most, of refusing a model that is as good as the present one
ALL_TARGETS = "all targets"


@dataclass(frozen=True)
class Comparison:
    """Challenger and Production on the same hold-out.

    Attributes:
        table: one row per target, and one for all: n (phases), groups, production and challenger
            (mean absolute error in the target's unit; for all in units of `typical_errors`), p and
            p_holm of the challenger being worse.
        worse: the rows in which it is significantly worse.
    """

    table: pd.DataFrame
    worse: list[str]


def compare(challenger: Bundle, production: Bundle, spec: SoftSensor) -> Comparison:
    """Compare two bundles on the challenger's hold-out by paired tests.

    One-sided signed-rank tests of the differences, group by group (Wilcoxon, Biometrics 1, 1945),
    Holm-corrected over the targets and their mean.

    Raises:
        BundleRefused: when one of them was trained on experiments of this hold-out.
    """
    rows = challenger.holdout
    _refuse_trained_on(rows, challenger, "the new version", spec)
    _refuse_trained_on(rows, production, "Production", spec)
    measured = [name for name in spec.target_names if rows[name].notna().any()]
    present = absolute_errors(production, rows, spec)[measured]
    new = absolute_errors(challenger, rows, spec)[measured]
    lines = [_line(target, present[[target]], new[[target]], rows[GROUP]) for target in measured]
    typical = typical_errors(challenger.labels(spec), spec)[measured]
    typical = typical.reindex(rows[spec.columns.phase]).set_axis(rows.index)
    lines.append(_line(ALL_TARGETS, present / typical, new / typical, rows[GROUP]))
    table = pd.DataFrame(lines)
    table["p_holm"] = multipletests(table["p"], method="holm")[1]
    return Comparison(table, table.loc[table["p_holm"] <= LEVEL, "target"].tolist())


def _line(
    label: str, present: pd.DataFrame, new: pd.DataFrame, groups: pd.Series
) -> dict[str, Any]:
    """One row of a comparison.

    Args:
        present, new: errors of Production and of the challenger, phases by targets.
    """
    loss = (new - present).mean(axis=1).groupby(groups).mean().dropna()
    return {
        "target": label,
        "n": int(new.notna().any(axis=1).sum()),
        "groups": len(loss),
        "production": float(np.nanmean(present.to_numpy())),
        "challenger": float(np.nanmean(new.to_numpy())),
        "p": _p_worse(loss),
    }


def _refuse_trained_on(rows: pd.DataFrame, bundle: Bundle, name: str, spec: SoftSensor) -> None:
    trained = set(rows[spec.columns.experiment]) & set(bundle.origin.experiments)
    if trained:
        raise BundleRefused(
            f"{name} was trained on experiment {min(trained)} of the hold-out: the two cannot be "
            "compared (was training.holdout or the grouping changed?)"
        )


def absolute_errors(bundle: Bundle, rows: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Of `censoring.deviations`: rows by targets, NaN where not measured."""
    return deviations(bundle.values(rows, spec), rows, spec).abs()


def _p_worse(differences: pd.Series) -> float:
    """p of the differences being above 0; 1 where all are 0."""
    changed = differences[differences != 0]
    return float(wilcoxon(changed, alternative="greater").pvalue) if len(changed) else 1.0


def check_database(engine: Engine, spec: SoftSensor) -> None:
    """Refuse a contract whose columns the tables lack; tables that do not exist yet will fit.

    Raises:
        BundleRefused: naming the missing columns.
    """
    described = tables(spec)
    with engine.connect() as connection:
        found = find(connection, (described.online, described.archived))
    for existing in found:
        if existing.relation is None:
            continue
        missing = [column.name for column in existing.lacking()]
        if missing:
            raise BundleRefused(
                f"{existing.table.name} lacks {', '.join(missing[:5])}, which the model needs: run "
                "`impress init`, or promote a model that fits the database"
            )
