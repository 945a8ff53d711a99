"""A registry that answers whatever an attacker thinks of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd

from src.components.registry import bundle_files
from src.components.registry.cache import fetch_production
from src.components.registry.versions import Registry
from src.errors import ImpressError
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.attack.bundles import EQUAL, HOSTILE, OTHER, REFUSED, Random, predictions

SOURCES = [
    "mlflow-artifacts:/0/run/artifacts/bundle",
    "mlflow-artifacts:/../../../etc",
    "mlflow-artifacts://169.254.169.254/latest",
    "http://127.0.0.1:9/bundle",
    "file:///etc",
    "/etc",
    "/proc/self",
    "../../victim",
    "models:/laundry/1",
    "dbfs:/x",
    "ftp://127.0.0.1/x",
    "",
    "\x00",
]
VERSIONS = [
    "1",
    "007",
    "x/../../../victim",
    "../victim",
    "1/../../victim",
    "-1",
    "1e3",
    "",
    "١",
    "1\n",
]
BODIES = [
    b"<!DOCTYPE html><html>Sign in</html>",
    b"",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"{",
    b"[" * 200_000,
    b"\xff\xfe\x00",
    b'{"model_version": []}',
    b'{"model_version": {"version": 1}}',
    b'{"model_version": {"version": "1", "source": 5, "tags": {}}}',
    b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}',
    b'{"error_code": ["x"], "message": {}}',
    b" " * 2_000_000,
]


class HostileRegistry:  # pylint: disable=too-many-instance-attributes  # a server and its victim
    """Serves one kind of answer after the other, and lets a run fetch its model from there."""

    def __init__(self, genuine: Path, home: Path, asked: pd.DataFrame, spec: SoftSensor) -> None:
        self.genuine, self.home, self.asked, self.spec = genuine, home, asked, spec
        self.files = {file.name: file.read_bytes() for file in genuine.iterdir()}
        self.random: Random = np.random.default_rng(0)
        self.victim = home / "victim"
        self.victim.mkdir()
        (self.victim / "precious").write_text("data", encoding="utf-8")
        self.expected = predictions(bundle_files.load(genuine), asked, spec)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()

    def attack(self, seed: int) -> str:
        """Fetch from this registry and predict.

        Returns:
            What became of it; any error but a refusal is raised.
        """
        self.random = np.random.default_rng(seed)
        home = self.home / "home"
        os.environ |= {
            "IMPRESS_HOME": str(home),
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self.server.server_port}",
        }
        try:
            model = fetch_production(Registry(Settings(_env_file=None), "laundry"))
            found = predictions(model.bundle, self.asked, self.spec)
        except ImpressError:
            return REFUSED
        finally:
            assert (self.victim / "precious").read_text(encoding="utf-8") == "data"
            assert set(os.listdir(self.home)) <= {"victim", "home"}
        assert model.version.isascii() and model.version.isdigit()
        return EQUAL if found.equals(self.expected) else OTHER

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and content for a request."""
        status = 200
        if self.random.random() < 0.1:
            status = int(self.random.choice([204, 301, 400, 404, 418, 500, 503]))
        if "/mlflow-artifacts/" in path:
            content = self.files.get(path.rpartition("/")[2], b"")
            if self.random.random() < 0.1:
                content = self._spoiled(content)
            return status, content
        if self.random.random() < 0.3:
            return status, BODIES[self.random.integers(len(BODIES))]
        return status, self._version()

    def _version(self) -> bytes:
        manifest = self.files[bundle_files.MANIFEST]
        version: dict[str, Any] = {
            "name": "laundry",
            "version": "1",
            "source": SOURCES[0],
            "run_id": "run",
            "creation_timestamp": 1,
            "tags": [{"key": "bundle_sha256", "value": sha256(manifest).hexdigest()}],
        }
        way = self.random.random()
        if way < 0.3:
            version["version"] = VERSIONS[self.random.integers(len(VERSIONS))]
        elif way < 0.6:
            version["source"] = SOURCES[self.random.integers(len(SOURCES))]
        elif way < 0.9:
            key = str(self.random.choice(list(version)))
            version[key] = HOSTILE[self.random.integers(len(HOSTILE))]
        return json.dumps({"model_version": version}).encode()

    def _spoiled(self, content: bytes) -> bytes:
        ways: list[Callable[[], bytes]] = [
            lambda: content[: len(content) // 2],
            lambda: content + b"x",
            lambda: b"",
            lambda: bytes(70_000_000),
            lambda: b"<html>",
        ]
        return ways[self.random.integers(len(ways))]()


def _handler(registry: HostileRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers by the registry."""

        def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name is the library's
            """One answer, sometimes with a wrong length."""
            status, content = registry.answer(self.path.partition("?")[0])
            length = len(content)
            if registry.random.random() < 0.03:
                length = int(registry.random.choice([0, length + 100, 10**12]))
            try:
                self.send_response(status)
                if status == 301:
                    self.send_header("Location", "http://127.0.0.1:9/login")
                if registry.random.random() < 0.03:
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                pass  # the run has heard enough
            self.close_connection = True

        def log_message(self, *arguments: Any) -> None:  # pylint: disable=arguments-differ
            """Be quiet."""

    return Handler
