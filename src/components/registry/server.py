"""Plain requests to an MLflow server, bounded in time and size.

Most runs need one answer and a few files. Importing MLflow's client takes longer than that, and it
believes whatever length and listing a server sends.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests
from pydantic import JsonValue, TypeAdapter, ValidationError
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from src.errors import RegistryFault, RegistryUnavailable
from src.safe_text import redacted
from src.settings import Settings

PAUSE = 15.0  # s without a byte from the server
DEADLINE = 300.0  # s for one answer or file
LARGEST_ANSWER = 1_000_000  # bytes
CHUNK = 1 << 16
RETRIES = Retry(total=2, backoff_factor=1, respect_retry_after_header=False)

Answer = dict[str, JsonValue]
_ANSWER = TypeAdapter(Answer)


def is_server(uri: str) -> bool:
    """Whether a registry is reached by HTTP."""
    return uri.startswith(("http://", "https://"))


def ask(settings: Settings, endpoint: str, query: Mapping[str, str]) -> Answer:
    """The answer of MLflow's REST API, whatever its status below 500.

    Args:
        endpoint: behind /api/2.0/mlflow/.

    Raises:
        RegistryUnavailable: when the server does not answer, or answers that it cannot.
        RegistryFault: when it rejects the login, is not to be trusted, or is no MLflow server.
    """
    content = bytearray()
    with _get(settings, f"mlflow/{endpoint}", query) as answer:
        for chunk in _chunks(answer):
            content += chunk
            if len(content) > LARGEST_ANSWER:
                raise RegistryFault(f"{_name(settings)} answers without an end")
    try:
        return _ANSWER.validate_json(bytes(content))
    except ValidationError:
        raise no_mlflow(settings) from None


def download(settings: Settings, path: str, file: Path, largest: int) -> bool:
    """Fetch one file of a server that hands out artifacts itself.

    Args:
        path: of the artifact, without scheme.
        largest: bytes that it may have.

    Returns:
        Whether the server has it.

    Raises:
        RegistryFault: when it is larger. Otherwise as `ask`.
    """
    with file.open("wb") as stream, _get(
        settings, f"mlflow-artifacts/artifacts/{path}", {}
    ) as answer:
        if answer.status_code != 200:
            return False
        for chunk in _chunks(answer):
            stream.write(chunk)
            if stream.tell() > largest:
                raise too_large(path, largest)
    return True


def too_large(path: str, largest: int) -> RegistryFault:
    """What to say about a file that is larger than any bundle's."""
    return RegistryFault(
        f"{path} is larger than {largest // 1_000_000} MB, which is too large for a model"
    )


@contextmanager
def _get(
    settings: Settings, endpoint: str, query: Mapping[str, str]
) -> Iterator[requests.Response]:
    """An answer whose content has not been read yet."""
    name, password = settings.mlflow_tracking_username, settings.mlflow_tracking_password
    address = f"{settings.registry_uri.rstrip('/')}/api/2.0/{endpoint}"
    try:
        with requests.Session() as session:
            session.mount(address, HTTPAdapter(max_retries=RETRIES))
            answer = session.get(
                address,
                params=query,
                auth=(name, password.get_secret_value()) if name and password else None,
                timeout=PAUSE,
                stream=True,
                allow_redirects=False,
            )
            _check_status(answer, settings)
            yield answer
    except (requests.RequestException, HTTPError) as error:
        raise fault(error, settings) from None


def _chunks(answer: requests.Response) -> Iterator[bytes]:
    """The content of an answer, which must be complete after DEADLINE."""
    end = time.monotonic() + DEADLINE
    while chunk := answer.raw.read1(CHUNK, decode_content=True):
        yield chunk
        if time.monotonic() > end:
            raise requests.Timeout


def _check_status(answer: requests.Response, settings: Settings) -> None:
    if answer.status_code in (401, 403):
        raise login_refused(settings)
    if answer.status_code == 429 or answer.status_code >= 500:
        raise RegistryUnavailable(f"{_name(settings)} answers with status {answer.status_code}")
    if answer.is_redirect:
        raise RegistryFault(
            f"{_name(settings)} sends to another address (a login page?): check "
            "MLFLOW_TRACKING_URI"
        )


def login_refused(settings: Settings) -> RegistryFault:
    """What to say when the server rejects the login."""
    return RegistryFault(
        f"{_name(settings)} rejected the login: check MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD"
    )


def fault(error: Exception, settings: Settings) -> RegistryFault | RegistryUnavailable:
    """What to say about a request that got no answer. The error's own text may hold a password."""
    name = _name(settings)
    if isinstance(error, requests.exceptions.SSLError):
        return RegistryFault(
            f"the certificate of {name} is not trusted: if it is of an authority of your own, name "
            "the file of its certificate in REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return RegistryUnavailable(
            f"the proxy on the way to {name} does not answer: check HTTP_PROXY, HTTPS_PROXY and "
            "NO_PROXY, or try again later"
        )
    if isinstance(error, ValueError):  # the base of what requests says of addresses
        return RegistryFault(f"{name} is not an address: check MLFLOW_TRACKING_URI")
    return unavailable(settings)


def no_mlflow(settings: Settings) -> RegistryFault:
    """What to say when something other than MLflow answers."""
    return RegistryFault(
        f"{_name(settings)} answers, but not as MLflow does (a login page?): check "
        "MLFLOW_TRACKING_URI"
    )


def unavailable(settings: Settings) -> RegistryUnavailable:
    """What to say when there is no answer."""
    return RegistryUnavailable(f"{_name(settings)} does not answer")


def _name(settings: Settings) -> str:
    return f"MLflow at {redacted(settings.registry_uri)}"
