"""One try to hand a message to SMTP_HOST: over TLS, after a login, within bounded time."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from base64 import b64encode
from contextlib import closing, suppress
from email.message import EmailMessage
from email.utils import parseaddr
from threading import Timer
from typing import Any

from pydantic import SecretStr

from src.settings import Settings

STEP = 60.0  # s for connecting, for the TLS handshake, for sending a block of data
ANSWERS = 120.0  # s from the start until the last answer


def hand_over(message: EmailMessage, settings: Settings) -> dict[str, tuple[int, bytes]]:
    """Hand a message over, to a server whose certificate is right and speaks TLS 1.2 or newer.

    Takes at most ANSWERS + STEP, however slow the server; looking up its name is not counted.

    Returns:
        The recipients that the server refused while it took others, and its answers.

    Raises:
        OSError: when the server does not answer, is not trusted or does not take the message.
        ValueError: when the login is not ASCII, or the server breaks the rules of a login.
    """
    assert settings.smtp_host
    host, port, tls = settings.smtp_host, settings.smtp_port, ssl.create_default_context()
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    connection = (
        _TlsConnection(host, port, timeout=STEP, context=tls)
        if settings.smtp_security == "tls"
        else _Connection(host, port, timeout=STEP)
    )
    with closing(connection) as smtp:
        if settings.smtp_security == "starttls":
            smtp.starttls(context=tls)
        if settings.email_pass:
            _log_in(smtp, parseaddr(settings.email_sender)[1], settings.email_pass)
        refused = smtp.send_message(message)
        # The server has the message: whatever it says to QUIT changes nothing.
        with suppress(OSError):
            smtp.quit()
        return refused


def may_pass(error: Exception) -> bool:
    """Whether the server may take the same message a little later."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return any(400 <= code < 500 for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return 400 <= error.smtp_code < 500
    if isinstance(error, smtplib.SMTPException):
        return isinstance(error, smtplib.SMTPServerDisconnected)
    return isinstance(error, OSError) and not isinstance(error, ssl.SSLCertVerificationError)


def suspects(error: Exception) -> str:
    """The variables that are likely to be wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "SMTP_HOST, and name the authority of its certificate with SSL_CERT_FILE"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "EMAIL_RECIPIENT"
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code == 552:
        return "EMAIL_MAX_MB, and delete that file"
    return "SMTP_HOST, SMTP_PORT, SMTP_SECURITY, EMAIL_SENDER and EMAIL_PASS"


class _Connection(smtplib.SMTP):
    """A connection whose last answer has come ANSWERS seconds after its start, or which is cut.

    The timeout of smtplib is for one read: a server that sends a byte a second never meets it.
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
            # Of an answer that was cut off smtplib takes the first half for the whole.
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
    """Errors do not tell the password, though a server may repeat what it was sent."""
    secret = password.get_secret_value()
    try:
        smtp.login(user, secret)
    except smtplib.SMTPAuthenticationError as error:
        answer = error.smtp_error if isinstance(error.smtp_error, bytes) else b""
        for sent in (f"\0{user}\0{secret}".encode(), secret.encode()):
            answer = answer.replace(sent, b"***").replace(b64encode(sent), b"***")
        raise smtplib.SMTPAuthenticationError(error.smtp_code, answer) from None
    except UnicodeError:
        raise ValueError("a login must be ASCII") from None
