"""Flows and tasks: Prefect's where a Prefect API is configured, plain Python calls otherwise.

Without an API Prefect would start a temporary server for each run, which takes longer than most of
our runs; so it is not even imported.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from src.safe_text import safe
from src.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

# Whether the present code runs inside a flow of Prefect, so that its tasks are Prefect's too.
_in_prefect: ContextVar[bool] = ContextVar("_in_prefect", default=False)


def flow(
    function: Callable[Concatenate[Settings, P], R],
) -> Callable[Concatenate[Settings, P], R]:
    """Make `function` a Prefect flow of its own name when Prefect is configured.

    Its first argument, the settings, stays unknown to Prefect; all others are shown in its UI, so
    no secret may be one of them.
    """

    @functools.wraps(function)
    def call(settings: Settings, *args: P.args, **kwargs: P.kwargs) -> R:
        settings.export()
        if not settings.prefect_api_url:
            return function(settings, *args, **kwargs)

        run = prefect_flow(function, lambda: nullcontext(settings))
        return _own_failure(lambda: run(*args, **kwargs))

    return cast(Callable[Concatenate[Settings, P], R], call)


def prefect_flow(
    function: Callable[Concatenate[Settings, P], R],
    configured: Callable[[], AbstractContextManager[Settings]],
) -> Callable[P, R]:
    """A flow of Prefect of the function's name, whose settings each run gets from `configured`."""

    @functools.wraps(function)
    def with_settings(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _in_prefect.set(True)
        try:
            with _safe_failure(), configured() as settings:
                return function(settings, *args, **kwargs)
        finally:
            _in_prefect.reset(token)

    # Prefect would look for the types in this module, where those of a pipeline are unknown.
    signature = inspect.signature(function, eval_str=True)
    shown = list(signature.parameters.values())[1:]
    vars(with_settings)["__signature__"] = signature.replace(parameters=shown)
    with_settings.__annotations__ = {each.name: each.annotation for each in shown}
    run: Callable[P, R] = _prefect().flow(with_settings, persist_result=False)
    return run


def task(retries: int = 0) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a Prefect task; `retries` is for network steps only."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            # Prefect inspects the arguments of a task. Tables, models and settings are not for its
            # eyes, so Prefect gets a function without arguments.
            def run() -> R:
                with _safe_failure():
                    return function(*args, **kwargs)

            if not _in_prefect.get():
                return function(*args, **kwargs)
            wrapped: Callable[[], R] = _prefect().task(
                run,
                name=function.__name__,
                retries=retries,
                retry_delay_seconds=[2, 10],
                persist_result=False,
            )
            return _own_failure(wrapped)

        return call

    return decorate


class Failure(Exception):
    """An error as Prefect gets to know it, which stores its text: without secrets."""


@contextmanager
def _safe_failure() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of any kind: Prefect stores the text of each
        raise Failure(safe(f"{type(error).__name__}: {error}")) from error


def _own_failure(run: Callable[[], R]) -> R:
    """Run what Prefect runs, and raise the errors of our code instead of a Failure."""
    try:
        return run()
    except Failure as failure:
        assert failure.__cause__
        own = failure.__cause__
    raise own


@functools.cache
def _prefect() -> Any:
    """Prefect, with the log lines of a run in its UI."""
    import prefect
    from prefect.logging.handlers import APILogHandler

    for ours in ("src", "__main__"):
        logging.getLogger(ours).addHandler(APILogHandler())
        logging.getLogger(ours).setLevel(logging.INFO)  # a worker's process has no `logger.job`
    return prefect
