"""Flows and tasks: Prefect's where a Prefect API is configured, plain Python calls otherwise.

Without an API Prefect would start a temporary server for each run, which takes longer than most of
our runs; so it is not even imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from src.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


def flow(function: Callable[P, R]) -> Callable[P, R]:
    """Make `function` a Prefect flow of its own name when Prefect is configured."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        settings = Settings()
        settings.export()
        if not settings.prefect_api_url:
            return function(*args, **kwargs)
        import prefect  # pylint: disable=import-outside-toplevel  # only where it is configured

        return prefect.flow(function, persist_result=False)(*args, **kwargs)

    return call


def task(retries: int = 0) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a Prefect task; `retries` is for network steps only."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if not Settings().prefect_api_url:
                return function(*args, **kwargs)
            # pylint: disable=import-outside-toplevel  # only where it is configured
            import prefect
            from prefect.cache_policies import NO_CACHE

            options: dict[str, Any] = {"retries": retries, "retry_delay_seconds": [2, 10]}
            wrapped = prefect.task(
                function, cache_policy=NO_CACHE, persist_result=False, **options
            )
            return wrapped(*args, **kwargs)

        return call

    return decorate
