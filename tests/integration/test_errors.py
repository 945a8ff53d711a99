"""What a user is told of errors of PostgreSQL, SQLite and the system, all of them real."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from src.cli.commands import main
from src.components.database.connection import connect, run_copy
from src.errors import advice
from src.settings import Settings
from tests.postgres import control, folder_for_postgres, postgres_server
from tests.processes import as_user, free_port

PASSWORD = "s3cret-of-the-tests"
RULES = """
host all postgres 127.0.0.1/32 trust
host all unknown_here 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
"""
ROLES = {
    "patient": "",
    "hasty": "SET statement_timeout = '50ms'",
    "restless": "SET lock_timeout = '50ms'",
    "reader": "SET default_transaction_read_only = on",
    "thrifty": "SET temp_file_limit = '64kB'",
    "crowd": "CONNECTION LIMIT 0",
    "locked_out": "NOLOGIN",
}
MISSING_ROLE = "nobody_here"


@pytest.fixture(name="administrator", scope="module")
def fixture_administrator() -> Iterator[Engine]:
    """A server on a port of 127.0.0.1 that asks for passwords, with the roles above."""
    port = free_port()
    with folder_for_postgres() as folder, postgres_server(folder / "data", port) as server:
        (server.pgdata / "pg_hba.conf").write_text(RULES, encoding="utf-8")
        control(server, "reload")
        url = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for role, change in ROLES.items():
                connection.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"))
                if change:
                    connection.execute(text(f"ALTER ROLE {role} {change}"))
            for statement in (
                "CREATE TABLE rows_of_all AS SELECT 1 AS id",
                "GRANT ALL ON rows_of_all TO PUBLIC",
                "CREATE TABLE rows_of_some AS SELECT 1 AS id",
                "GRANT ALL ON rows_of_some TO PUBLIC",
                "ALTER TABLE rows_of_some ENABLE ROW LEVEL SECURITY",
                "CREATE TABLE rows_of_none AS SELECT 1 AS id",
                "CREATE DATABASE full_house CONNECTION LIMIT 0",
                "CREATE DATABASE closed",
                "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
            ):
                connection.execute(text(statement))
        yield engine


@pytest.fixture(name="login")
def fixture_login(administrator: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the environment name the server and a role, or what a test says instead."""

    def configure(role: str, **others: str) -> None:
        values = {
            "DB_HOSTNAME": "127.0.0.1",
            "DB_PORT": str(administrator.url.port),
            "DB_NAME": "postgres",
            "DB_USERNAME": role,
            "DB_PASSWORD": PASSWORD,
            **others,
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return configure


def _told(*statements: str) -> str:
    """The line about the first error of statements in one transaction."""
    with pytest.raises(Exception) as caught:
        with connect(Settings()) as engine, engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    line = advice(caught.value)
    assert line is not None
    assert PASSWORD not in line and "\n" not in line
    return line


@pytest.mark.parametrize(
    "role, statement, cause, remedy",
    [
        ("hasty", "SELECT pg_sleep(9)", "statement timeout", "raise statement_timeout of"),
        ("reader", "DELETE FROM rows_of_all", "read-only", "name the primary server in DB_HOST"),
        ("patient", "INSERT INTO rows_of_some VALUES (1)", "row-level", "row-level security keeps"),
        ("patient", "SELECT * FROM rows_of_none", "permission denied", "ask the owner of the tab"),
        ("patient", "SELECT * FROM runs", "does not exist", "run `impress init` first"),
        ("patient", "SELECT flags FROM rows_of_all", "does not exist", "run `impress init` to add"),
        (
            "thrifty",
            "SELECT i FROM generate_series(1, 1e6) i ORDER BY 1 DESC",
            "temp_file_limit",
            "raise this limit for the role",
        ),
    ],
)
def test_a_statement_that_is_refused(
    login: Callable[..., None], role: str, statement: str, cause: str, remedy: str
) -> None:
    login(role)
    line = _told(statement)
    assert cause in line and f": {remedy}" in line


def test_rows_that_a_policy_would_hide(login: Callable[..., None]) -> None:
    login("patient")
    line = _told("SET row_security = off", "SELECT * FROM rows_of_some")
    assert "would be affected by row-level security" in line and "a policy that admits" in line


def test_a_lock_of_another_session(login: Callable[..., None], administrator: Engine) -> None:
    login("restless")
    with administrator.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        connection.execute(text("LOCK TABLE rows_of_all"))
        line = _told("SELECT * FROM rows_of_all")
    assert "lock timeout" in line and "another session holds a lock" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_of_the_server(login: Callable[..., None]) -> None:
    login("postgres")
    line = _told("COPY (SELECT generate_series(1, 100000)) TO '/dev/full'")
    assert "No space left on device" in line
    assert "the disk of the database server is full" in line


def test_a_session_that_an_administrator_ends(
    login: Callable[..., None], administrator: Engine
) -> None:
    login("patient")
    with pytest.raises(Exception) as caught:
        with connect(Settings()) as engine, engine.connect() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            with administrator.connect() as other:
                other.execute(text(f"SELECT pg_terminate_backend({pid}, 60000)"))
            connection.execute(text("SELECT 1"))
    # Whether the server's last message arrives is a matter of chance.
    ended = "terminating connection.*: .*somebody ended the session"
    lost = "server closed the connection.*: the connection was lost"
    assert re.search(f"{ended}|{lost}", str(advice(caught.value)))


@pytest.mark.parametrize(
    "changed, cause, remedy",
    [
        ({"DB_PASSWORD": "wrong"}, "password authentication", "check DB_USERNAME and DB_PASSWORD"),
        ({"DB_PASSWORD": ""}, "no password supplied", "set DB_PASSWORD"),
        ({"DB_USERNAME": MISSING_ROLE}, "password authentication", "check DB_USERNAME and DB_PASS"),
        ({"DB_USERNAME": "locked_out"}, "not permitted to log in", "check DB_USERNAME, which must"),
        ({"DB_USERNAME": "unknown_here"}, "pg_hba.conf rejects", "the server does not admit this"),
        ({"DB_USERNAME": "crowd"}, "too many connections for role", "all connections are in use"),
        ({"DB_NAME": "full_house"}, "too many connections for database", "all connections are in"),
        ({"DB_NAME": "nowhere"}, 'database "nowhere" does not exist', "check DB_NAME, or create"),
        ({"DB_NAME": "closed"}, "permission denied for database", "ask its owner to grant CONNECT"),
        ({"DB_HOSTNAME": "nowhere.invalid"}, "could not translate host name", "check DB_HOSTNAME,"),
        ({"DB_HOSTNAME": "/nowhere"}, "No such file or directory", "check DB_HOSTNAME and DB_PORT"),
        ({"DB_PORT": "9"}, "Connection refused", "check DB_HOSTNAME and DB_PORT, and that the s"),
        ({"DB_SSLMODE": "require"}, "does not support SSL", "the server offers no TLS"),
        ({"DB_SSLMODE": "sometimes"}, "invalid sslmode value", "check DB_SSLMODE"),
    ],
)
def test_a_connection_that_fails(
    login: Callable[..., None], changed: dict[str, str], cause: str, remedy: str
) -> None:
    login("patient", **changed)
    line = _told("SELECT 1")
    assert cause in line and f": {remedy}" in line


class _NotPostgres(BaseRequestHandler):
    def handle(self) -> None:
        """Answer as a web server would."""
        self.request.recv(8)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_port_of_another_program(login: Callable[..., None]) -> None:
    with TCPServer(("127.0.0.1", 0), _NotPostgres) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        login("patient", DB_PORT=str(other.server_address[1]))
        assert "what answers there is not PostgreSQL" in _told("SELECT 1")
        other.shutdown()


class _Spanish(BaseRequestHandler):
    def handle(self) -> None:
        """Refuse TLS, then the login, in the language of the server."""
        self.request.recv(8)
        self.request.sendall(b"N")
        self.request.recv(1024)
        fields = b"SFATAL\0VFATAL\0C28P01\0M" + "la autentificación falló".encode() + b"\0\0"
        self.request.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)


