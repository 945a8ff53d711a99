"""Registries that answer wrongly, by mistake or on purpose; each gets a sentence of its own."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme

from src.components.registry import bundle_files
from src.components.registry.cache import fetch_production
from src.components.registry.versions import Registry
from src.components.trainer import fitting
from src.errors import BundleRefused, ImpressError, NoModel, RegistryFault
from src.settings import Settings
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, phase_table

Answer = Callable[[str], tuple[int, bytes]]
Serve = Callable[..., None]


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a genuine bundle."""
    folder = tmp_path_factory.mktemp("genuine") / "bundle"
    bundle_files.save(fitting.assemble(phase_table(40, spec), FOREST, spec), folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(name="serve")
def fixture_serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Answer requests on loopback where MLFLOW_TRACKING_URI says."""
    with ExitStack() as ends:

        def serve(answer: Answer, tls: ssl.SSLContext | None = None, **headers: str) -> None:
            handler = _handler(answer, headers)
            server = ends.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            if tls:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            Thread(target=server.serve_forever, args=[0.01]).start()
            ends.callback(server.shutdown)
            scheme = "https" if tls else "http"
            address = f"{scheme}://127.0.0.1:{server.server_port}"
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

        yield serve


def _handler(answer: Answer, headers: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Answers as it is told."""

        def do_GET(self) -> None:  # pylint: disable=invalid-name  # the name is the library's
            """One answer."""
            status, content = answer(self.path.partition("?")[0])
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:  # pylint: disable=arguments-differ
            """Be quiet."""

    return Handler


def version_of(bundle: dict[str, bytes], **facts: Any) -> Answer:
    """A server that hands out a bundle as Production, with some facts of its own about it."""
    version = {
        "name": "laundry",
        "version": "1",
        "source": "mlflow-artifacts:/0/run/artifacts/bundle",
        "tags": [{"key": "bundle_sha256", "value": sha256(bundle["manifest.json"]).hexdigest()}],
    }

    def answer(path: str) -> tuple[int, bytes]:
        if "/mlflow-artifacts/" in path:
            content = bundle.get(path.rpartition("/")[2])
            return (200, content) if content is not None else (404, b"{}")
        return 200, json.dumps({"model_version": {**version, **facts}}).encode()

    return answer


def outcome(error: type[ImpressError] = RegistryFault) -> str:
    """The one line that fetching the model ends with."""
    with pytest.raises(error) as refused:
        fetch_production(Registry(Settings(), "laundry"))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_genuine_bundle_of_such_a_server_serves(serve: Serve, bundle: dict[str, bytes]) -> None:
    serve(version_of(bundle))
    model = fetch_production(Registry(Settings(), "laundry"))
    assert model.version == "1" and not model.cached


@pytest.mark.parametrize(
    "number", ["x/../../../victim", "../victim", "1/../../victim", "", "-1", "1\n", "１"]
)
def test_a_version_that_is_a_path_is_refused_and_nothing_is_replaced(
    number: str, serve: Serve, bundle: dict[str, bytes]
) -> None:
    victim = Settings().impress_home.resolve() / "victim"
    victim.mkdir()
    (victim / "precious").write_text("data", encoding="utf-8")
    serve(version_of(bundle, version=number))
    assert "which is not a number" in outcome()
    assert [file.name for file in victim.iterdir()] == ["precious"]
    assert not Settings().ml_downloads.exists()


def test_a_version_of_no_calendar_is_refused(serve: Serve, bundle: dict[str, bytes]) -> None:
    serve(version_of(bundle, creation_timestamp=10**18))
    assert "registered at 1000000000000000000 ms, which no calendar has" in outcome()


@pytest.mark.parametrize(
    "source",
    [
        "http://127.0.0.1:9/bundle",
        "mlflow-artifacts://169.254.169.254/latest",
        "ftp://127.0.0.1/bundle",
        "dbfs:/bundle",
        "file://host/bundle",
    ],
)
def test_a_bundle_somewhere_else_is_not_asked_for(
    source: str, serve: Serve, bundle: dict[str, bytes]
) -> None:
    serve(version_of(bundle, source=source))
    assert "neither on that server nor in an object store" in outcome()


def test_a_folder_of_this_machine_that_is_no_bundle_is_left_alone(
    serve: Serve, bundle: dict[str, bytes]
) -> None:
    serve(version_of(bundle, source="/etc"))
    assert "has lost its file manifest.json at /etc" in outcome(NoModel)


def test_only_the_files_of_a_bundle_are_fetched(serve: Serve, bundle: dict[str, bytes]) -> None:
    hashes = json.loads(bundle["manifest.json"]) | {"../run.py": "0" * 64}
    serve(version_of({**bundle, "manifest.json": json.dumps(hashes).encode()}))
    assert "which no bundle has" in outcome(BundleRefused)
    assert not [name for name in Settings().ml_downloads.iterdir() if name.suffix != ".json"]


def test_a_file_without_an_end_is_not_kept(
    serve: Serve, bundle: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_files, "LARGEST_FILE", 20_000)
    serve(version_of({**bundle, "reference.csv": bytes(1_000_000)}))
    assert "reference.csv is larger than" in outcome()
    assert not list(Settings().ml_downloads.iterdir())


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><html>Sign in</html>", b"[]", b"null", b"{", b"[" * 100_000, b"\xff"],
    ids=["page", "list", "null", "half", "nested", "bytes"],
)
def test_an_answer_that_is_not_mlflows_is_named(content: bytes, serve: Serve) -> None:
    serve(lambda _: (200, content))
    assert "not as MLflow does (a login page?): check MLFLOW_TRACKING_URI" in outcome()


def test_an_answer_without_an_end_is_cut(serve: Serve) -> None:
    serve(lambda _: (200, b" " * 2_000_000))
    assert "answers without an end" in outcome()


def test_a_login_page_elsewhere_is_named(serve: Serve) -> None:
    serve(lambda _: (302, b""), Location="https://login.example.org/")
    assert "sends to another address" in outcome()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_is_named(status: int, serve: Serve) -> None:
    serve(lambda _: (status, b"{}"))
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in outcome()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_may_work_later(status: int, serve: Serve) -> None:
    serve(lambda _: (status, b""))
    line = outcome(NoModel)
    assert f"status {status}" in line and "try again later" in line


def test_a_certificate_of_an_own_authority_is_named_with_the_way_to_trust_it(
    serve: Serve, bundle: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    serve(version_of(bundle), tls)
    line = outcome()
    assert "REQUESTS_CA_BUNDLE" in line and "later" not in line
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    assert fetch_production(Registry(Settings(), "laundry")).version == "1"


def test_a_dead_proxy_is_named(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry.example.org")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("NO_PROXY", "")
    line = outcome(NoModel)
    assert "the proxy on the way to" in line and "HTTP_PROXY" in line


@pytest.mark.parametrize(
    "address, fault",
    [
        ("http://", "is not an address"),
        ("http://user:s3cret@host:port", "is not an address"),
    ],
)
def test_an_address_that_is_none_is_named(
    address: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    line = outcome()
    assert fault in line and "MLFLOW_TRACKING_URI" in line and "s3cret" not in line


def test_a_server_that_stops_being_mlflow_in_the_middle_is_named(serve: Serve) -> None:
    """Its first two answers are MLflow's, so that MLflow's client gets the third."""
    known = iter([b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "?"}', b"{}"])
    serve(lambda _: (200, next(known, b"<html>Sign in</html>")))
    assert "not as MLflow does" in outcome()


def test_an_error_that_is_not_mlflows_is_named(serve: Serve) -> None:
    serve(lambda _: (404, b'{"detail": "not found"}'))
    assert "not as MLflow does" in outcome()
