"""Messages as files in a folder, where there is no mail server."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

from src.components.emailer.letter import POLICY
from src.components.emailer.transport import Receipt
from src.files import write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """A folder of messages, named by time and Message-ID; one file per message, mode 0600."""

    path: Path
    delivers = False

    @property
    def name(self) -> str:
        """What to call it in messages to people."""
        return f"folder {self.path}"

    def hand_over(self, message: EmailMessage) -> Receipt:
        """Write a message."""
        return Receipt(f"file {self.write(message)}")

    def check(self) -> None:
        """Write a file and remove it."""
        file = self.path / "check"
        write_whole(file, b"", private=True)
        file.unlink()

    def is_temporary(self, _: Exception) -> bool:
        """Whether the same message may be written a little later."""
        return False

    def suspects(self, _: Exception) -> str:
        """What to check after an error."""
        return f"IMPRESS_HOME, and the space and permissions of {self.path}"

    def write(self, message: EmailMessage) -> Path:
        """Write a message as a whole or not at all, over an earlier copy if there is one."""
        new = self.path / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{_mark(message)}.eml"
        file = next(iter(self._copies(message)), new)
        write_whole(file, message.as_bytes(), private=True)
        logger.info("message written to %s", file)
        return file

    def messages(self) -> list[EmailMessage]:
        """All messages, oldest first."""
        files = sorted(self.path.glob("*.eml"))
        return [message_from_bytes(file.read_bytes(), policy=POLICY) for file in files]

    def remove(self, message: EmailMessage) -> None:
        """Remove the copies of a message."""
        for file in self._copies(message):
            file.unlink(missing_ok=True)

    def _copies(self, message: EmailMessage) -> list[Path]:
        return list(self.path.glob(f"*-{_mark(message)}.eml"))


def _mark(message: EmailMessage) -> str:
    return str(message["Message-ID"]).strip("<>").split("@", maxsplit=1)[0]
