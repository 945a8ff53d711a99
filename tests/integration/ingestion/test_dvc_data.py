"""The data set's version and its way back from a remote, with DVC itself on the other side."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from src.components.ingestion import dvc_data
from src.errors import DataError
from src.settings import Settings
from tests.conftest import ROOT

FILES = {"sensors.csv": b"experimentnummer;ph\n1;7.5\n", "lab.csv": b"bemerkungen\r\nW1\r\n"}


@pytest.fixture(name="repository")
def fixture_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository that tracks `Dataset`; it knows no remote."""
    for name in ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / "Dataset").mkdir()
    for name, content in FILES.items():
        (tmp_path / "Dataset" / name).write_bytes(content)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.add("Dataset")
    return tmp_path


def set_remote(repository: Path, url: str) -> None:
    """Make an address the default remote, as `dvc remote add --default origin` does."""
    with Repo(str(repository)) as repo, repo.config.edit("repo") as config:
        config["remote"]["origin"] = {"url": url}
        config["core"]["remote"] = "origin"


@pytest.fixture(name="pushed")
def fixture_pushed(repository: Path) -> Path:
    """The repository after a push to its folder `store`; here the data are gone."""
    set_remote(repository, str(repository / "store"))
    with Repo(str(repository)) as repo:
        assert repo.push() > 0
    shutil.rmtree(repository / "Dataset")
    shutil.rmtree(repository / ".dvc/cache")
    return repository


def pulled() -> dict[str, bytes]:
    """What is in the data set's folder."""
    return {file.name: file.read_bytes() for file in Path("Dataset").iterdir()}


def holders(folder: Path, secret: str) -> list[Path]:
    """Files under a folder that contain a text."""
    return [f for f in folder.rglob("*") if f.is_file() and secret.encode() in f.read_bytes()]


def test_the_version_is_the_hash_that_dvc_writes(repository: Path) -> None:
    written = yaml.safe_load((repository / "Dataset.dvc").read_text(encoding="utf-8"))
    assert dvc_data.version(repository / "Dataset") == written["outs"][0]["md5"]
    assert dvc_data.version(Path("Dataset")) == written["outs"][0]["md5"]


def test_the_version_changes_with_a_byte_and_back(repository: Path) -> None:
    before = dvc_data.version(repository / "Dataset")
    file = repository / "Dataset" / "sensors.csv"
    file.write_bytes(FILES["sensors.csv"].replace(b"7.5", b"7.6"))
    assert dvc_data.version(repository / "Dataset") != before
    file.write_bytes(FILES["sensors.csv"])
    assert dvc_data.version(repository / "Dataset") == before


def test_asking_for_the_version_leaves_no_file(repository: Path) -> None:
    before = sorted(repository.rglob("*"))
    dvc_data.version(repository / "Dataset")
    assert sorted(repository.rglob("*")) == before


def test_a_folder_without_dvc_has_a_version_too(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "Other"
    copied = shutil.copytree(repository / "Dataset", elsewhere)
    assert dvc_data.version(copied) == dvc_data.version(repository / "Dataset")


def test_a_missing_folder_has_no_version() -> None:
    with pytest.raises(DataError, match="impress pull-data"):
        dvc_data.version(Path("Dataset"))


def test_a_folder_remote_gives_the_bytes_back(pushed: Path) -> None:
    assert "Dataset" in " ".join(dvc_data.pull(Settings(), pushed))
    assert pulled() == FILES
    assert dvc_data.pull(Settings(), pushed) == []


def test_what_was_changed_here_is_not_overwritten(pushed: Path) -> None:
    dvc_data.pull(Settings(), pushed)
    (pushed / "Dataset" / "lab.csv").write_bytes(b"mine")
    with pytest.raises(DataError, match="unsaved files.*lab.csv.*dvc status") as caught:
        dvc_data.pull(Settings(), pushed)
    assert "\n" not in str(caught.value)
    assert pulled() == {**FILES, "lab.csv": b"mine"}


def test_an_http_remote_gives_the_bytes_for_the_token(pushed: Path, guarded: str) -> None:
    set_remote(pushed, guarded)
    dvc_data.pull(Settings(), pushed)
    assert pulled() == FILES


def test_the_token_is_written_nowhere(
    pushed: Path, guarded: str, impress: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    set_remote(pushed, guarded)
    done = impress("pull-data")
    token = Settings().dvc_token
    assert done.returncode == 0 and pulled() == FILES and token
    assert holders(pushed, "http://127.0.0.1")  # the search finds what there is
    assert holders(pushed, token.get_secret_value()) == []
    assert token.get_secret_value() not in done.stdout + done.stderr


def test_a_wrong_token_is_one_line_that_says_what_to_check(
    pushed: Path,
    guarded: str,
    impress: Callable[..., subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_remote(pushed, guarded)
    monkeypatch.setenv("DVC_TOKEN", "an0ther-t0ken")
    done = impress("pull-data")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert "DVC_USERNAME and DVC_TOKEN" in line and guarded in line
    assert "Traceback" not in done.stderr
    assert "an0ther-t0ken" not in done.stdout + done.stderr
    assert holders(pushed, "an0ther-t0ken") == []
    assert not Path("Dataset").exists()


def test_a_remote_that_is_down_is_named(pushed: Path, closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    set_remote(pushed, url)
    with pytest.raises(DataError, match=url) as caught:
        dvc_data.pull(Settings(), pushed)
    assert "\n" not in str(caught.value)


def test_a_remote_that_lacks_a_file_is_named(pushed: Path) -> None:
    for file in (pushed / "store").rglob("*"):
        if file.is_file() and file.read_bytes() == FILES["lab.csv"]:
            file.unlink()
    with pytest.raises(DataError, match="origin"):
        dvc_data.pull(Settings(), pushed)


def test_without_a_remote_the_way_to_one_is_told(repository: Path) -> None:
    with pytest.raises(DataError, match="dvc remote add"):
        dvc_data.pull(Settings(), repository)


def test_outside_of_a_repository_the_way_to_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dvc init"):
        dvc_data.pull(Settings(), tmp_path)


def test_the_stages_of_the_repository_can_be_planned(home: Path) -> None:
    """With its own .dvcignore: an ignored output would stop every `dvc repro`."""
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, home)
    (home / "artifacts").mkdir()
    for command in ("init --no-scm --quiet", "repro --dry simulate"):
        dvc = [sys.executable, "-m", "dvc", *command.split()]
        done = subprocess.run(dvc, cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "impress simulate" in done.stdout
