"""Archived features of phases that the laboratory has analysed since: labels find their features.

Raw rows are gone after their retention time; the ledger still has what was computed from them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine, text

from src.components.database.tables import latest_view
from src.components.ingestion import data_set
from src.components.transformation.features import feature_definition
from src.components.transformation.training_table import laboratory_targets
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

DOUBTFUL = "few_samples|clock_jump"  # flags of phases whose features are not to be learned from


def collect(
    engine: Engine, definitions: dict[str, str], folder: Path, spec: SoftSensor
) -> pd.DataFrame:
    """Put the features of phases with laboratory values but without sensor rows into a data set.

    What `files.archived` holds already stays, unless the ledger has it anew.

    Args:
        definitions: feature definition by model version; features that were computed by another
            definition than the present one are left out.
        folder: data set folder.

    Returns:
        What the file holds now: keys, n_samples, first_timestamp, last_timestamp, features and
        the definition, one row a phase.
    """
    keys = spec.columns.keys
    laboratory = data_set.read_laboratory(folder / spec.files.laboratory, spec)
    analysed = laboratory_targets(laboratory, spec)[keys]
    with_rows = data_set.read_sensor_features(folder, spec)[keys]
    wanted = analysed.merge(with_rows, on=keys, how="left", indicator=True)
    wanted = wanted.loc[wanted["_merge"] == "left_only", keys]
    present = feature_definition(spec)
    ledger = _latest(engine, spec).merge(wanted, on=keys)
    same = ledger["model_version"].map(definitions) == present
    doubtful = ledger["flags"].fillna("").str.contains(DOUBTFUL)
    for reason, rows in (
        ("their features were computed by another definition", ~same),
        (f"they are flagged {DOUBTFUL.replace('|', ' or ')}", same & doubtful),
    ):
        if rows.any():
            logger.warning("%d phases are left out: %s", rows.sum(), reason)
    columns = [*keys, "n_samples", "first_timestamp", "last_timestamp", *spec.features]
    found = ledger.loc[same & ~doubtful, columns].assign(definition=present)
    file = folder / spec.files.archived
    if file.is_file():
        found = pd.concat([found, data_set.read_archived(folder, spec)])
    found = found.drop_duplicates(keys).sort_values(keys)
    if len(found):
        found.to_csv(file, sep=spec.files.separator, index=False)
    return found.reset_index(drop=True)


def _latest(engine: Engine, spec: SoftSensor) -> pd.DataFrame:
    name, _ = latest_view(spec)
    with engine.connect() as connection:
        return pd.read_sql(text(f'SELECT * FROM "{name}"'), connection)
