"""Messages are sent, and what could not be sent is kept for the next run.

If the answer of a server or the record of a run is lost, a message may arrive twice, with the same
Message-ID.
"""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from src.components.emailer.folder import Folder
from src.components.emailer.letter import SERVED, address, note_served, recipients
from src.components.emailer.smtp import Smtp
from src.components.emailer.transport import Receipt, Transport
from src.errors import DeliveryError
from src.settings import Settings

logger = logging.getLogger(__name__)

WAITS = (1.0, 4.0)  # s before the second try and the third


def choose(settings: Settings) -> Transport:
    """The transport that the settings name: the mail server, without one artifacts/outbox/."""
    if settings.smtp_host:
        return Smtp(settings)
    return Folder(settings.artifacts / "outbox")


def send(message: EmailMessage, settings: Settings) -> str:
    """Send a message, and try again after a temporary error.

    If some recipients are refused while others are accepted, the message is kept for them.

    Returns:
        Where the message went, and which recipients were refused.

    Raises:
        DeliveryError: when nobody will get it. The message is then kept in
            artifacts/outbox/unsent/.
    """
    transport, unsent = choose(settings), _unsent(settings)
    try:
        receipt = _hand_over(message, transport)
    except (OSError, ValueError) as error:
        kept = unsent.write(message)
        raise DeliveryError(
            f"{transport.name} did not accept the message ({type(error).__name__}: {error}); "
            f"it is kept for the next run in {kept}: check {transport.suspects(error)}"
        ) from error
    if transport.delivers:
        logger.info("message handed to %s", transport.name)
    if not receipt.refused:
        if transport.delivers:
            unsent.remove(message)
        return receipt.destination
    note_served(message, [each for each in recipients(message) if each not in receipt.refused])
    kept = unsent.write(message)
    refused = "; ".join(f"{each} ({answer})" for each, answer in receipt.refused.items())
    logger.warning("%s refused %s: kept for them in %s", transport.name, refused, kept)
    return f"{receipt.destination}, but not to {refused}: kept for them in {kept}"


def deliver_kept(settings: Settings) -> list[str]:
    """Send what earlier runs kept, oldest first, to those in today's EMAIL_RECIPIENT who lack it.

    Does nothing without a transport that reaches people, or while another run is doing it.

    Returns:
        Message-IDs of what was sent. What was not is logged and stays.

    Raises:
        DeliveryError: when nobody has got any of the messages that are kept.
    """
    unsent = _unsent(settings)
    if not choose(settings).delivers or not unsent.path.exists():
        return []
    sent: list[str] = []
    errors: list[DeliveryError] = []
    with _alone(unsent.path) as alone:
        for message in unsent.messages() if alone else []:
            # Wrong addresses may be why it was kept.
            address(message, settings)
            if not recipients(message):
                unsent.remove(message)
                continue
            try:
                send(message, settings)
                sent.append(str(message["Message-ID"]))
            except DeliveryError as error:
                logger.error("%s", error)
                if not message[SERVED]:
                    errors.append(error)
    if errors and not sent:
        raise errors[0]
    return sent


def _hand_over(message: EmailMessage, transport: Transport) -> Receipt:
    for wait in WAITS:
        try:
            return transport.hand_over(message)
        except OSError as error:
            # A connection that was lost after the data may have lost only the answer; then people
            # get the message twice, with one Message-ID. Better than never.
            if not transport.is_temporary(error):
                raise
            logger.warning("%s: %s; next try in %g s", type(error).__name__, error, wait)
        time.sleep(wait)
    return transport.hand_over(message)


def _unsent(settings: Settings) -> Folder:
    return Folder(settings.artifacts / "outbox" / "unsent")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no other run is at work there. A killed process releases the lock, too."""
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        yield alone
