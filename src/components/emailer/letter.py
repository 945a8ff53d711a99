"""From a letter to a message: plain text, HTML with its pictures, and the report as a zip file."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import formatdate
from hashlib import sha256
from html import escape
from pathlib import Path

from src.safe_text import safe, safe_lines
from src.settings import Settings

POLICY = policy.default.clone(cte_type="7bit")  # which every relay can carry
SERVED = "X-Impress-Served"  # header of a message that only some of its recipients have got


@dataclass(frozen=True)
class Letter:
    """What to send.

    Attributes:
        key: letters with the same key are the same letter, which people want only once.
        html: the same as `text`; shows each picture under the address `picture_source`.
        pictures: PNG files that `html` shows.
        report: a file to attach, as a zip file.
    """

    key: str
    subject: str
    text: str
    html: str | None = None
    pictures: tuple[Path, ...] = ()
    report: Path | None = None


def picture_source(picture: Path) -> str:
    """The address of a picture in the HTML of a letter."""
    return f"cid:{picture.stem}"


def message_id(key: str) -> str:
    """The Message-ID of every message made from a letter with this key."""
    return f"<{sha256(key.encode()).hexdigest()[:32]}@impress>"


def compose(letter: Letter, settings: Settings) -> EmailMessage:
    """Make a message from EMAIL_SENDER to EMAIL_RECIPIENT.

    A report is attached only if EMAIL_MAX_MB is not 0. One that is larger (10^6 bytes, zipped) is
    left out, and text and HTML say so.

    Raises:
        KeyError: when `html` shows a picture that is not among `pictures`.
    """
    message = EmailMessage(POLICY)
    address(message, settings)
    message["Subject"] = safe(letter.subject)
    message["Date"] = formatdate()
    message["Message-ID"] = message_id(letter.key)
    message["Auto-Submitted"] = "auto-generated"  # suppresses out-of-office replies
    attached = letter.report if settings.email_max_mb else None
    packed = _zipped(attached) if attached else b""
    size = len(packed) / 1e6
    note = ""
    if size > settings.email_max_mb:
        note = f"The report is too large to attach ({size:.3g} MB): see {attached}"
    message.set_content(safe_lines(f"{letter.text}\n{note}\n" if note else letter.text))
    if letter.html:
        _add_page(message, _with_note(letter.html, note), letter)
    if attached and not note:
        name = f"{attached.stem}.zip"
        message.add_attachment(packed, maintype="application", subtype="zip", filename=name)
    return message


def address(message: EmailMessage, settings: Settings) -> None:
    """Set sender and recipients, replacing those that the message has."""
    for name, value in (("From", settings.email_sender), ("To", settings.email_recipient)):
        del message[name]
        message[name] = value


def recipients(message: EmailMessage) -> list[str]:
    """The addresses that a message still has to reach."""
    served = set(str(message[SERVED] or "").split())
    addresses = [address.addr_spec for address in message["To"].addresses]
    return [address for address in addresses if address not in served]


def note_served(message: EmailMessage, addresses: Iterable[str]) -> None:
    """Note in a message that these addresses need not get it again."""
    served = " ".join([str(message[SERVED] or ""), *addresses]).strip()
    del message[SERVED]
    message[SERVED] = served


def _with_note(page: str, note: str) -> str:
    """A page with a paragraph more, inside its body if it is a whole document."""
    if not note:
        return page
    start, body, end = page.rpartition("</body>")
    return f"{start}<p>{escape(note)}</p>{body}{end}" if body else f"{page}<p>{escape(note)}</p>"


def _zipped(report: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(report, report.name)
    return packed.getvalue()


def _add_page(message: EmailMessage, page: str, letter: Letter) -> None:
    # A Content-ID must differ from those of other messages, which a mail program may have loaded.
    own = message_id(letter.key).strip("<>")
    ids = {picture.stem: f"{picture.stem}.{own}" for picture in letter.pictures}
    page = re.sub(r"""(?<=["']cid:)[^"']+""", lambda match: ids[match[0]], page)
    message.add_alternative(page, subtype="html")
    part = message.get_body(("html",))
    assert part
    for picture in letter.pictures:
        part.add_related(
            picture.read_bytes(),
            maintype="image",
            subtype="png",
            cid=f"<{ids[picture.stem]}>",
            disposition="inline",
            filename=picture.name,
        )
