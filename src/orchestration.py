"""Flows and tasks: Prefect's where a Prefect API is configured, plain Python calls otherwise.

Without an API Prefect would start a temporary server for each run, which takes longer than most of
our runs; so it is not even imported.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from src.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


def flow(function: Callable[P, R]) -> Callable[P, R]:
    """Make `function` a Prefect flow of its own name when Prefect is configured.

    Its arguments are shown in Prefect's UI: no secret may be one of them.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        settings = Settings()
        settings.export()
        if not settings.prefect_api_url:
            return function(*args, **kwargs)
        run: Callable[P, R] = _prefect().flow(function, persist_result=False)
        return run(*args, **kwargs)

    return call


def task(retries: int = 0) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a Prefect task; `retries` is for network steps only."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            # Prefect walks through the arguments of a task; tables, models and settings are none
            # of its business, so to Prefect it has none.
            def run() -> R:
                return function(*args, **kwargs)

            if not Settings().prefect_api_url:
                return run()
            wrapped: Callable[[], R] = _prefect().task(
                run,
                name=function.__name__,
                retries=retries,
                retry_delay_seconds=[2, 10],
                persist_result=False,
            )
            return wrapped()

        return call

    return decorate


@functools.cache
def _prefect() -> Any:
    """Prefect, with the log lines of a run in its UI."""
    import prefect
    from prefect.logging.handlers import APILogHandler

    for ours in ("src", "__main__"):
        logging.getLogger(ours).addHandler(APILogHandler())
    return prefect
