"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
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


def test_what_cannot_be_completed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", is_full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "folder" / "file", b"content")
    assert not list((tmp_path / "folder").iterdir())
