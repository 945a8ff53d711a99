"""Files that are there as a whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from src.files import write_whole


@pytest.mark.parametrize("private", [True, False])
def test_a_private_file_is_readable_by_this_user_only(tmp_path: Path, private: bool) -> None:
    file = tmp_path / "folder" / "file"
    write_whole(file, b"old", private)
    write_whole(file, b"new", private)
    assert file.read_bytes() == b"new"
    assert list(file.parent.iterdir()) == [file]
    others = stat.S_IMODE(file.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    assert (others == 0) == private
