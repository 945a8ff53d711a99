"""A data set in an object store, or one whose sensor rows are a history of many files."""

from __future__ import annotations

import hashlib
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.components.backfill.admission import admit
from src.components.backfill.duckdb_engine import DuckDB
from src.components.backfill.engine import features_of
from src.components.backfill.rows import Unreadable, damaged_files
from src.components.backfill.source import Source, find
from src.components.backfill.survey import survey
from src.components.backfill.units import plan
from src.components.ingestion.account import Account, shortened
from src.components.predictor.scoring import MAY_LACK_ROWS
from src.errors import DataError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

REMOTE = "://"
UNIT_ROWS = 1_000_000  # of experiments with laboratory values, which are few


@dataclass(frozen=True)
class DataSet:
    """A data set whose tables are in a local folder.

    Attributes:
        folder: laboratory values, groups, archived features, and sensor rows if they are one file.
        history: the files with the sensor rows, if they are many.
        converted: folder for those of them that are CSV, as Parquet.
    """

    folder: Path
    history: Source | None = None
    converted: Path = Path("converted")

    @property
    def history_version(self) -> str | None:
        """A hash that changes with the files of the history, None where there is none."""
        if self.history is None:
            return None
        digests = [file.digest for file in self.history.files]
        return hashlib.sha256("".join(digests).encode()).hexdigest()


@contextmanager
def opened(address: str, spec: SoftSensor, converted: Path) -> Iterator[DataSet]:
    """A data set, local or in an object store.

    Its sensor rows are a history where `files.sensors` names a folder.

    Args:
        address: a folder, or an address such as s3://bucket/prefix.
        converted: folder for CSV files of a history as Parquet.

    Raises:
        DataError: when the store has no laboratory file there.
    """
    if REMOTE not in address:
        folder = Path(address)
        rows = folder / spec.files.sensors
        yield DataSet(folder, find(str(rows)) if rows.is_dir() else None, converted)
        return
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(address, skip_instance_cache=True, use_listings_cache=False)
    group = [spec.training.group.file] if spec.training.group else []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in (spec.files.laboratory, spec.files.archived, spec.files.sensors, *group):
            if filesystem.isfile(posixpath.join(path, name)):
                filesystem.get_file(posixpath.join(path, name), str(folder / name))
        if not (folder / spec.files.laboratory).is_file():
            raise DataError(f"{address} has no {spec.files.laboratory}: is it a data set?")
        is_one_file = (folder / spec.files.sensors).is_file()
        rows_at = posixpath.join(address, spec.files.sensors)
        yield DataSet(folder, None if is_one_file else find(rows_at), converted)


def features_of_analysed(
    data: DataSet, laboratory: pd.DataFrame, spec: SoftSensor, account: Account
) -> pd.DataFrame:
    """Features of the experiments that the laboratory has analysed, from a history.

    Args:
        data: with a history.
        laboratory: what `data_set.read_laboratory` gives.

    Returns:
        What `data_set.read_sensor_features` does.

    Raises:
        DataError: when a file cannot be read: a phase without some of its rows teaches nothing.
    """
    import pandas as pd

    history = data.history
    assert history is not None
    found = survey(history, spec, data.converted)
    _refuse(found.unreadable)
    wanted = set(laboratory[spec.columns.experiment])
    units = plan(found, spec, UNIT_ROWS, only=wanted)
    if not units:
        raise DataError(f"{history.address} has no experiment of the laboratory file")
    account.note(found.rows, f"rows in {len(found.files)} files")
    account.note(sum(unit.rows for unit in units), "rows of experiments with laboratory values")
    parts, refused = [], []
    for unit, table in features_of(DuckDB(history, spec), units, jobs=1):
        if isinstance(table, Exception):
            _refuse(damaged_files(history, unit.files, spec))
            raise table
        admitted, others = admit(table, unit, spec)
        parts.append(admitted)
        refused.append(others)
    left_out = pd.concat(refused)
    reasons = shortened(sorted(set(left_out["reason"])))
    account.note_left_out(len(left_out), f"phases that cannot be used: {reasons}")
    features: pd.DataFrame = pd.concat(parts, ignore_index=True).drop(columns=MAY_LACK_ROWS)
    account.note(len(features), "phases of these rows")
    return features


def _refuse(unreadable: Sequence[Unreadable]) -> None:
    if unreadable:
        raise DataError("; ".join(f"{fault} cannot be read" for fault in unreadable))
