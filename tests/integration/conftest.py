"""Servers of the tests' own on loopback: mail, guarded files, Prefect, MLflow.

As in production the environment names them; a test may change a variable before it reads Settings.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import boto3
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult, LoginPassword
from moto.server import ThreadedMotoServer
from sqlalchemy import Engine

from src.components.ingestion.load import load_sensor_rows
from src.components.registry.production import promote
from src.components.registry.versions import Registry
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.integration.workbench import Workbench
from tests.processes import DEADLINE, answers, free_port, running, wait_for

USER, PASSWORD = "impress@example.org", "s3cret-of-the-tests"


@pytest.fixture(name="closed_port")
def fixture_closed_port() -> int:
    """A port that nothing listens on."""
    return free_port()


@pytest.fixture(name="impress")
def fixture_impress() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `impress` as a user does: a process of its own, in the folder of the test."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


class _Delivery(Mailbox):  # type: ignore[misc]
    """Mail into a maildir, but none for nobody."""

    async def handle_RCPT(self, *arguments: Any) -> str:  # pylint: disable=invalid-name
        """The name and the arguments are aiosmtpd's."""
        _, _, envelope, address, _ = arguments
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def _check_login(*arguments: Any) -> AuthResult:
    known = LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=arguments[-1] == known, handled=False)


@pytest.fixture(name="certificate")
def fixture_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS of a server on 127.0.0.1, signed by an authority that only SSL_CERT_FILE makes known."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return context


@pytest.fixture(name="serve_mail")
def fixture_serve_mail(
    certificate: ssl.SSLContext, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Begin to serve mail where the environment says, to a handler of aiosmtpd.

    The server wants STARTTLS and a password, unless it gets other options.
    """
    for name, value in {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(closed_port),
        "EMAIL_SENDER": USER,
        "EMAIL_PASS": PASSWORD,
    }.items():
        monkeypatch.setenv(name, value)
    usual = {
        "tls_context": certificate,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": _check_login,
        "data_size_limit": 300_000,  # no mail of ours is larger
    }
    with ExitStack() as ends:

        def serve(handler: Any, **options: Any) -> None:
            place = {"hostname": "127.0.0.1", "port": closed_port, "ready_timeout": DEADLINE}
            controller = Controller(handler, **place, **{**usual, **options})
            controller.start()
            ends.callback(controller.stop)

        yield serve


@pytest.fixture(name="smtp")
def fixture_smtp(serve_mail: Callable[..., None], tmp_path: Path) -> Path:
    """A mail server, named by the environment; the folder of what has arrived."""
    serve_mail(_Delivery(str(tmp_path / "mailbox")))
    return tmp_path / "mailbox" / "new"


class _GuardedFiles(SimpleHTTPRequestHandler):
    """Files for who knows the password."""

    def send_head(self) -> Any:
        """Answer GET and HEAD, or refuse to."""
        login = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers["Authorization"] == f"Basic {login}":
            return super().send_head()
        return self.send_error(401)

    def log_message(self, *arguments: Any) -> None:  # pylint: disable=arguments-differ
        """Be quiet."""


@pytest.fixture(name="guarded")
def fixture_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the folder `store` over HTTP, and the login it wants in DVC's variables."""
    monkeypatch.setenv("DVC_USERNAME", USER)
    monkeypatch.setenv("DVC_TOKEN", PASSWORD)
    handler = partial(_GuardedFiles, directory=str(tmp_path / "store"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=[0.01]).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Echo(BaseHTTPRequestHandler):
    """Refuses every request with an answer that repeats it, the login included."""

    def refuse(self) -> None:
        """Answer any request."""
        fault = {"error_code": "INTERNAL_ERROR", "message": f"{self.path}\n{self.headers}"}
        answer = json.dumps(fault).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = refuse

    def log_message(self, *arguments: Any) -> None:  # pylint: disable=arguments-differ
        """Be quiet."""


@pytest.fixture(name="echo")
def fixture_echo() -> Iterator[str]:
    """Host and port of an HTTP server that repeats what it is sent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        Thread(target=server.serve_forever, args=[0.01]).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@dataclass(frozen=True)
class Server:
    """A Python module that runs as a server in a folder of its own."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path

    def wait(self, health: str) -> None:
        """Wait for the first healthy answer."""
        try:
            wait_for(
                lambda: answers(f"{self.url}/{health}"),
                f"an answer of {self.url}",
                alive=lambda: self.process.poll() is None,
            )
        except AssertionError as error:
            error.add_note((self.folder / "log").read_text("utf-8"))
            raise


@contextmanager
def _server(command: str, folder: Path, **environment: str) -> Iterator[Server]:
    """Run `python -m command`, with {port} and {folder} filled in, until the block ends."""
    port = free_port()
    arguments = command.format(port=port, folder=folder).split()
    with (
        (folder / "log").open("wb") as log,
        running(
            [sys.executable, "-m", *arguments],
            env={**_unconfigured(), **environment, "DO_NOT_TRACK": "1"},
            cwd=folder,
            stdout=log,
            stderr=log,
        ) as process,
    ):
        yield Server(process, f"http://127.0.0.1:{port}", folder)


def _unconfigured() -> dict[str, str]:
    return {n: v for n, v in os.environ.items() if n.lower() not in Settings.model_fields}


@pytest.fixture(name="servers", scope="session")
def fixture_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, Server]]:
    """A Prefect server and an MLflow server; they start side by side."""
    home = tmp_path_factory.mktemp("prefect")
    with (
        _server(
            "prefect server start --host 127.0.0.1 --port {port}",
            home,
            PREFECT_HOME=str(home),
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
        ) as prefect,
        _server(
            "mlflow server --host 127.0.0.1 --port {port} --workers 1 --backend-store-uri "
            "sqlite:///{folder}/mlflow.db --artifacts-destination {folder}/store",
            tmp_path_factory.mktemp("mlflow"),
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        ) as mlflow,
    ):
        prefect.wait("api/health")
        mlflow.wait("health")
        yield prefect, mlflow


