"""The files of a history: Parquet or CSV, in a folder or an object store."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass
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
    found, root = filesystem.find(path, detail=True), path
    if not found:
        found, root = _matching(filesystem, path), _before_pattern(path)
    files = [
        _source_file(filesystem, name, facts)
        for name, facts in sorted(found.items())
        if not _is_hidden(name, root) and _is_table(filesystem, name, facts)
    ]
    if not files:
        raise DataError(f"{address} holds no file whose name ends with .parquet, .pq or .csv")
    return Source(_named(filesystem, path), filesystem, tuple(files))


def _matching(filesystem: AbstractFileSystem, pattern: str) -> dict[str, dict[str, Any]]:
    """The files that a pattern names, and those in the folders that it names."""
    found: dict[str, dict[str, Any]] = {}
    for name, facts in filesystem.glob(pattern, detail=True).items():
        if facts["type"] == "directory" or _leads_to_folder(filesystem, name, facts):
            found |= filesystem.find(name, detail=True)
        else:
            found[name] = facts
    return found


def _before_pattern(path: str) -> str:
    """The folder below which names are a matter of the pattern."""
    return re.split(r"[*?[]", path, maxsplit=1)[0].rpartition("/")[0]


def _is_hidden(name: str, root: str) -> bool:
    below = PurePosixPath(name.removeprefix(root))
    return any(part.startswith((".", "_")) for part in below.parts)


def _is_table(filesystem: AbstractFileSystem, name: str, facts: dict[str, Any]) -> bool:
    """Whether it is a file of a history, or a link to one."""
    if _leads_to_folder(filesystem, name, facts):
        # It may lead to a folder that is read anyway.
        logger.warning("%s is a link to a folder and is left out: name the folder itself", name)
        return False
    is_file = facts["type"] == "file" or (facts.get("islink") and filesystem.isfile(name))
    return bool(is_file) and name.lower().endswith((*PARQUET, *CSV))


def _leads_to_folder(filesystem: AbstractFileSystem, name: str, facts: dict[str, Any]) -> bool:
    return bool(facts.get("islink") and filesystem.isdir(name))


def _source_file(filesystem: AbstractFileSystem, name: str, facts: dict[str, Any]) -> SourceFile:
    if facts.get("islink"):
        facts = filesystem.info(os.path.realpath(name))
    stamp = (
        facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("LastModified")
    )
    return SourceFile(_named(filesystem, name), int(facts["size"]), str(stamp))


def _named(filesystem: AbstractFileSystem, path: str) -> str:
    return path if _is_local(filesystem) else str(filesystem.unstrip_protocol(path))


def _is_local(filesystem: AbstractFileSystem) -> bool:
    return "file" in filesystem.protocol
