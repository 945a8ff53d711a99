"""The pages live from the database, for this machine's browser: read only, loopback, no login."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from urllib.parse import quote

import uvicorn
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from src.components.page.phase import Reader, keys_of
from src.components.page.site import INDEX, MENU, render, render_phase
from src.components.page.source import Source
from src.errors import ImpressError, advice
from src.settings import Settings
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)

HOSTS = ["127.0.0.1", "localhost", "[::1]"]
# A page holds all that it shows; whatever a name could smuggle in must not run or be fetched.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(engine: Engine, settings: Settings, spec: SoftSensor) -> Starlette:
    """An ASGI application that answers with the pages.

    Args:
        engine: as `connection.connect` gives it with `read_only`.
    """

    def answer(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            return _answer(name, Source(engine, settings, spec))
        except (ImpressError, SQLAlchemyError) as error:
            words = advice(error) or "the database refused the query: see the log"
            logger.warning("%s: %s", name, words, exc_info=True)
            return PlainTextResponse(words, 503, HEADERS)

    return Starlette(
        routes=[Route("/", _to_index), Route("/{name}", answer)],
        # Another site's page must not read this one by a name that leads to loopback.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
    )


def _to_index(_: Request) -> Response:
    return RedirectResponse(INDEX)


def _answer(name: str, source: Source) -> Response:
    if name in MENU:
        return HTMLResponse(render(name, source), headers=HEADERS)
    keys = keys_of(name, source) if name.startswith("phase-") else None
    for detail in Reader(source, explain=True).read([keys] if keys else []):
        return HTMLResponse(render_phase(detail, source), headers=HEADERS)
    return PlainTextResponse(f"there is no page {quote(name)}", 404, HEADERS)


def serve(app: Starlette, port: int, ready: Callable[[str], None]) -> None:
    """Answer on loopback until the process is told to stop.

    Args:
        port: 0 for any that is free.
        ready: called with the address once there is one.

    Raises:
        OSError: when the port is in use.
    """
    with socket.create_server(("127.0.0.1", port)) as listener:
        ready(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="warning")).run([listener])
