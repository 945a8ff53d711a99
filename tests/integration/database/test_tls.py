"""TLS to PostgreSQL: whose certificate is believed, and what is said of one that is not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import text

from src.components.database.connection import connect
from src.errors import SettingsError, advice
from src.settings import Settings
from tests.postgres import folder_for_postgres
from tests.processes import free_port

# The embedded PostgreSQL is built without TLS.
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("initdb", "pg_ctl"))), reason="no PostgreSQL is on the path"
)

CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
ssl = on
ssl_cert_file = 'server.pem'
ssl_key_file = 'server.key'
"""
RULES = "hostssl all all 127.0.0.1/32 trust\n"


@dataclass(frozen=True)
class _Server:
    port: int
    authority: Path


@pytest.fixture(name="tls_server", scope="module")
def fixture_tls_server() -> Iterator[_Server]:
    """A server that wants TLS; its certificate is for `localhost`, by an authority of its own."""
    as_somebody: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_somebody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    port = free_port()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    with folder_for_postgres() as folder:
        data = folder / "data"
        data.mkdir(mode=0o700)

        def run(*command: str) -> None:
            options = {"cwd": folder, "stdout": subprocess.DEVNULL, **as_somebody}
            subprocess.run([*command, "-D", str(data)], check=True, **options)

        if as_somebody:
            shutil.chown(data, "nobody", "nogroup")
        run("initdb", "--auth=trust", "-U", "postgres")
        authority.cert_pem.write_to_path(folder / "authority.pem")
        certificate.private_key_pem.write_to_path(data / "server.key")
        certificate.cert_chain_pems[0].write_to_path(data / "server.pem")
        (data / "server.key").chmod(0o600)
        (data / "pg_hba.conf").write_text(RULES, encoding="utf-8")
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{CONFIGURATION}port = {port}\n")
        if as_somebody:
            for file_of_root in ("server.key", "server.pem"):
                shutil.chown(data / file_of_root, "nobody", "nogroup")
        run("pg_ctl", "-s", "-w", "-t", "240", "-l", str(data / "log"), "start")
        try:
            yield _Server(port, folder / "authority.pem")
        finally:
            run("pg_ctl", "-s", "-w", "-m", "immediate", "stop")


@pytest.fixture(name="attempt")
def fixture_attempt(
    tls_server: _Server, monkeypatch: pytest.MonkeyPatch, home: Path
) -> Callable[..., str]:
    """Connect with variables of the environment; what is said of the failure, else `encrypted`."""
    monkeypatch.setenv("HOME", str(home))  # where libpq would look for an authority too
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    def connect_with(**environment: str) -> str:
        usual = {
            "DB_HOSTNAME": "localhost",
            "DB_PORT": str(tls_server.port),
            "DB_NAME": "postgres",
            "DB_USERNAME": "postgres",
        }
        for name, value in {**usual, **environment}.items():
            monkeypatch.setenv(name, value)
        try:
            with connect(Settings()) as engine, engine.connect() as connection:
                query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                assert connection.scalar(text(query)) is True
        except Exception as error:  # pylint: disable=broad-exception-caught  # any is judged
            return advice(error) or f"unexplained: {error!r}"
        return "encrypted"

    return connect_with


@pytest.fixture(name="wrong_authority")
def fixture_wrong_authority(home: Path) -> Path:
    """The certificate of an authority that has signed nothing."""
    trustme.CA().cert_pem.write_to_path(home / "wrong.pem")
    return home / "wrong.pem"


@pytest.mark.parametrize("mode", ["", "verify-full", "verify-ca"])
def test_the_right_authority(attempt: Callable[..., str], tls_server: _Server, mode: str) -> None:
    done = attempt(DB_SSLROOTCERT=str(tls_server.authority), DB_SSLMODE=mode)
    assert done == "encrypted"


def test_the_authorities_of_the_system(
    attempt: Callable[..., str], tls_server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = attempt(DB_SSLROOTCERT="system")
    assert "certificate verify failed" in line and "DB_SSLROOTCERT" in line
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_server.authority))
    assert attempt(DB_SSLROOTCERT="system") == "encrypted"


@pytest.mark.parametrize("mode", ["", "verify-full", "verify-ca"])
def test_a_wrong_authority(attempt: Callable[..., str], wrong_authority: Path, mode: str) -> None:
    line = attempt(DB_SSLROOTCERT=str(wrong_authority), DB_SSLMODE=mode)
    assert "certificate verify failed" in line and "\n" not in line
    assert line.endswith("is not signed by the authority in DB_SSLROOTCERT")


def test_a_name_that_is_not_in_the_certificate(
    attempt: Callable[..., str], tls_server: _Server
) -> None:
    authority = str(tls_server.authority)
    line = attempt(DB_SSLROOTCERT=authority, DB_HOSTNAME="127.0.0.1")
    assert line.endswith("DB_HOSTNAME must be a name in the server's certificate")
    only_the_authority = {"DB_SSLROOTCERT": authority, "DB_SSLMODE": "verify-ca"}
    assert attempt(**only_the_authority, DB_HOSTNAME="127.0.0.1") == "encrypted"


def test_a_mode_without_an_authority(attempt: Callable[..., str]) -> None:
    assert attempt(DB_SSLMODE="require") == attempt(DB_SSLMODE="prefer") == "encrypted"
    assert "DB_SSLROOTCERT must name the file" in attempt(DB_SSLMODE="verify-full")
    assert "set DB_SSLMODE to `require` or `verify-full`" in attempt(DB_SSLMODE="disable")


def test_a_file_that_holds_no_certificate(attempt: Callable[..., str], home: Path) -> None:
    (home / "empty.pem").write_text("nothing", encoding="utf-8")
    assert "DB_SSLROOTCERT must name the file" in attempt(DB_SSLROOTCERT=str(home / "empty.pem"))


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
def test_an_authority_that_would_not_be_asked(wrong_authority: Path, mode: str) -> None:
    with pytest.raises(SettingsError, match="DB_SSLROOTCERT is for DB_SSLMODE=verify-full or veri"):
        Settings(db_sslrootcert=str(wrong_authority), db_sslmode=mode)
    with pytest.raises(SettingsError, match="DB_SSLROOTCERT is for DB_SSLMODE=verify-full$"):
        Settings(db_sslrootcert="system", db_sslmode="verify-ca")


def test_an_authority_that_does_not_exist(home: Path) -> None:
    with pytest.raises(SettingsError, match="^DB_SSLROOTCERT names no file"):
        Settings(db_sslrootcert=str(home / "missing.pem"))
