"""The files of a history: Parquet or CSV, in a folder or an object store."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from glob import glob
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from src.errors import DataError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

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
    found = _local_files(path) if _is_local(filesystem) else _remote_files(filesystem, path)
    files = [file for file in found if file.path.lower().endswith((*PARQUET, *CSV))]
    if not files:
        raise DataError(f"{address} holds no file whose name ends with .parquet, .pq or .csv")
    files.sort(key=lambda file: file.path)
    return Source(_named(filesystem, path), filesystem, tuple(files))


def _local_files(path: str) -> list[SourceFile]:
    """Raises OSError where a folder cannot be listed: its files would be missing in silence."""
    named, root = ([path], path) if os.path.exists(path) else _matching(path)
    found = dict[str, str]()  # where a file really is, and its name
    for name in sorted(each for start in named for each in _below(start)):
        if _is_hidden(name, root):
            continue
        first = found.setdefault(os.path.realpath(name), name)
        if first != name:
            logger.warning("%s leads to %s and is left out", name, first)
    return [_local_file(name) for name in found.values()]


def _matching(pattern: str) -> tuple[list[str], str]:
    """What a pattern names, and the folder below which names are a matter of the pattern."""
    return glob(pattern, recursive=True), _before_pattern(pattern)


def _below(start: str) -> list[str]:
    """The files in a folder and in all folders in it; a file alone."""
    if not os.path.isdir(start):
        return [start]
    files = []
    for folder, folders, names in os.walk(start, onerror=_raise):
        files += [os.path.join(folder, name) for name in names]
        for link in filter(os.path.islink, (os.path.join(folder, name) for name in folders)):
            # It may lead to a folder that is read anyway.
            logger.warning("%s is a link to a folder and is left out: name the folder", link)
    return files


def _raise(error: OSError) -> None:
    raise error


def _local_file(name: str) -> SourceFile:
    try:
        stat = os.stat(name)
    except FileNotFoundError:  # a link to nothing, which the survey finds unreadable
        return SourceFile(name, 0, "")
    return SourceFile(name, stat.st_size, str(stat.st_mtime_ns))


def _remote_files(filesystem: AbstractFileSystem, path: str) -> list[SourceFile]:
    found, root = filesystem.find(path, detail=True), path
    if not found:
        root = _before_pattern(path)
        for name, facts in filesystem.glob(path, detail=True).items():
            is_folder = facts["type"] == "directory"
            found |= filesystem.find(name, detail=True) if is_folder else {name: facts}
    return [
        _remote_file(filesystem, name, facts)
        for name, facts in found.items()
        if facts["type"] == "file" and not _is_hidden(name, root)
    ]


def _remote_file(filesystem: AbstractFileSystem, name: str, facts: dict[str, Any]) -> SourceFile:
    stamp = (
        facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("LastModified")
    )
    return SourceFile(_named(filesystem, name), int(facts["size"]), str(stamp))


def _before_pattern(path: str) -> str:
    return re.split(r"[*?[]", path, maxsplit=1)[0].rpartition("/")[0]


def _is_hidden(name: str, root: str) -> bool:
    below = PurePosixPath(name.removeprefix(root))
    return any(part.startswith((".", "_")) for part in below.parts)


def _named(filesystem: AbstractFileSystem, path: str) -> str:
    return path if _is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def _is_local(filesystem: AbstractFileSystem) -> bool:
    return "file" in filesystem.protocol
