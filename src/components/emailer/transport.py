"""The seam between the outbox and the ways of delivering a message.

A transport is one module with one class; `outbox.choose` names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Protocol


@dataclass(frozen=True)
class Receipt:
    """A message has been handed over.

    Attributes:
        destination: where it went.
        refused: recipients that were refused while others were accepted, and why.
    """

    destination: str
    refused: Mapping[str, str] = field(default_factory=dict)


class Transport(Protocol):
    """One way of delivering a message."""

    @property
    def name(self) -> str:
        """What to call it in messages to people."""

    @property
    def delivers(self) -> bool:
        """Whether it reaches people; only then does it get what was kept."""

    def hand_over(self, message: EmailMessage) -> Receipt:
        """Try once, in bounded time, to reach `letter.recipients(message)`.

        Raises:
            OSError, ValueError: when nobody will get the message.
        """

    def check(self) -> None:
        """Go as far as a delivery goes before there is a message.

        Raises:
            OSError, ValueError: when a message would not be accepted.
        """

    def is_temporary(self, error: Exception) -> bool:
        """Whether the same message may be accepted a little later."""

    def suspects(self, error: Exception) -> str:
        """What to check after an error: the settings that are likely to be wrong."""