def test_a_server_that_speaks_another_language(login: Callable[..., None]) -> None:
    with TCPServer(("127.0.0.1", 0), _Spanish) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        login("patient", DB_PORT=str(server.server_address[1]))
        line = _told("SELECT 1")
        server.shutdown()
    assert "la autentificación falló" in line
    assert "the server answers but rejects this login" in line


def test_copy_raises_the_driver_s_own_error(login: Callable[..., None], tmp_path: Path) -> None:
    login("hasty")
    with pytest.raises(Exception) as caught:
        with connect(Settings()) as engine, engine.connect() as connection:
            with (tmp_path / "rows").open("wb") as file:
                run_copy(connection, "COPY (SELECT pg_sleep(9)) TO STDOUT", file)
    assert "QueryCanceled: " in str(advice(caught.value))
    assert "raise statement_timeout" in str(advice(caught.value))


def test_a_fault_of_the_program_is_not_explained_away(login: Callable[..., None]) -> None:
    login("patient")
    for faulty in ("SELEKT 1", "SELECT 1/0", "SELECT 'x'::int"):
        with pytest.raises(Exception) as caught:
            with connect(Settings()) as engine, engine.connect() as connection:
                connection.execute(text(faulty))
        assert advice(caught.value) is None


def _one_line(*words: str) -> str:
    """The only line of a command that fails, whose traceback is in the log file alone."""
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if " ERROR " in line]
    assert len(lines) == 1, result.output
    return lines[0]


