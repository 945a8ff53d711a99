"""One message, really sent; what the mail server does not take is kept for the next run.

When an answer of the server or the note of a run is lost, a message may come twice. It then has the
same Message-ID.
"""

from __future__ import annotations

import fcntl
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

from src.components.emailer.letter import POLICY, Letter, address, compose, message_id
from src.components.emailer.smtp import hand_over, may_pass, suspects
from src.errors import DeliveryError
from src.settings import Settings

__all__ = ["Letter", "compose", "message_id", "send", "send_kept"]

logger = logging.getLogger(__name__)

WAITS = (1.0, 4.0)  # s before the second try and the third


def send(message: EmailMessage, settings: Settings) -> str:
    """Hand a message to SMTP_HOST; without one, write it to artifacts/outbox/.

    What may pass is tried again: no connection, a connection lost, a refusal for now (4xx). How
    long a try may take says `smtp.hand_over`.

    Returns:
        Where the message went, and which recipients the server refused while it took others.

    Raises:
        DeliveryError: when the server cannot be reached or trusted, or takes it for nobody. The
            message is then kept in artifacts/outbox/unsent/.
    """
    if not settings.smtp_host:
        return f"file {_write(message, settings.artifacts / 'outbox')}"
    server = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        refused = _hand_over(message, settings)
    except (OSError, ValueError) as error:
        kept = _write(message, _unsent(settings))
        raise DeliveryError(
            f"mail server {server} did not take the message ({type(error).__name__}: {error}); "
            f"it is kept for the next run in {kept}: check {suspects(error)}"
        ) from error
    for kept in _copies(message, _unsent(settings)):
        kept.unlink(missing_ok=True)
    went = f"{message['To']} over {server}"
    if refused:
        went += f", but {', '.join(refused)} not"
        logger.warning("%s refused %s", server, refused)
    logger.info("mail handed to %s", server)
    return went


def send_kept(settings: Settings) -> list[str]:
    """Send what earlier runs kept, oldest first, to the EMAIL_RECIPIENT of today.

    Does nothing without SMTP_HOST, or while another run is at it.

    Returns:
        Message-IDs of what the server took. What it did not take is logged and stays.

    Raises:
        DeliveryError: when something is kept and the server took none of it.
    """
    if not settings.smtp_host or not _unsent(settings).exists():
        return []
    taken, errors = [], []
    with _alone(_unsent(settings)) as alone:
        for file in sorted(_unsent(settings).glob("*.eml")) if alone else []:
            message = message_from_bytes(file.read_bytes(), policy=POLICY)
            # Wrong addresses may be why it was kept.
            address(message, settings)
            try:
                send(message, settings)
                taken.append(str(message["Message-ID"]))
            except DeliveryError as error:
                logger.error("%s", error)
                errors.append(error)
    if errors and not taken:
        raise errors[0]
    return taken


def _hand_over(message: EmailMessage, settings: Settings) -> dict[str, tuple[int, bytes]]:
    for wait in WAITS:
        try:
            return hand_over(message, settings)
        except OSError as error:
            # A connection that was lost after the data may have lost the answer only; then people
            # get the message twice, with one Message-ID. Better than never.
            if not may_pass(error):
                raise
            logger.warning("%s: %s; next try in %g s", type(error).__name__, error, wait)
        time.sleep(wait)
    return hand_over(message, settings)


def _unsent(settings: Settings) -> Path:
    return settings.artifacts / "outbox" / "unsent"


def _write(message: EmailMessage, folder: Path) -> Path:
    """Write a file as a whole or not at all; in the place of a copy, where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{_mark(message)}.eml"
    file = next(iter(_copies(message, folder)), new)
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
        part.write(message.as_bytes())
    Path(part.name).replace(file)
    logger.info("mail kept in %s", file)
    return file


def _copies(message: EmailMessage, folder: Path) -> list[Path]:
    return list(folder.glob(f"*-{_mark(message)}.eml"))


def _mark(message: EmailMessage) -> str:
    return str(message["Message-ID"]).strip("<>").split("@", maxsplit=1)[0]


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other run is at work there. The lock goes with its process, even a killed one."""
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        yield alone
