"""Which files a history has."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.components.backfill.source import find
from src.components.backfill.survey import survey
from src.errors import DataError
from src.soft_sensor import SoftSensor


def _files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"rows")


def _found(address: Path | str, folder: Path) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) for file in find(str(address)).files]


def test_all_tables_below_a_folder_but_hidden_ones(tmp_path: Path) -> None:
    _files(tmp_path, "b.parquet", "a/1.PQ", "a/2.csv.gz", "notes.txt", "_log/3.parquet", ".4.csv")
    assert _found(tmp_path, tmp_path) == ["a/1.PQ", "a/2.csv.gz", "b.parquet"]


def test_a_pattern_names_files_and_whole_folders(tmp_path: Path) -> None:
    _files(tmp_path, "2026-01.parquet", "2026-02/1.parquet", "2026-02/2.parquet", "2025.parquet")
    expected = ["2026-01.parquet", "2026-02/1.parquet", "2026-02/2.parquet"]
    assert _found(tmp_path / "2026-*", tmp_path) == expected


def test_only_what_a_pattern_finds_may_be_hidden(tmp_path: Path) -> None:
    plant = tmp_path / "_plant"
    _files(plant, "1.parquet", "_2.parquet")
    assert _found(plant / "*.parquet", plant) == ["1.parquet"]


@pytest.mark.parametrize("name", ["history [old]", "history*"])
def test_a_folder_of_this_very_name_comes_before_a_pattern(tmp_path: Path, name: str) -> None:
    _files(tmp_path, f"{name}/1[1].parquet", "history o/2.parquet")
    assert _found(tmp_path / name, tmp_path) == [f"{name}/1[1].parquet"]
    assert _found(tmp_path / name / "1[1].parquet", tmp_path) == [f"{name}/1[1].parquet"]


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    _files(tmp_path, "cache/x", "history/1.parquet")
    (tmp_path / "history" / "2.parquet").symlink_to(tmp_path / "cache" / "x")
    before = find(str(tmp_path / "history")).files
    assert [(Path(file.path).name, file.size) for file in before] == [
        ("1.parquet", 4),
        ("2.parquet", 4),
    ]
    os.utime(tmp_path / "cache" / "x", ns=(1, 1))
    after = find(str(tmp_path / "history")).files
    assert [one == other for one, other in zip(before, after)] == [True, False]


def test_a_link_to_a_folder_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _files(tmp_path, "history/2026-01/1.parquet")
    (tmp_path / "history" / "latest").symlink_to(tmp_path / "history" / "2026-01")
    with caplog.at_level(logging.WARNING):
        assert _found(tmp_path / "history", tmp_path) == ["history/2026-01/1.parquet"]
    assert "latest is a link to a folder and is left out" in caplog.text
    linked = ["history/latest/1.parquet"]
    assert _found(tmp_path / "history" / "latest", tmp_path) == linked
    assert _found(tmp_path / "history" / "la*", tmp_path) == linked


@pytest.mark.parametrize("pattern", ["", "*", "**"])
def test_no_file_is_there_twice(
    tmp_path: Path, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    _files(tmp_path, "2026-01/1.parquet")
    (tmp_path / "latest").symlink_to(tmp_path / "2026-01")
    (tmp_path / "newest.parquet").symlink_to(tmp_path / "2026-01" / "1.parquet")
    with caplog.at_level(logging.WARNING):
        assert _found(tmp_path / pattern, tmp_path) == ["2026-01/1.parquet"]
    assert "newest.parquet leads to" in caplog.text


def test_a_link_to_nothing_is_a_file_that_cannot_be_read(tmp_path: Path, spec: SoftSensor) -> None:
    (tmp_path / "1.parquet").symlink_to(tmp_path / "gone.parquet")
    with pytest.raises(DataError, match="no file can be read: .*1.parquet: .*No such file"):
        survey(find(str(tmp_path)), spec, tmp_path / "converted")


def test_a_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _files(tmp_path, "1.parquet", "2026-01/2.parquet")
    scandir = os.scandir

    def refused(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("2026-01"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError, match="2026-01"):
        find(str(tmp_path))


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no file whose name ends with"):
        find(str(tmp_path / "nothing" / "*.parquet"))
