"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it appears complete, and on disk, or not at all.

    A file of that name is replaced; a reader sees the old content or the new, never a part.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
        part.write(content)
        part.flush()
        os.fsync(part.fileno())
    os.replace(part.name, file)
    folder = os.open(file.parent, os.O_RDONLY)  # or a power cut could lose the name of the file
    os.fsync(folder)
    os.close(folder)
