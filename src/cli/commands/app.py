"""What the commands have in common: the application, its options, and how a command runs."""

from __future__ import annotations

import atexit
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from src.logger import job
from src.progress import watched
from src.safe_text import safe
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor


class _Commands(TyperGroup):
    """The commands. A message about wrong use, which repeats what a user typed, is safe."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse what precedes the command."""
        with _safe_message():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parse the rest and run the command."""
        with _safe_message():
            return super().invoke(ctx)


@contextmanager
def _safe_message() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as error:
        error.message = safe(error.message)
        raise


main = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PARTIAL = 3
ACCEPT_OUTLIERS = "take laboratory values outside the range of their target; WHY is kept"
Json = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would happen; change nothing")]


@contextmanager
def command(name: str) -> Iterator[Settings]:
    """Run a job, see `logger.job`; on a terminal its long steps have a bar."""
    with job(name) as settings, ExitStack() as watching:
        if sys.stderr.isatty():
            from src.cli.console import progress_bar

            watching.enter_context(watched(progress_bar))
        yield settings


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from src.cli.console import show_line
        from src.components.lineage import code_version

        show_line(f"impress {version('impress')}, code {code_version(Settings())}")
        raise typer.Exit


def contract(settings: Settings) -> SoftSensor:
    """The soft sensor that the settings name."""
    return load_soft_sensor(settings.impress_params)


def seconds(moment: datetime | None, default: float) -> float:
    """Unix seconds of a moment, which is in UTC unless it names a time zone."""
    if moment is None:
        return default
    in_utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return in_utc.timestamp()


def duration(text: str) -> timedelta:
    """A duration such as 8d, 36h or 90m."""
    units = {"d": "days", "h": "hours", "m": "minutes"}
    match = re.fullmatch(r"(?P<count>\d+)(?P<unit>[dhm])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 8d, 36h or 90m")
    return timedelta(**{units[match["unit"]]: int(match["count"])})


def signed(reason: str | None) -> str | None:
    """A reason with the name of who gave it."""
    from src.components.lineage import user

    return None if reason is None else f"{user()}: {reason}"


@main.callback()
def about(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="show the version"),
    ] = False,
) -> None:
    """IMPRESS: a soft sensor for wash and rinse water, with jobs that train, run and monitor it.

    Exit codes: 0 done or nothing to do, 1 failed, 2 wrong use, 3 partly done (rows were rejected).
    """


def process() -> None:
    """Entry point of the console script `impress`."""
    if sys.argv[1:2] == ["predict"]:
        # Most of what it allocates are imported modules, which stay: collecting garbage less often,
        # and not once more at exit, saves time. (Not for all commands: DuckDB warns about objects
        # that were not collected.)
        gc.set_threshold(100_000)
        atexit.register(gc.freeze)
    main()
