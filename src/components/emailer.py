"""One message, really sent: over SMTP with STARTTLS, or kept as a file where no server is set."""

from __future__ import annotations

import logging
import mimetypes
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from src.errors import DeliveryError
from src.settings import Settings

logger = logging.getLogger(__name__)


def compose(settings: Settings, subject: str, text: str, attachments: list[Path]) -> EmailMessage:
    """A message from EMAIL_SENDER to EMAIL_RECIPIENT with files attached.

    Raises:
        ValueError: when a header would contain a line break.
    """
    message = EmailMessage()
    message["From"] = settings.email_sender
    message["To"] = settings.email_recipient
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain="impress")
    message.set_content(text)
    for file in attachments:
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        maintype, subtype = kind.split("/")
        message.add_attachment(
            file.read_bytes(), maintype=maintype, subtype=subtype, filename=file.name
        )
    return message


def send(message: EmailMessage, settings: Settings) -> str:
    """Hand a message to SMTP_HOST; without one, write it to artifacts/outbox/.

    A message that the server does not take is kept in the outbox too.

    Returns:
        Where the message went.

    Raises:
        DeliveryError: when the server cannot be reached or trusted, or takes it for nobody.
    """
    if not settings.smtp_host:
        return f"file {_keep(message, settings)}"
    server = f"{settings.smtp_host}:{settings.smtp_port}"
    try:
        refused = _hand_over(message, settings)
    # A password that SMTP cannot carry is a UnicodeError.
    except (OSError, smtplib.SMTPException, UnicodeError) as error:
        kept = _keep(message, settings)
        raise DeliveryError(
            f"mail server {server} did not take the message ({type(error).__name__}: {error}); "
            f"it is kept in {kept}: check {_suspects(error)}"
        ) from error
    went = f"{settings.email_recipient} over {server}"
    if refused:
        went += f", but {', '.join(refused)} not"
        logger.warning("%s refused %s", server, refused)
    logger.info("mail handed to %s", server)
    return went


def _hand_over(message: EmailMessage, settings: Settings) -> dict[str, tuple[int, bytes]]:
    """Returns the recipients that the server refused while it took others."""
    assert settings.smtp_host
    with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=30) as smtp:
        smtp.starttls(context=ssl.create_default_context())
        if settings.email_pass:
            smtp.login(settings.email_sender, settings.email_pass.get_secret_value())
        return smtp.send_message(message)


def _suspects(error: Exception) -> str:
    """The variables that are likely to be wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "SMTP_HOST, and name the authority of its certificate with SSL_CERT_FILE"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "EMAIL_RECIPIENT"
    return "SMTP_HOST, SMTP_PORT, EMAIL_SENDER and EMAIL_PASS"


def _keep(message: EmailMessage, settings: Settings) -> Path:
    outbox = settings.artifacts / "outbox"
    outbox.mkdir(parents=True, exist_ok=True)
    file = outbox / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.eml"
    file.write_bytes(message.as_bytes())
    logger.info("mail kept in %s", file)
    return file
