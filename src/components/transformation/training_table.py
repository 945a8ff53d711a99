"""Laboratory rows to targets, and features and targets to one table."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from src.components.transformation import censoring
from src.errors import DataError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

# Column of the training table: rows with the same one are never split between folds.
GROUP = "impress_group"

SAMPLE = "sample"  # column of laboratory values that tells the samples of a phase apart


def laboratory_targets(laboratory: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What `censoring.means` gives, provided that every target was measured.

    Raises:
        DataError: when no row names a phase, or a target has no value at all.
    """
    means = censoring.means(samples(laboratory, spec), spec)
    never_measured = [name for name in spec.target_names if means[name].isna().all()]
    if never_measured:
        raise DataError(
            f"laboratory column {', '.join(never_measured)} holds no value: measure it or remove "
            "it from targets in params.yaml"
        )
    return means


def samples(laboratory: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """The laboratory rows that belong to a phase.

    Values below `laboratory.missing_below` are missing; rows whose label names no phase are left
    out.

    Returns:
        Keys, SAMPLE (what the laboratory calls it, or else its number within the phase), targets
        and, where the laboratory rows have them, the columns `Target.censored`.

    Raises:
        DataError: when no row names a phase.
    """
    phase_of_label = {phase.label: phase.value for phase in spec.phases}
    labels = laboratory[spec.laboratory.phase_column]
    of_phases = laboratory[labels.isin(phase_of_label)].reset_index(drop=True)
    if of_phases.empty:
        raise DataError(
            f"no laboratory row names a phase: {spec.laboratory.phase_column} holds "
            f"{sorted(set(labels.dropna().astype(str)))[:5]}, params.yaml knows "
            f"{sorted(phase_of_label)}"
        )
    table = of_phases[[spec.columns.experiment]].copy()
    table[spec.columns.phase] = of_phases[spec.laboratory.phase_column].map(phase_of_label)
    table[SAMPLE] = _sample_names(of_phases, table, spec)
    for target in spec.targets:
        values = of_phases[target.name]
        if spec.laboratory.missing_below is not None:
            values = values.mask(values < spec.laboratory.missing_below)
        table[target.name] = values
        if target.censored in of_phases:
            table[target.censored] = of_phases[target.censored]
    return table


def _sample_names(rows: pd.DataFrame, keys: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Names of samples, distinct within a phase: those of the same name are numbered."""
    names = keys.assign(**{SAMPLE: ""})[SAMPLE]
    if spec.laboratory.sample_column in rows:
        names = rows[spec.laboratory.sample_column].fillna("").astype(str)
    number = keys.assign(**{SAMPLE: names}).groupby([*spec.columns.keys, SAMPLE]).cumcount() + 1
    return names.where((number == 1) & (names != ""), names + "#" + number.astype(str))


def training_table(
    features: pd.DataFrame, targets: pd.DataFrame, groups: pd.Series | None, spec: SoftSensor
) -> pd.DataFrame:
    """Join features and targets by phase, and mark which rows belong together.

    Returns:
        Keys, features, targets with `Target.censored`, and GROUP.

    Raises:
        DataError: when fewer experiments than `training.min_experiments` have both, one has no
            group, or two groups hold the same phase, whose label would leak from one to the other.
    """
    joined = features.merge(targets, on=spec.columns.keys, validate="one_to_one")
    measured = joined.dropna(subset=spec.target_names, how="all")
    # DuckDB returns columns one by one; the copy puts them into one block of memory.
    table = measured.reset_index(drop=True).copy()
    experiments = table[spec.columns.experiment]
    count = experiments.nunique()
    if count < spec.training.min_experiments:
        raise DataError(
            f"{count} experiments have both sensor rows and laboratory values, at least "
            f"{spec.training.min_experiments} are needed: do both files use the same numbers?"
        )
    table[GROUP] = experiments if groups is None else experiments.map(groups)
    without_group = experiments[table[GROUP].isna()]
    if not without_group.empty:
        raise DataError(f"experiment {without_group.iloc[0]} has no group in the grouping file")
    _refuse_copies(table, spec)
    _refuse_unlearnable(table, spec)
    logger.info("%d phases of %d experiments", len(table), count)
    return table


def _refuse_copies(table: pd.DataFrame, spec: SoftSensor) -> None:
    """Refuse two groups that have a phase with the same features."""
    copies = table[table.duplicated([*spec.features, spec.columns.phase], keep=False)]
    for _, same in copies.groupby(spec.features, dropna=False):
        if same[GROUP].nunique() > 1:
            first, second = same[spec.columns.experiment].iloc[:2]
            raise DataError(
                f"experiments {first} and {second} have the same features to the last digit: one "
                "of them is a copy, which would reveal its label; remove it"
            )


def _refuse_unlearnable(table: pd.DataFrame, spec: SoftSensor) -> None:
    """Refuse targets that were measured too rarely, in one group only, or never vary."""
    counts = table[spec.target_names].notna().sum()
    rare = counts[counts < spec.training.min_experiments]
    if not rare.empty:
        raise DataError(
            f"{', '.join(rare.index)} was measured in only {rare.min()} phases, "
            f"{spec.training.min_experiments} are needed: measure more or remove it from targets"
        )
    for name in spec.target_names:
        known = table[name].notna() & (censoring.marks(table, spec.target(name)) == "")
        measured = table[known]
        if measured[GROUP].nunique() < 2 or measured[name].nunique() < 2:
            raise DataError(
                f"{name} was measured in one group only, is always the same, or always beyond the "
                "limits of the assay, so nothing can be learned about it: measure more or remove "
                "it from targets"
            )
