"""The results of a history: a folder, local or on S3, in which every unit is whole or absent."""

from __future__ import annotations

import io
import json
import math
import posixpath
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from src.components.backfill.source import Source
from src.components.predictor.scoring import Scored
from src.components.transformation.features import feature_definition
from src.errors import DataError
from src.files import put
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd
    from fsspec import AbstractFileSystem

MARKER = "history.json"  # says of what the folder holds the results
MANIFEST = "manifest.json"  # written at the end: the units that count
ABANDONED = timedelta(days=1)  # far longer than it takes to write a unit
SUMMED = ("rows", "scored_rows", "refused_rows", "unread_rows", "phases")  # of the records
UNITS, FAILED, PHASES, REFUSED = "units", "failed", "phases", "refused"  # folders


@dataclass(frozen=True)
class Results:
    """Results in a folder.

    A unit has a file of phases for each month in which some of them began, and a record, which is
    written last: what it was made from, and what came of it.

    Attributes:
        root: an absolute folder, or s3://bucket/prefix.
    """

    root: str

    def claim(self, content: dict[str, Any]) -> dict[str, Any]:
        """Say of what the folder holds the results, unless another worker has; returns what it is.

        Raises:
            DataError: when it holds something else.
        """
        if not self._exists(MARKER):
            filesystem, path = self._place
            there = filesystem.ls(path, detail=False) if filesystem.exists(path) else []
            others = [name for name in there if not posixpath.basename(name).startswith(MARKER)]
            if others and not self._exists(MARKER):  # it may have come in the meantime
                raise DataError(
                    f"{self.root} is not empty and holds no results: name another folder"
                )
            self._write(MARKER, content)
        return self._read(MARKER)

    @property
    def units(self) -> set[str]:
        """Names of the units that are there."""
        return set(self._names(UNITS))

    def write(
        self, name: str, scored: Scored, refused: pd.DataFrame, facts: dict[str, Any]
    ) -> None:
        """Write a unit; it is there when all of it is.

        Args:
            refused: phases that were not scored: keys and `reason`.
            facts: for its record.
        """
        files = []
        if not scored.ledger.empty:
            for month, phases in scored.ledger.groupby(_months(scored.ledger), sort=True):
                files.append(f"{PHASES}/month={month}/{name}.parquet")
                put(self.root, files[-1], _parquet(phases))
        if not refused.empty:
            files.append(f"{REFUSED}/{name}.parquet")
            put(self.root, files[-1], _parquet(refused))
        self._write(f"{UNITS}/{name}.json", {**facts, "results": files})
        self._remove(f"{FAILED}/{name}.json")

    def note_failure(self, name: str, facts: dict[str, Any]) -> None:
        """Record that a unit could not be done."""
        self._write(f"{FAILED}/{name}.json", facts)

    def record(self, name: str) -> dict[str, Any]:
        """What was noted of a unit that is there."""
        return self._read(f"{UNITS}/{name}.json")

    def close(self, names: Collection[str], facts: dict[str, Any]) -> None:
        """Write the manifest, and remove the units that it does not name.

        Args:
            names: the units that count, in their order; all are there.
            facts: for the manifest, beside the sums over all units.
        """
        wanted = list(names)
        sums, damaged = Counter[str](), set[str]()
        for record in map(self.record, wanted):
            sums.update({name: record[name] for name in SUMMED})
            damaged.update(record["damaged"])
        content = {**facts, "damaged": sorted(damaged), **sums, "units": wanted}
        if not self._exists(MANIFEST) or self._read(MANIFEST) != content:
            self._write(MANIFEST, content)
        self._remove_others(set(wanted))
        for name in self._names(FAILED):
            self._remove(f"{FAILED}/{name}.json")

    def _remove_others(self, wanted: set[str]) -> None:
        """Remove the units that the manifest does not name, if they are older than it.

        What is newer is that of a newer model, if a straggler of an older one is here. What has no
        record may be about to get one; after a day it is what a kill has left.
        """
        closed, there = self._modified(MANIFEST), self.units
        for name in there - wanted:
            record = f"{UNITS}/{name}.json"
            with suppress(FileNotFoundError):  # another worker is here, too
                if self._modified(record) <= closed:
                    files = self.record(name)["results"]
                    self._remove(record)  # without it the unit is not there
                    for file in files:
                        self._remove(file)
        for file in self._files_of_phases():
            if posixpath.basename(file).removesuffix(".parquet") not in there | wanted:
                with suppress(FileNotFoundError):
                    if self._modified(file) <= closed - ABANDONED:
                        self._remove(file)

    def _files_of_phases(self) -> list[str]:
        """Files of scored and refused phases, also of units without a record."""
        found = [
            path
            for folder in (PHASES, REFUSED)
            if self._exists(folder)
            for path in self._filesystem.find(self._at(folder))
            if path.endswith(".parquet")
        ]
        return [path.removeprefix(self._at("")) for path in found]

    def _modified(self, name: str) -> datetime:
        moment: datetime = self._filesystem.modified(self._at(name))
        return moment

    def manifest(self) -> dict[str, Any]:
        """The manifest.

        Raises:
            DataError: when there is none.
        """
        if not self._exists(MANIFEST):
            raise DataError(
                f"{self.root} holds no complete results: run `impress backfill` to its end"
            )
        return self._read(MANIFEST)

    def phases(self, columns: list[str] | None = None) -> pd.DataFrame:
        """All scored phases: rows as `score` gives them.

        Args:
            columns: only these, by default all.

        Raises:
            DataError: when the results are not complete.
        """
        return self._phases(columns=columns)

    def window(
        self, since: pd.Timestamp | None, until: pd.Timestamp, columns: list[str] | None = None
    ) -> pd.DataFrame:
        """The scored phases that ended after `since` and by `until`.

        Args:
            columns: only these, by default all.

        Raises:
            DataError: when there are none, or the results are not complete.
        """
        phases = self.between(since, until, columns)
        if phases.empty:
            raise DataError(f"no phase of {self.root} ended in this time: see --since and --until")
        return phases

    def between(
        self, since: pd.Timestamp | None, until: pd.Timestamp, columns: list[str] | None = None
    ) -> pd.DataFrame:
        """As `window`, but there need be none."""
        begin = -math.inf if since is None else since.timestamp()
        ended = [("last_timestamp", ">", begin), ("last_timestamp", "<=", until.timestamp())]
        return self._phases(columns=columns, filters=ended)

    def _phases(self, **options: Any) -> pd.DataFrame:
        import pandas as pd
        from pyarrow import parquet

        frames = []
        for name in self.manifest()["units"]:
            for file in self.record(name)["results"]:
                if file.startswith(PHASES):
                    with self._filesystem.open(self._at(file), "rb") as stream:
                        frames.append(parquet.read_table(stream, **options).to_pandas())
        if not frames:
            return pd.DataFrame(columns=options["columns"])
        phases: pd.DataFrame = pd.concat(frames, ignore_index=True)
        return phases

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        from fsspec.core import url_to_fs

        filesystem, path = url_to_fs(self.root, skip_instance_cache=True, use_listings_cache=False)
        return filesystem, path

    @property
    def _filesystem(self) -> AbstractFileSystem:
        return self._place[0]

    def _at(self, name: str) -> str:
        return posixpath.join(self._place[1], name)

    def _exists(self, name: str) -> bool:
        return bool(self._filesystem.exists(self._at(name)))

    def _names(self, folder: str) -> list[str]:
        if not self._exists(folder):
            return []
        found = self._filesystem.ls(self._at(folder), detail=False)
        ends = [posixpath.basename(path) for path in found]
        return [end.removesuffix(".json") for end in ends if end.endswith(".json")]

    def _read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self._filesystem.cat_file(self._at(name)))
        return content

    def _write(self, name: str, content: dict[str, Any]) -> None:
        put(self.root, name, json.dumps(content, indent=1, ensure_ascii=False).encode())

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):  # another worker may have removed it
            self._filesystem.rm_file(self._at(name))


