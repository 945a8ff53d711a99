"""Laboratory rows to targets, features and targets to one table, and which rows are held out."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from src.errors import DataError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def laboratory_targets(laboratory: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What `phase_means` gives, if all of it can be learned from.

    Raises:
        DataError: when no row names a phase, or a target has no value at all.
    """
    means = phase_means(laboratory, spec)
    if empty := [name for name in spec.target_names if means[name].isna().all()]:
        raise DataError(
            f"laboratory column {', '.join(empty)} holds no value: measure it or take it out of "
            "targets in params.yaml"
        )
    return means


def phase_means(laboratory: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Laboratory rows to one row of targets a phase.

    Replicates are averaged; values below `laboratory.missing_below` are missing; rows whose label
    names no phase are left out.

    Returns:
        Keys and targets, NaN where no replicate was measured.

    Raises:
        DataError: when no row names a phase.
    """
    values = {phase.label: phase.value for phase in spec.phases}
    labels = laboratory[spec.laboratory.phase_column]
    named = laboratory[labels.isin(values)]
    if named.empty:
        raise DataError(
            f"no laboratory row names a phase: {spec.laboratory.phase_column} holds "
            f"{sorted(set(labels.dropna().astype(str)))[:5]}, params.yaml knows {sorted(values)}"
        )
    logger.info("%d laboratory rows, %d of them of no phase", len(labels), len(labels) - len(named))
    targets = named[spec.target_names]
    if spec.laboratory.missing_below is not None:
        targets = targets.mask(targets < spec.laboratory.missing_below)
    keyed = targets.assign(
        **{
            spec.columns.experiment: named[spec.columns.experiment],
            spec.columns.phase: labels[named.index].map(values),
        }
    )
    return keyed.groupby(spec.columns.keys, as_index=False)[spec.target_names].mean()


def training_table(
    features: pd.DataFrame, targets: pd.DataFrame, groups: pd.Series | None, spec: SoftSensor
) -> pd.DataFrame:
    """Join features and targets by phase and say which rows belong together and are held out.

    Returns:
        Keys, features, targets, `group` (never split) and `holdout` (bool).

    Raises:
        DataError: when fewer experiments than `training.min_experiments` have both, one has no
            group, or two groups hold the same phase, whose label would leak from one to the other.
    """
    table = features.merge(targets, on=spec.columns.keys, validate="one_to_one")
    # The copy puts the columns together again, which DuckDB hands over one by one.
    table = table.dropna(subset=spec.target_names, how="all").reset_index(drop=True).copy()
    experiments = table[spec.columns.experiment]
    found = experiments.nunique()
    if found < spec.training.min_experiments:
        raise DataError(
            f"{found} experiments have both sensor rows and laboratory values, at least "
            f"{spec.training.min_experiments} are needed: do both files number them alike?"
        )
    table["group"] = experiments if groups is None else experiments.map(groups)
    if (lost := table["group"].isna()).any():
        raise DataError(f"experiment {experiments[lost].iloc[0]} has no group in the grouping file")
    _refuse_copies(table, spec)
    table["holdout"] = held_out(table["group"], spec.training.holdout)
    if table["holdout"].all() or not table["holdout"].any():
        raise DataError("too few groups: all of them fall on one side of the hold-out")
    _refuse_unlearnable(table[~table["holdout"]], spec)
    logger.info(
        "%d phases of %d experiments, %d of them held out",
        len(table),
        found,
        table["holdout"].sum(),
    )
    return table


def _refuse_copies(table: pd.DataFrame, spec: SoftSensor) -> None:
    same = table[table.duplicated([*spec.features, spec.columns.phase], keep=False)]
    for _, copies in same.groupby(spec.features, dropna=False):
        if copies["group"].nunique() > 1:
            twins = copies[spec.columns.experiment].iloc[:2].tolist()
            raise DataError(
                f"experiments {twins[0]} and {twins[1]} have the same features to the last digit: "
                "one of them is a copy, which would give away its label; remove it"
            )


def _refuse_unlearnable(training: pd.DataFrame, spec: SoftSensor) -> None:
    measured = training[spec.target_names].notna().sum()
    if (rare := measured[measured < spec.training.min_experiments]).size:
        raise DataError(
            f"{', '.join(rare.index)} was measured in only {rare.min()} phases for training, "
            f"{spec.training.min_experiments} are needed: measure more or take it out of targets"
        )
    for name in spec.target_names:
        known = training[training[name].notna()]
        if known["group"].nunique() < 2 or known[name].nunique() < 2:
            raise DataError(
                f"{name} was measured in one group only, or is always the same: nothing can be "
                "learned of it; measure more or take it out of targets"
            )


def held_out(groups: pd.Series, share: float) -> pd.Series:
    """Whether a group is held out: by a hash of its name, so for ever and in every version."""
    return groups.map(lambda group: _fraction(str(group)) < share).astype(bool)


def _fraction(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
