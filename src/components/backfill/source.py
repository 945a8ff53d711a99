"""The files of a history: Parquet or CSV, in a folder or an object store."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from src.errors import DataError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PARQUET, CSV = (".parquet", ".pq"), (".csv", ".csv.gz")


@dataclass(frozen=True)
class SourceFile:
    """A file of the history.

    Attributes:
        path: how DuckDB and Spark name it.
        size: bytes.
        stamp: changes with the content: the entity tag of an object store, or the time of the last
            change.
    """

    path: str
    size: int
    stamp: str

    @property
    def is_csv(self) -> bool:
        """Whether it is text."""
        return self.path.lower().endswith(CSV)

    @property
    def digest(self) -> str:
        """Names this state of the file."""
        return hashlib.sha256(repr((self.path, self.size, self.stamp)).encode()).hexdigest()


@dataclass(frozen=True)
class Source:
    """Where a history is.

    Attributes:
        address: as it was asked for, absolute.
        files: in the order of their paths.
    """

    address: str
    filesystem: AbstractFileSystem
    files: tuple[SourceFile, ...]

    @property
    def is_remote(self) -> bool:
        """Whether it is in an object store."""
        return not _is_local(self.filesystem)


def find(address: str) -> Source:
    """The files of a folder with all folders in it, of a pattern such as `2026/*.parquet`, or one.

    Names that begin with a dot or an underscore are left out, as Spark and Hive leave them out.

    Args:
        address: a path, or an address such as s3://bucket/prefix, with the credentials that
            AWS's SDKs find.

    Raises:
        DataError: when there is no such file.
    """
    from fsspec.core import url_to_fs

    # A listing must be of now, not of an earlier call.
    filesystem, path = url_to_fs(address, skip_instance_cache=True, use_listings_cache=False)
    has_pattern = any(sign in path for sign in "*?[")
    if has_pattern:
        found = filesystem.glob(path, detail=True)
    else:
        found = filesystem.find(path, detail=True)
    files = [
        _source_file(filesystem, name, facts)
        for name, facts in sorted(found.items())
        if _counts(name, path) and facts["type"] == "file"
    ]
    if not files:
        raise DataError(f"{address} holds no file whose name ends with .parquet, .pq or .csv")
    return Source(_named(filesystem, path), filesystem, tuple(files))


def _counts(name: str, root: str) -> bool:
    below = PurePosixPath(name.removeprefix(root))
    hidden = any(part.startswith((".", "_")) for part in below.parts)
    return name.lower().endswith((*PARQUET, *CSV)) and not hidden


def _source_file(filesystem: AbstractFileSystem, name: str, facts: dict[str, Any]) -> SourceFile:
    stamp = (
        facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("LastModified")
    )
    return SourceFile(_named(filesystem, name), int(facts["size"]), str(stamp))


def _named(filesystem: AbstractFileSystem, path: str) -> str:
    return path if _is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def _is_local(filesystem: AbstractFileSystem) -> bool:
    return "file" in filesystem.protocol