def open_results(root: str, source: Source, spec: SoftSensor) -> Results:
    """The results of a history in a folder, which may be new.

    Raises:
        DataError: when it holds something else, or lies in the history.
    """
    is_inside = f"{root}/".startswith(f"{source.address}/")
    if is_inside or fnmatchcase(root, source.address):
        raise DataError(f"{root} is part of the history, as which it would be read: name another")
    results = Results(root)
    wanted = {"source": source.address, "soft_sensor": spec.name}
    there = results.claim(wanted)
    if there != wanted:
        raise DataError(
            f"{root} holds the results of {there.get('source')} for {there.get('soft_sensor')}: "
            "name another folder"
        )
    return results


def read_results(root: str, spec: SoftSensor) -> Results:
    """Complete results whose features are those of params.yaml.

    Raises:
        DataError: when they are not complete, or others.
    """
    results = Results(root)
    names = results.manifest()["units"]
    if names and results.record(names[0])["features"] != feature_definition(spec):
        raise DataError(
            f"{root} was scored with other features than params.yaml names: run `impress backfill` "
            "again"
        )
    return results


def _months(ledger: pd.DataFrame) -> pd.Series:
    """The month in which each phase began, in UTC."""
    import pandas as pd

    began = pd.to_datetime(ledger["first_timestamp"], unit="s", utc=True)
    return began.dt.strftime("%Y-%m")


def _parquet(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    sink = io.BytesIO()
    table = pa.Table.from_pandas(frame, preserve_index=False)
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()
