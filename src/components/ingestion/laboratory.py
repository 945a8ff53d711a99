"""Laboratory values of archived phases, into the database as they arrive."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, Engine, insert, select

from src.components.database.connection import transaction
from src.components.database.journal import Journal
from src.components.database.tables import names_phase, newest_values, records, tables
from src.components.ingestion import data_set
from src.components.ingestion.account import Account, shortened
from src.components.ingestion.load import digest_of
from src.components.transformation.training_table import SAMPLE, samples
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What a laboratory file changes.

    Attributes:
        samples: all samples that count from now on, of the phases that are new or changed.
        new: keys of the phases that had no values before.
        corrected: samples whose values are replaced: keys, SAMPLE, targets, and those of before
            with the suffix `_before`.
        added: samples of phases that had other ones before.
    """

    samples: pd.DataFrame
    new: pd.DataFrame
    corrected: pd.DataFrame
    added: pd.DataFrame


def load(
    engine: Engine,
    spec: SoftSensor,
    file: Path,
    accept_outliers: str | None = None,
    dry_run: bool = False,
) -> Change:
    """Insert the values of a laboratory file that the database does not have yet.

    A sample that is known by its name (`laboratory.sample_column`) is replaced, one of another name
    is a further replicate. Where samples have no names, those of the newest file replace all of
    their phase. So a file that grows can be loaded again and again.

    Args:
        accept_outliers: who says that values outside the range of their target are right, and why.
        dry_run: undo it at the end.

    Raises:
        DataError: when the file lacks a column, or holds something that does not belong there.
    """
    account = Account()
    rows = data_set.read_laboratory(file, spec, account, accept_outliers is not None)
    arrived = samples(rows, spec).dropna(subset=spec.target_names, how="all")
    details: dict[str, object] = {"file": file.name, "sha256": digest_of(file), "rows": len(rows)}
    if accept_outliers is not None:
        details["accepted_outliers"] = accept_outliers
    with transaction(engine, keep=not dry_run) as connection:
        laboratory = tables(spec).laboratory
        change = compare(arrived, _known(connection, spec), spec)
        if not change.samples.empty:
            connection.execute(insert(laboratory), records(change.samples))
        Journal(engine, spec).note_load(connection, details)
        not_archived = _not_archived(connection, arrived, spec)
    _note(change, arrived, account, spec)
    account.log()
    if not not_archived.empty:
        experiments = not_archived[spec.columns.experiment].astype(str).unique().tolist()
        logger.warning(
            "%s: %d phases are not archived (experiments %s); their values wait for a prediction",
            file,
            len(not_archived),
            shortened(experiments),
        )
    return change


def compare(arrived: pd.DataFrame, known: pd.DataFrame, spec: SoftSensor) -> Change:
    """What samples change about those that count so far; both see `training_table.samples`."""
    keys = spec.columns.keys
    names = [*keys, SAMPLE]
    values = [name for target in spec.targets for name in (target.name, target.censored)]
    arrived, known = arrived.reindex(columns=[*names, *values]), known[[*names, *values]]
    both = arrived.merge(known, on=names, how="left", suffixes=("", "_before"), indicator=True)
    is_known = both["_merge"] == "both"
    same = pd.Series(True, index=both.index)
    for name in values:
        before = both[f"{name}_before"]
        same &= (both[name] == before) | (both[name].isna() & before.isna())
    had_values = _are_among(both[keys], known[keys])
    corrected = both[is_known & ~same]
    added = both[~is_known & had_values]
    new = both.loc[~had_values, keys].drop_duplicates()
    touched = pd.concat([corrected[keys], added[keys], new]).drop_duplicates()
    if spec.laboratory.sample_column is None:
        counting = arrived
        fewer = _phases_with_fewer(arrived, known, keys)
        touched = pd.concat([touched, fewer]).drop_duplicates()
    else:
        named = known[known[SAMPLE].notna()]
        counting = pd.concat([named, arrived]).drop_duplicates(names, keep="last")
    return Change(
        samples=counting[_are_among(counting[keys], touched)],
        new=new,
        corrected=corrected,
        added=added,
    )


def _phases_with_fewer(arrived: pd.DataFrame, known: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Keys of phases that have fewer samples than before."""
    counts = arrived.groupby(keys).size().rename("now").reset_index()
    before = known.groupby(keys).size().rename("before").reset_index()
    both = counts.merge(before, on=keys)
    return both.loc[both["now"] < both["before"], keys]


def _are_among(keys: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Whether each row of `keys` is among the rows of `others`."""
    both = keys.merge(others.drop_duplicates(), on=list(keys), how="left", indicator=True)
    return (both["_merge"] == "both").set_axis(keys.index)


def _known(connection: Connection, spec: SoftSensor) -> pd.DataFrame:
    frame = pd.read_sql(newest_values(tables(spec).laboratory, spec), connection)
    return frame.astype({key: kind for key, kind in spec.key_types.items() if kind is int})


def _not_archived(connection: Connection, arrived: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Keys of the phases that are not in the ledger."""
    ledger = tables(spec).archived
    keys = spec.columns.keys
    query = select(*(ledger.c[key] for key in keys)).where(names_phase(ledger, spec)).distinct()
    archived = pd.read_sql(query, connection)
    phases = arrived[keys].drop_duplicates()
    return phases[~_are_among(phases, archived.astype(phases.dtypes))]


def _note(change: Change, arrived: pd.DataFrame, account: Account, spec: SoftSensor) -> None:
    keys = spec.columns.keys
    account.note(len(change.new), "phases with first values")
    for samples_of, what in (
        (change.corrected, "samples in place of their earlier values"),
        (change.added, "samples added to those of their phase and averaged with them"),
    ):
        if not samples_of.empty:
            names = [_name(row, spec) for _, row in samples_of.iterrows()]
            account.note(len(samples_of), f"{what}: {shortened(names)}")
    touched = change.samples[keys].drop_duplicates()
    known = len(arrived[keys].drop_duplicates()) - len(touched)
    account.note(known, "phases unchanged")


def _name(row: pd.Series, spec: SoftSensor) -> str:
    """A sample, and which of its values were other ones before."""
    phase = spec.phase(row[spec.columns.phase])
    words = f"{row[spec.columns.experiment]} {phase.name}"
    for target in spec.targets:
        before = row[f"{target.name}_before"]
        if pd.notna(before) and before != row[target.name]:
            words += f" {target.name} {before:g} -> {row[target.name]:g}"
    return words
