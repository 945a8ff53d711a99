"""Files that are there as a whole or not at all, in a folder or on S3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

S3 = "s3://"
LONGEST = 80  # characters of a text in the name of a file, which may have 255 in all


def write_whole(file: Path, content: bytes, private: bool = False) -> None:
    """Write a file so that it appears complete, and on disk, or not at all.

    A file of that name is replaced; a reader sees the old content or the new, never a part.

    Args:
        private: only this user may read it; otherwise the umask decides.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{uuid4().hex}.part")
    mode = 0o600 if private else 0o666
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)  # is there if the disk was full
    folder = os.open(file.parent, os.O_RDONLY)  # or a power cut could lose the name of the file
    os.fsync(folder)
    os.close(folder)


def in_file_name(text: str) -> str:
    """A text with escapes for what the name of a file cannot hold; of a long one the beginning."""
    name = ""
    for character in text:
        escaped = quote(character, safe="")
        if len(name) + len(escaped) > LONGEST:
            break
        name += escaped
    return name


def put(root: str, name: str, content: bytes, private: bool = False, kind: str = "") -> None:
    """Write one file whole or not at all.

    Args:
        root: an absolute folder, or s3://bucket/prefix, as the settings have checked it.
            Credentials for S3 are found as AWS's SDKs do.
        private: in a folder, only this user may read it.
        kind: on S3, its media type.
    """
    if not root.startswith(S3):
        write_whole(Path(root) / name, content, private)
        return
    store, prefix = s3_store(root)
    metadata = {"Content-Type": kind} if kind else None
    with store.open_output_stream(f"{prefix}/{name}", metadata=metadata) as stream:
        stream.write(content)


def s3_store(root: str) -> tuple[FileSystem, str]:
    """The store of s3://bucket/prefix?region=..., and the path there: bucket/prefix."""
    from pyarrow import fs

    path, mark, options = root.removeprefix(S3).partition("?")
    bucket, _, _ = path.partition("/")
    # Without the prefix, in which a space would be refused, and a # would end the address.
    store, _ = fs.FileSystem.from_uri(f"{S3}{bucket}{mark}{options}")
    return store, path.rstrip("/")