@pytest.fixture(name="prefect")
def fixture_prefect(
    servers: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Use the Prefect server; the address of its API."""
    api = f"{servers[0].url}/api"
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_URL", api)
    return api


@pytest.fixture(name="secrets", scope="session")
def fixture_secrets() -> dict[str, str]:
    """Passwords that a run finds in its environment and does not tell."""
    names = ("DB_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "EMAIL_PASS")
    return {name: f"s3cret-{number}-of-the-tests" for number, name in enumerate(names)}


@pytest.fixture(name="trained", scope="session")
def fixture_trained(
    servers: tuple[Server, Server],
    secrets: dict[str, str],
    params: Path,
    small_dataset: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """`impress train`, a Prefect flow run, has made version 1 of laundry on the MLflow server.

    It is Production. Tests that register versions do so under other names.

    Returns:
        The folder of the MLflow server's artifacts.
    """
    prefect, mlflow = servers
    home = tmp_path_factory.mktemp("trained")
    configured = {
        **secrets,
        "IMPRESS_PARAMS": str(params),
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{prefect.url}/api",
        "MLFLOW_TRACKING_URI": mlflow.url,
        "MLFLOW_TRACKING_USERNAME": USER,
    }
    command = ["-m", "src.cli", "train", "--dataset", str(small_dataset), "--trials", "1"]
    subprocess.run(
        [sys.executable, *command],
        env={**_unconfigured(), **configured},
        cwd=home,
        check=True,
    )
    promote(Registry(Settings(mlflow_tracking_uri=mlflow.url), "laundry"), "1", "the first")
    return mlflow.folder / "store"


@pytest.fixture(name="mlflow")
def fixture_mlflow(
    servers: tuple[Server, Server], trained: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Use the MLflow server, which has version 1 of laundry; the folder of its artifacts."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", servers[1].url)
    return trained


@pytest.fixture(name="bench")
def fixture_bench(engine: Engine, spec: SoftSensor) -> Workbench:
    """An empty inbox."""
    return Workbench(engine, spec)


@pytest.fixture(name="inbox")
def fixture_inbox(engine: Engine, spec: SoftSensor, small_dataset: Path) -> Engine:
    """A database with sensor rows of 24 experiments to predict."""
    load_sensor_rows(engine, spec, small_dataset / "sensors.csv")
    return engine


@pytest.fixture(name="bucket")
def fixture_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address in an empty bucket of an S3 server; all servers of a process share their buckets."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    yield f"s3://{name}/laundry/online"
    server.stop()
