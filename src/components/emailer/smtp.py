"""Delivery to a mail server: over TLS, after a login, in bounded time."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr
from threading import Timer
from typing import Any

from pydantic import SecretStr

from src.components.emailer.letter import recipients
from src.components.emailer.transport import Receipt
from src.settings import Settings

STEP = 60.0  # s for connecting, for the TLS handshake, for sending a block of data
ANSWERS = 120.0  # s from the start until the last answer


@dataclass(frozen=True)
class Smtp:
    """The mail server SMTP_HOST."""

    settings: Settings
    delivers = True

    @property
    def name(self) -> str:
        """What to call it in messages to people."""
        return f"mail server {self._server}"

    @property
    def _server(self) -> str:
        return f"{self.settings.smtp_host}:{self.settings.smtp_port}"

    def hand_over(self, message: EmailMessage) -> Receipt:
        """Hand a message over, to a server with a valid certificate and TLS 1.2 or newer.

        Takes at most ANSWERS + STEP, however slow the server is, not counting the look-up of its
        name.

        Raises:
            OSError: when the server does not answer, is not trusted or does not accept the message.
            ValueError: when the login is not ASCII, or the server breaks the rules of a login.
        """
        with self._session() as smtp:
            to = recipients(message)
            refused = smtp.send_message(message, to_addrs=to)
            # The server has the message: whatever it answers to QUIT changes nothing.
            with suppress(OSError):
                smtp.quit()
        answers = {}
        for address, (code, answer) in refused.items():
            answers[address] = f"{code} {answer.decode(errors='replace')}"
        accepted = ", ".join(address for address in to if address not in refused)
        return Receipt(f"{accepted} over {self._server}", answers)

    def check(self) -> None:
        """Connect and log in, as for a message, and send none."""
        with self._session() as smtp:
            smtp.noop()

    @contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """A connection over TLS, after the login."""
        settings = self.settings
        tls = ssl.create_default_context()
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        with closing(self._connect(tls)) as smtp:
            if settings.smtp_security == "starttls":
                smtp.starttls(context=tls)
            if settings.email_pass:
                user = settings.email_username or parseaddr(settings.email_sender)[1]
                _log_in(smtp, user, settings.email_pass)
            yield smtp

    def _connect(self, tls: ssl.SSLContext) -> smtplib.SMTP:
        host, port = self.settings.smtp_host, self.settings.smtp_port
        assert host
        if self.settings.smtp_security == "tls":
            return _TlsConnection(host, port, timeout=STEP, context=tls)
        return _Connection(host, port, timeout=STEP)

    def is_temporary(self, error: Exception) -> bool:
        """Whether the server may accept the same message a little later."""
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            return any(400 <= code < 500 for code, _ in error.recipients.values())
        if isinstance(error, smtplib.SMTPResponseException):
            return 400 <= error.smtp_code < 500
        if isinstance(error, smtplib.SMTPException):
            return isinstance(error, smtplib.SMTPServerDisconnected)
        return isinstance(error, OSError) and not isinstance(error, ssl.SSLCertVerificationError)

    def suspects(self, error: Exception) -> str:
        """The variables that are likely to be wrong."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return "SMTP_HOST, and name the authority of its certificate with SSL_CERT_FILE"
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            return "EMAIL_RECIPIENT"
        if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code == 552:
            return "EMAIL_MAX_MB, and delete that file"
        return "SMTP_HOST, SMTP_PORT, SMTP_SECURITY, EMAIL_SENDER, EMAIL_USERNAME and EMAIL_PASS"


class _Connection(smtplib.SMTP):
    """A connection that is cut unless its last answer has arrived ANSWERS seconds after its start.

    The timeout of smtplib is for each read: a server that sends a byte a second never exceeds it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._end = time.monotonic() + ANSWERS
        super().__init__(*arguments, **options)

    def getreply(self) -> tuple[int, bytes]:
        """The next answer."""
        watch = Timer(self._end - time.monotonic(), _cut, [self.sock])
        watch.start()
        try:
            return super().getreply()
        finally:
            watch.cancel()
            # smtplib would take the first half of an answer that was cut off for the whole.
            if time.monotonic() > self._end:
                self.close()
                raise TimeoutError(f"the server has not answered within {ANSWERS:g} s")


class _TlsConnection(_Connection, smtplib.SMTP_SSL):
    """The same with TLS from the first byte."""


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be gone already
        # The shutdown of a TLS socket would end TLS, not the connection.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _log_in(smtp: smtplib.SMTP, user: str, password: SecretStr) -> None:
    try:
        smtp.login(user, password.get_secret_value())
    except UnicodeError:
        raise ValueError("a login must be ASCII") from None