@pytest.mark.parametrize("words", [["init"], ["status"], ["predict"], ["monitor"], ["rejected"]])
def test_a_command_prints_one_line(login: Callable[..., None], words: list[str]) -> None:
    login("crowd")
    assert "all connections are in use" in _one_line(*words)


@pytest.fixture(name="registry")
def fixture_registry(home: Path) -> Path:
    """The file of an embedded registry without any version."""
    file = home / "artifacts" / "mlflow.db"
    with suppress(SystemExit):
        CliRunner().invoke(main, ["models"])
    assert file.is_file()
    return file


def test_a_registry_that_is_no_sqlite_file(registry: Path) -> None:
    registry.write_text("not a database " * 100, encoding="utf-8")
    line = _one_line("models")
    assert "file is not a database" in line and "artifacts/mlflow.db unless" in line
    assert "DB_" not in line


def test_a_registry_that_another_program_has_damaged(registry: Path) -> None:
    with sqlite3.connect(registry) as connection:
        connection.execute("DROP TABLE registered_model_aliases")
        connection.execute("DROP TABLE registered_models")
    connection.close()
    line = _one_line("models")
    assert "no such table" in line and "artifacts/mlflow.db unless" in line
    assert "DB_" not in line and "impress init" not in line


def test_a_home_that_is_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("IMPRESS_HOME", str(home / "file"))
    line = _one_line("init")
    assert str(home / "file") in line and "a file is in the way of a folder" in line


@pytest.mark.parametrize("present", ["", "logs"])
def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, present: str) -> None:
    with folder_for_postgres() as folder:
        home = folder / "home"
        (home / present).mkdir(parents=True)
        (home / present).chmod(0o555)
        home.chmod(0o555)
        monkeypatch.setenv("IMPRESS_HOME", str(home))

        def attempt() -> None:
            os.chdir(folder)
            line = _one_line("init")
            assert str(home) in line and "give this user write access there" in line

        if os.geteuid() == 0:
            _import_what_init_needs(folder, monkeypatch)
            monkeypatch.setenv("IMPRESS_HOME", str(home))
            assert as_user("nobody", attempt) == ""
        else:
            attempt()
        home.chmod(0o755)


def _import_what_init_needs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user may not be able to read it later."""
    (folder / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("IMPRESS_HOME", str(folder / "file"))
    _one_line("init")
