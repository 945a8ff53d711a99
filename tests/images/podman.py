"""Containers without a daemon: podman with settings, a base and images of the tests' own."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

NEEDED = ("podman", "runc", "debootstrap")
HUB = "docker.io/library/python:3.11-slim-bookworm"
STAND_IN = "localhost/python:3.11-slim-bookworm"
# The network is the machine's, so that a container finds servers on loopback.
SETTINGS = {
    "containers.conf": """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/tmp"
""",
    "storage.conf": """
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/run"
[storage.options.overlay]
skip_mount_home = "true"
""",
    "registries.conf": "unqualified-search-registries = []\n",
}


@dataclass(frozen=True)
class Podman:
    """Podman with what is in `folder`, and nothing of the machine's."""

    folder: Path

    def call(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command of podman to its end, which must be the exit code `code`, if any."""
        settings = {
            f"CONTAINERS_{name}": str(self.folder / file)
            for name, file in zip(("CONF", "STORAGE_CONF", "REGISTRIES_CONF"), SETTINGS)
        }
        done = subprocess.run(
            ["podman", *arguments],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"podman {arguments[0]}: {done.stdout}{done.stderr}"
        return done

    def build(self, context: Path, task: str, arguments: list[str]) -> str:
        """Build the image of a task. Returns its id."""
        return self.call(
            *("build", "--quiet", "--pull=never", "--format=docker"),
            *(f"--build-arg={argument}" for argument in arguments),
            *(f"--file={context}/Dockerfile.{task}", str(context)),
        ).stdout.strip()

    def base(self) -> str:
        """The image that the Dockerfiles build on; a stand-in where Docker Hub is out of reach."""
        if _hub_answers():
            self.call("pull", "--quiet", HUB)
            return HUB
        if self.call("image", "exists", STAND_IN, code=None).returncode:
            with tempfile.TemporaryDirectory(prefix="impress-base-") as folder:
                _make_stand_in(Path(folder))
                path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
                changes = (f"--change=ENV {path}", "--change=ENV LANG=C.UTF-8")
                self.call("import", *changes, f"{folder}/base.tar", STAND_IN)
        return STAND_IN


@contextmanager
def of_the_tests() -> Iterator[Podman]:
    """A podman whose images stay in the folder IMAGES_CACHE, or go when it ends.

    Not in pytest's folder, which keeps what it had three times: the images take gigabytes.
    """
    given = os.environ.get("IMAGES_CACHE")
    folder = Path(given or tempfile.mkdtemp(prefix="impress-images-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in SETTINGS.items():
        (folder / name).write_text(words.format(folder=folder), encoding="utf-8")
    made = Podman(folder)
    try:
        yield made
    finally:
        if not given:
            made.call("rmi", "--all", "--force")
            shutil.rmtree(folder)


def _hub_answers() -> bool:
    try:
        # Who has not logged in is refused, and that is an answer.
        return requests.get("https://registry-1.docker.io/v2/", timeout=10).status_code == 401
    except requests.RequestException:
        return False


def _make_stand_in(folder: Path) -> None:
    """base.tar: Debian 12 with its Python 3.11 where the official image has one. Two minutes.

    It trusts what this machine trusts, or pip would find no packages behind a proxy.
    """
    root = folder / "root"
    packages = "--include=ca-certificates,python3,python3-venv,python3-pip"
    _do("debootstrap", "--variant=minbase", packages, "bookworm", str(root))
    for name in ("python", "python3", "python3.11"):
        (root / "usr/local/bin" / name).symlink_to("../../bin/python3.11")
    authorities = ssl.get_default_verify_paths().cafile
    if authorities:
        shutil.copyfile(authorities, root / "etc/ssl/certs/ca-certificates.crt")
    (root / "etc/pip.conf").write_text(
        "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n", encoding="utf-8"
    )
    left_out = ("--exclude=./var/cache/apt", "--exclude=./var/lib/apt/lists")
    _do("tar", "-C", str(root), *left_out, "-c", "-f", f"{folder}/base.tar", ".")


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
