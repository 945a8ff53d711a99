"""Mail servers that answer as a test wants: one that is polite, and one that is not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event
from typing import Any

from aiosmtpd.smtp import AuthResult

from tests.processes import DEADLINE

TAKEN, GREY = "250 OK", "450 greylisted"
LOST, HELD = "the answer gets lost", "no answer for long"
PAUSE, MANY = 0.05, 400  # s between two bytes of a slow server, and how many: 20 s in all


class Clerk:
    """Handler of aiosmtpd: takes mail, after the answers that it was told to give first.

    Attributes:
        answers: those, each to one try; a recipient is asked for before the message.
        tries: the Message-ID of every try.
        taken: messages that were taken.
        logins: what came as user and password.
        refusal: of a wrong login.
        farewell: the answer to QUIT.
    """

    def __init__(self, user: str, password: str) -> None:
        self.known = (user, password)
        self.answers: list[str] = []
        self.tries: list[str] = []
        self.taken: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []
        self.refusal = "535 no"
        self.farewell = "221 bye"

    def check(self, *arguments: Any) -> AuthResult:
        """Check a login; the arguments are aiosmtpd's."""
        sent = arguments[-1]
        self.logins.append((sent.login.decode(), sent.password.decode()))
        right = self.logins[-1] == self.known
        return AuthResult(success=right, handled=False, message=None if right else self.refusal)

    # The names are aiosmtpd's.
    async def handle_RCPT(self, *arguments: Any) -> str:  # pylint: disable=C0103
        """Answer to a recipient."""
        if self.answers and self.answers[0] == GREY:
            return self.answers.pop(0)
        arguments[2].rcpt_tos.append(arguments[3])
        return TAKEN

    async def handle_DATA(self, server: Any, _: Any, envelope: Any) -> str:  # pylint: disable=C0103
        """Answer to a message."""
        content = envelope.content.replace(b"\r\n", b"\n")  # as a mailbox has it
        message = message_from_bytes(content, policy=policy.default)
        self.tries.append(str(message["Message-ID"]))
        answer = self.answers.pop(0) if self.answers else TAKEN
        if answer == HELD:
            await asyncio.sleep(DEADLINE)
        if answer in (TAKEN, LOST):
            self.taken.append(message)
        if answer == LOST:
            server.transport.abort()
        return answer

    async def handle_QUIT(self, server: Any, *_: Any) -> str:  # pylint: disable=C0103
        """Answer to the end."""
        if self.farewell == LOST:
            server.transport.abort()
        return self.farewell


class Unreliable(StreamRequestHandler):
    """Serves STARTTLS, but becomes slow at one step, and goes in the midst of the data."""

    server: SmallServer
    timeout = 60.0  # s for a read, so that no thread of a server stays

    def __init__(self, *arguments: Any, step: str, certificate: ssl.SSLContext) -> None:
        self.step, self.certificate = step, certificate
        super().__init__(*arguments)

    def handle(self) -> None:
        """Serve until the client has enough of it."""
        with suppress(OSError):
            self.drip("greeting", b"220 " + b"x" * MANY)
            self.say(b"220 here")
            self.answer(b"250-here\r\n250 STARTTLS")
            self.answer(b"220 go on")
            self.drip("handshake", b"\x16\x03\x03\x40\x00" + bytes(MANY))
            self.request = self.certificate.wrap_socket(self.request, server_side=True)
            self.rfile = self.request.makefile("rb")
            self.drip("answer", b"250 " + b"x" * MANY)
            for answer in (b"250 here", b"250 sender", b"250 recipient", b"354 go on"):
                self.answer(answer)
            if self.step == "reading":
                self.read_slowly()
            self.request.recv(1000)
        self.request.close()

    def drip(self, step: str, answer: bytes) -> None:
        """If this is the step, send a byte now and then, for longer than the test's limits."""
        if self.step != step:
            return
        for byte in answer:
            self.say(bytes([byte]), end=b"")
            self.server.over.wait(PAUSE)
        self.server.outlasted = not self.server.over.is_set()

    def read_slowly(self) -> None:
        """Read a little now and then, for longer than the test's limits."""
        for _ in range(MANY):
            if not self.server.over.wait(PAUSE):
                self.request.recv(1000)
        self.server.outlasted = not self.server.over.is_set()

    def answer(self, answer: bytes) -> None:
        """Answer a line."""
        self.rfile.readline()
        self.say(answer)

    def say(self, answer: bytes, end: bytes = b"\r\n") -> None:
        """Send an answer."""
        self.request.sendall(answer + end)


class SmallServer(ThreadingTCPServer):
    """Takes in little that its handler has not read.

    Attributes:
        tries: connections so far.
        over: whether its handlers should come to an end.
        outlasted: whether a slow handler came to its end before its client went away.
    """

    def __init__(self, *arguments: Any) -> None:
        self.tries = 0
        self.over = Event()
        self.outlasted = False
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Limit what connections take in."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        super().server_bind()

    def process_request(self, *arguments: Any) -> None:
        """Count and serve a connection."""
        self.tries += 1
        super().process_request(*arguments)
