"""Archived features of phases that the laboratory has analysed since.

Raw rows are gone after their retention time; the ledger still has the features computed from them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine

from src.components.database.tables import newest_predictions, read_rows, tables
from src.components.ingestion import data_set
from src.components.ingestion.faulty_phases import is_faulty
from src.components.predictor.flags import DOUBTFUL, has_flag
from src.components.transformation.features import feature_definition
from src.components.transformation.training_table import laboratory_targets
from src.files import write_whole
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)


def collect(
    engine: Engine,
    definitions: dict[str, str],
    folder: Path,
    spec: SoftSensor,
    with_faulty: bool = False,
) -> pd.DataFrame:
    """Add the features of phases with laboratory values but without sensor rows to a data set.

    What `files.archived` holds already stays, unless the ledger has newer features of the phase.

    Args:
        definitions: feature definition by model version; features that were computed by another
            definition than the present one are left out.
        folder: data set folder.
        with_faulty: also phases in which monitoring has found a sensor at fault.

    Returns:
        What the file holds now, see `data_set.archived_columns`; one row per phase.
    """
    keys = spec.columns.keys
    definition = feature_definition(spec)
    ledger = _newest_predictions(engine, spec).merge(_without_rows(folder, spec), on=keys)
    same_definition = ledger["model_version"].map(definitions) == definition
    doubtful = pd.Series(False, index=ledger.index)
    for flag in DOUBTFUL:
        doubtful |= has_flag(ledger["flags"], flag)
    _warn(~same_definition, "their features were computed by another definition")
    _warn(same_definition & doubtful, f"they are flagged {' or '.join(DOUBTFUL)}")

    faulty = is_faulty(ledger, engine, spec) & (not with_faulty)
    _warn(
        same_definition & ~doubtful & faulty,
        "a sensor was at fault (`impress status`); `--with-faulty` collects them all the same",
    )

    usable = ledger[same_definition & ~doubtful & ~faulty].assign(definition=definition)
    archived = usable[data_set.archived_columns(spec)]
    file = folder / spec.files.archived
    if file.is_file():
        archived = pd.concat([archived, data_set.read_archived(folder, spec)])
    archived = archived.drop_duplicates(keys).sort_values(keys)
    if not archived.empty:
        content = archived.to_csv(sep=spec.files.separator, index=False)
        write_whole(file, content.encode())
    return archived.reset_index(drop=True)


def _without_rows(folder: Path, spec: SoftSensor) -> pd.DataFrame:
    """Keys of the phases of a data set that have laboratory values but no sensor rows."""
    keys = spec.columns.keys
    laboratory = data_set.read_laboratory(folder / spec.files.laboratory, spec)
    analysed = laboratory_targets(laboratory, spec)[keys]
    with_rows = data_set.read_sensor_features(folder, spec)[keys]
    both = analysed.merge(with_rows, on=keys, how="left", indicator=True)
    return both.loc[both["_merge"] == "left_only", keys]


def _warn(left_out: pd.Series, reason: str) -> None:
    count = int(left_out.sum())
    if count:
        phases = "phase is" if count == 1 else "phases are"
        logger.warning("%d %s left out: %s", count, phases, reason)


def _newest_predictions(engine: Engine, spec: SoftSensor) -> pd.DataFrame:
    with engine.connect() as connection:
        return read_rows(connection, newest_predictions(tables(spec).archived, spec))
