"""Mail over real SMTP servers, good and bad ones, and the outbox for what they do not take."""

from __future__ import annotations

import io
import logging
import os
import random
import re
import ssl
import sys
import time
import traceback
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from src.components.emailer import outbox
from src.components.emailer.letter import Letter, compose, message_id
from src.components.emailer.transport import Receipt
from src.errors import DeliveryError, SettingsError
from src.safe_text import redacted, safe, safe_lines
from src.settings import Settings
from tests.integration.conftest import PASSWORD, USER
from tests.integration.mail_servers import GREY, HELD, LOST, TAKEN, Clerk, SmallServer, Unreliable
from tests.processes import running, wait_for

# Line ends and unusual bytes must survive the way.
PAGE = b"<!doctype html>\r\n<p>Sp\xc3\xbclwasser\n.\r\n\x00\xff" + b"x" * 5000
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
LETTER = Letter("a key", "Wäsche: alarm", "pH verdächtig\n")
OTHER = replace(LETTER, key="another key")
# Without STARTTLS aiosmtpd does not know of TLS, so it must not insist on a login.
NO_STARTTLS = {
    "tls_context": None,
    "require_starttls": False,
    "auth_required": False,
    "auth_require_tls": False,
}


@pytest.fixture(autouse=True)
def fixture_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries, but no long waits; and reports are attached."""
    monkeypatch.setattr(outbox, "WAITS", (0.01, 0.01))
    monkeypatch.setenv("EMAIL_MAX_MB", "10")


@pytest.fixture(name="serve")
def fixture_serve(serve_mail: Callable[..., None]) -> Callable[..., Clerk]:
    """Begin to serve mail."""

    def serve(**options: object) -> Clerk:
        clerk = Clerk(USER, PASSWORD)
        serve_mail(clerk, authenticator=clerk.check, **options)
        return clerk

    return serve


@pytest.fixture(name="clerk")
def fixture_clerk(serve: Callable[..., Clerk]) -> Clerk:
    """Of a mail server that wants STARTTLS and a password."""
    return serve()


@pytest.fixture(name="page")
def fixture_page(tmp_path: Path) -> Path:
    """A report to attach."""
    file = tmp_path / "report.html"
    file.write_bytes(PAGE)
    return file


@pytest.fixture(name="large")
def fixture_large(tmp_path: Path) -> Path:
    """A report of 6 MB that do not become fewer in a zip file."""
    file = tmp_path / "large <1>.html"
    file.write_bytes(random.Random(0).randbytes(6_000_000))
    return file


def parse(file: Path) -> EmailMessage:
    """A message as a mail program reads it."""
    return message_from_bytes(file.read_bytes(), policy=policy.default)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """The readable part."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def in_outbox() -> list[Path]:
    """Messages that are files because there is no server."""
    return sorted(Path("artifacts/outbox").glob("*.eml"))


def unsent() -> list[Path]:
    """Messages that a server did not take."""
    return sorted(Path("artifacts/outbox/unsent").glob("*.eml"))


def send(letter: Letter = LETTER) -> str:
    """Send with the settings of the moment."""
    return outbox.send(compose(letter, Settings()), Settings())


def deliver_kept() -> list[str]:
    """Send what is kept, with the settings of the moment."""
    return outbox.deliver_kept(Settings())


def refusal(letter: Letter = LETTER) -> str:
    """Fail to send: the one line that says why, without a password; and the message is kept."""
    with pytest.raises(DeliveryError) as caught:
        send(letter)
    line = safe(str(caught.value))
    assert os.environ.get("EMAIL_PASS", "no password") not in line
    (kept,) = (file for file in unsent() if parse(file)["Message-ID"] == message_id(letter.key))
    assert str(kept) in line
    assert text_of(parse(kept)) == letter.text
    assert not in_outbox()
    return line


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_letter_arrives_as_it_was_written(
    serve: Callable[..., Clerk],
    certificate: ssl.SSLContext,
    page: Path,
    security: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = {**NO_STARTTLS, "ssl_context": certificate} if security == "tls" else {}
    clerk = serve(**tls)
    monkeypatch.setenv("SMTP_SECURITY", security)
    pictures = (page.with_name("month.png"), page.with_name("month-pH.png"))
    for number, picture in enumerate(pictures):
        picture.write_bytes(PICTURE + bytes([number]))
    shown = '<p>pH verdächtig <img src="cid:month-pH"> <img src="cid:month">'
    sent = send(replace(LETTER, html=shown, pictures=pictures, report=page))
    assert "laboratory@localhost" in sent
    assert clerk.logins == [(USER, PASSWORD)]
    (message,) = clerk.taken
    assert (message["Subject"], message["From"]) == ("Wäsche: alarm", USER)
    assert text_of(message) == "pH verdächtig\n"
    arrived = text_of(message, "html")
    assert re.sub(r"cid:(month(-pH)?)\.\w+@impress", r"cid:\1", arrived).strip() == shown
    images = {
        part["Content-ID"]: part.get_payload(decode=True)
        for part in message.walk()
        if part.get_content_type() == "image/png"
    }
    found = [images[f"<{cid}>"] for cid in re.findall('cid:([^"]+)', arrived)]
    assert found == [PICTURE + b"\1", PICTURE + b"\0"]
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "report.zip"
    with zipfile.ZipFile(io.BytesIO(attached.get_content())) as archive:
        assert archive.namelist() == ["report.html"]
        assert archive.read("report.html") == PAGE
    assert not in_outbox() and not unsent()


def test_a_picture_that_is_not_there_is_missed() -> None:
    with pytest.raises(KeyError, match="history"):
        send(replace(LETTER, html='<img src="cid:history">'))


def test_a_report_above_the_limit_is_left_out_with_a_note(
    page: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_MAX_MB", "5.9")
    for report in (page, large):
        send(Letter(report.name, "alarm", "pH verdächtig\n", "<p>pH", (), report))
    small, noted = map(parse, in_outbox())
    assert len(list(small.iter_attachments())) == 1 and "MB" not in text_of(small)
    assert not list(noted.iter_attachments())
    *text, note = text_of(noted).splitlines()
    assert text == ["pH verdächtig", ""]
    assert "6 MB" in note and str(large) in note
    assert "6 MB" in text_of(noted, "html") and "large &lt;1&gt;.html" in text_of(noted, "html")


def test_a_report_is_not_attached_by_default(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMAIL_MAX_MB")
    send(Letter("a key", "alarm", "pH verdächtig\n", "<p>pH", (), page))
    (message,) = map(parse, in_outbox())
    assert not list(message.iter_attachments())
    assert "MB" not in text_of(message)


def test_one_key_means_one_message_id() -> None:
    first, again = (compose(LETTER, Settings()) for _ in range(2))
    assert first["Message-ID"] == again["Message-ID"] == message_id("a key")
    assert message_id("a key") != message_id("another key")


@pytest.mark.parametrize(
    "recipients",
    [
        "Lab <lab@example.org>, plant@example.org,",
        "lab@example.org; plant@example.org",
        '"Lab, Müller; Co." <lab@example.org>;plant@example.org',
    ],
)
def test_everybody_in_the_list_gets_it(
    smtp: Path, recipients: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", recipients)
    sent = send()
    (message,) = map(parse, smtp.iterdir())
    assert message["X-RcptTo"] == "lab@example.org, plant@example.org"
    assert "lab@example.org, plant@example.org over" in sent


@pytest.fixture(name="one_refused")
def fixture_one_refused(smtp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of two recipients has the message; the other is refused. The folder of what arrives."""
    monkeypatch.setenv("EMAIL_RECIPIENT", "lab@example.org; nobody@example.org")
    sent = send()
    (kept,) = unsent()
    assert sent.startswith("lab@example.org over 127.0.0.1")
    reported = (
        f"but not to nobody@example.org (550 no such mailbox): kept for them in {kept.resolve()}"
    )
    assert reported in sent
    return smtp


def recipients_of(mailbox: Path) -> list[str]:
    """The recipients of each message that arrived, in the order of their names."""
    return sorted(str(parse(file)["X-RcptTo"]) for file in mailbox.iterdir())


def test_one_refused_recipient_does_not_keep_the_others_from_it(
    one_refused: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert recipients_of(one_refused) == ["lab@example.org"]
    caplog.clear()
    assert not deliver_kept()
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "nobody@example.org" in error.getMessage() and len(unsent()) == 1
    assert recipients_of(one_refused) == ["lab@example.org"]


def test_a_refused_recipient_that_is_corrected_gets_what_was_kept(
    one_refused: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "lab@example.org; somebody@example.org")
    assert deliver_kept() == [message_id("a key")]
    assert recipients_of(one_refused) == ["lab@example.org", "somebody@example.org"]
    assert not unsent() and not deliver_kept()


def test_nothing_is_kept_for_a_recipient_that_is_removed(
    one_refused: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "lab@example.org")
    assert not deliver_kept()
    assert recipients_of(one_refused) == ["lab@example.org"]
    assert not unsent()


def test_a_recipient_that_was_wrong_can_be_corrected(
    smtp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "nobody@example.org")
    line = refusal()
    assert "next try" not in caplog.text
    assert "nobody@example.org" in line and "EMAIL_RECIPIENT" in line
    assert not list(smtp.iterdir())
    monkeypatch.setenv("EMAIL_RECIPIENT", "lab@example.org")
    assert deliver_kept() == [message_id("a key")]
    (message,) = map(parse, smtp.iterdir())
    assert message["X-RcptTo"] == message["To"] == "lab@example.org"


@pytest.mark.parametrize("word", ["an0ther-w0rd", "Wäschetrommel"])
def test_a_wrong_password_is_refused_and_shown_nowhere(
    clerk: Clerk, word: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server repeats what it was sent; `redacted` is what the edge does to every text."""
    sent = [b64encode(f"{before}{word}".encode()).decode() for before in ("", f"\0{USER}\0")]
    clerk.refusal = f"535 5.7.8 not {word}, nor {sent[0]}, nor {sent[1]}"
    monkeypatch.setenv("EMAIL_PASS", word)
    with caplog.at_level(logging.DEBUG, "src"), pytest.raises(DeliveryError) as caught:
        send()
    assert "EMAIL_PASS" in str(caught.value)
    if word.isascii():
        assert "535, b'5.7.8 not ***, nor " in redacted(str(caught.value))
    shown = redacted("".join(traceback.format_exception(caught.value)) + caplog.text)
    assert not [secret for secret in (word, "\\xe4", *sent) if secret in shown]
    assert "next try" not in caplog.text
    assert len(unsent()) == 1 and not clerk.taken


def test_the_name_of_the_sender_is_no_part_of_the_login(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_SENDER", f"Soft sensor <{USER}>")
    send()
    assert clerk.logins == [(USER, PASSWORD)]
    assert clerk.taken[0]["From"] == f"Soft sensor <{USER}>"


def test_the_login_may_have_a_name_of_its_own(
    serve_mail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clerk = Clerk("AKIAEXAMPLE", PASSWORD)
    serve_mail(clerk, authenticator=clerk.check)
    assert "EMAIL_USERNAME" in refusal()
    monkeypatch.setenv("EMAIL_USERNAME", "AKIAEXAMPLE")
    send()
    assert clerk.logins[-1] == ("AKIAEXAMPLE", PASSWORD)
    assert clerk.taken[0]["From"] == USER


def test_without_a_password_the_server_refuses(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMAIL_PASS")
    assert "EMAIL_PASS" in refusal()
    assert not clerk.taken


def test_a_message_too_large_for_the_server_is_kept(clerk: Clerk, large: Path) -> None:
    line = refusal(replace(LETTER, report=large))
    assert "552" in line and "EMAIL_MAX_MB" in line
    assert not clerk.taken


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSL_CERT_FILE" in refusal()
    assert "next try" not in caplog.text
    assert not clerk.logins and not clerk.tries


def test_a_certificate_for_another_host_is_not_trusted(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_HOST", "localhost")
    assert "SMTP_HOST" in refusal()
    assert not clerk.logins and not clerk.tries


@pytest.mark.parametrize("security, told", [("starttls", "STARTTLS"), ("tls", "SSL")])
def test_nothing_is_sent_in_the_clear(
    serve: Callable[..., Clerk], security: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clerk = serve(**NO_STARTTLS)
    monkeypatch.setenv("SMTP_SECURITY", security)
    assert told in refusal()
    assert not clerk.logins and not clerk.tries


@pytest.mark.parametrize(
    "answers, tries, taken",
    [
        ([TAKEN], 1, 1),
        (["451 later"], 2, 1),
        (["421 busy", "452 full"], 3, 1),
        ([GREY], 1, 1),
        # It may come twice: nobody can know that the server had taken it.
        ([LOST], 2, 2),
    ],
)
def test_what_may_pass_is_tried_again(
    clerk: Clerk, answers: list[str], tries: int, taken: int
) -> None:
    clerk.answers = answers
    send()
    assert clerk.tries == [message_id("a key")] * tries
    assert len(clerk.taken) == taken
    assert not unsent()


@pytest.mark.parametrize("answers, tries", [(["451 later"] * 3, 3), (["554 never"], 1)])
def test_tries_come_to_an_end(clerk: Clerk, answers: list[str], tries: int) -> None:
    clerk.answers = list(answers)
    assert answers[0].split()[1] in refusal()
    assert len(clerk.tries) == tries


def test_waits_become_longer(clerk: Clerk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outbox.WAITS == (0.01, 0.01), "the test's own"
    monkeypatch.setattr(outbox, "WAITS", (0.1, 0.5))
    clerk.answers = ["451 later"] * 2
    start = time.monotonic()
    send()
    assert time.monotonic() - start >= 0.6


@pytest.mark.parametrize("farewell", ["421 busy", LOST])
def test_what_the_server_says_after_it_took_the_message_changes_nothing(
    clerk: Clerk, farewell: str
) -> None:
    clerk.farewell = farewell
    send()
    assert len(clerk.taken) == 1 and not unsent()


@contextmanager
def unreliable(
    step: str, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SmallServer]:
    """A server that becomes slow, or goes, at a step."""
    handler = partial(Unreliable, step=step, certificate=certificate)
    with SmallServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
        monkeypatch.setenv("SMTP_PORT", str(server.server_address[1]))
        Thread(target=server.serve_forever, args=[0.05]).start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()


@pytest.mark.parametrize("step", ["greeting", "handshake", "answer", "reading"])
def test_a_slow_server_is_not_waited_for_longer_than_agreed(
    step: str, certificate: ssl.SSLContext, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.components.emailer.smtp.STEP", 0.6)
    monkeypatch.setattr("src.components.emailer.smtp.ANSWERS", 0.8)
    monkeypatch.setattr(outbox, "WAITS", ())
    letter = replace(LETTER, report=large)
    with unreliable(step, certificate, monkeypatch) as server:
        refusal(letter)
        assert not server.outlasted


def test_a_connection_that_is_lost_within_the_data_is_tried_again_and_the_message_kept(
    certificate: ssl.SSLContext, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unreliable("none but the end", certificate, monkeypatch) as server:
        refusal(replace(LETTER, report=large))
        assert server.tries == 3


def test_a_server_that_is_down_gets_the_message_when_it_is_up(
    serve: Callable[..., Clerk], closed_port: int, page: Path
) -> None:
    line = refusal(replace(LETTER, report=page))
    assert f"127.0.0.1:{closed_port}" in line and "SMTP_HOST" in line
    (kept,) = unsent()
    before = parse(kept)
    clerk = serve()
    assert deliver_kept() == [message_id("a key")]
    assert not deliver_kept()
    (message,) = clerk.taken
    assert message["Date"] == before["Date"]
    (attached,) = message.iter_attachments()
    with zipfile.ZipFile(io.BytesIO(attached.get_content())) as archive:
        assert archive.read("report.html") == PAGE
    assert not unsent() and not in_outbox()


def test_what_is_kept_is_sent_in_its_order_and_each_message_once(
    serve: Callable[..., Clerk],
) -> None:
    for letter in (LETTER, OTHER, LETTER):
        refusal(letter)
    assert len(unsent()) == 2
    clerk = serve()
    expected = [message_id("a key"), message_id("another key")]
    assert deliver_kept() == clerk.tries == expected


def test_a_message_that_is_never_taken_does_not_hold_back_the_others(
    serve: Callable[..., Clerk], caplog: pytest.LogCaptureFixture
) -> None:
    refusal(LETTER)
    refusal(OTHER)
    clerk = serve()
    clerk.answers = ["554 never", TAKEN, "554 never"]
    assert deliver_kept() == [message_id("another key")]
    assert "554" in caplog.text
    with pytest.raises(DeliveryError, match="554"):
        deliver_kept()
    (kept,) = unsent()
    assert parse(kept)["Message-ID"] == message_id("a key")


def test_a_message_that_arrives_is_kept_no_longer(serve: Callable[..., Clerk]) -> None:
    refusal()
    clerk = serve()
    send()
    assert not unsent() and not deliver_kept()
    assert len(clerk.taken) == 1


def test_two_runs_do_not_send_one_file_and_a_killed_one_does_not_lose_it(
    serve: Callable[..., Clerk],
) -> None:
    refusal()
    clerk = serve()
    clerk.answers = [HELD]
    code = "from src.components.emailer import outbox as e; e.deliver_kept(e.Settings())"
    with running([sys.executable, "-c", code]) as process:
        wait_for(
            lambda: bool(clerk.tries),
            "a message on its way",
            alive=lambda: process.poll() is None,
        )
        assert not deliver_kept()
        assert len(clerk.tries) == 1
        process.kill()
        process.wait()
    assert deliver_kept() == [message_id("a key")]
    assert len(clerk.taken) == 1 and not unsent()


def test_without_a_server_the_message_is_a_file_and_nothing_is_sent(
    page: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("SMTP_PORT", str(closed_port))
    refusal(OTHER)
    monkeypatch.delenv("SMTP_HOST")
    assert not deliver_kept() and len(unsent()) == 1
    sent = send(replace(LETTER, report=page))
    (file,) = in_outbox()
    assert str(file) in sent
    assert file.read_bytes().isascii(), "a relay may carry no more"
    assert file.stat().st_mode & 0o777 == 0o600, "a report is nobody else's business"
    assert parse(file)["To"] == Settings().email_recipient
    assert len(list(parse(file).iter_attachments())) == 1


@dataclass
class Pager:
    """Another transport, which is out of order at first."""

    name: str = "pager"
    delivers: bool = True
    errors: list[OSError] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def hand_over(self, message: EmailMessage) -> Receipt:
        """Show the subject."""
        if self.errors:
            raise self.errors.pop()
        self.shown.append(message["Subject"])
        return Receipt("the pager")

    def is_temporary(self, error: Exception) -> bool:
        """Only when it is busy."""
        return isinstance(error, BlockingIOError)

    def suspects(self, _: Exception) -> str:
        """What to check."""
        return "its battery"


def test_another_transport_is_retried_and_gets_what_was_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pager = Pager(errors=[ConnectionError("dead"), BlockingIOError("busy")])
    monkeypatch.setattr(outbox, "choose", lambda settings: pager)
    with pytest.raises(DeliveryError, match="pager did not accept .*dead.* check its battery"):
        send()
    assert not pager.errors and len(unsent()) == 1
    assert deliver_kept() == [message_id("a key")]
    assert pager.shown == ["Wäsche: alarm"] and not unsent()
    assert send(OTHER) == "the pager"


BREAKS = ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028"]


@pytest.mark.parametrize("name", ["EMAIL_SENDER", "EMAIL_RECIPIENT"])
@pytest.mark.parametrize(
    "value",
    [
        *(f"a@example.org{end}Bcc: thief@example.org" for end in BREAKS),
        *(f'"Lab{end}Bcc: thief@example.org" <a@example.org>' for end in BREAKS),
        "=?utf-8?q?Lab=0ABcc=3A_thief=40example=2Eorg?= <a@example.org>",
        "=?utf-8?b?TGFiDQpCY2M6IHg=?= <a@example.org>",
    ],
)
def test_an_address_with_a_line_break_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} has no address in entry 1"):
        Settings()


@pytest.mark.parametrize("end", BREAKS)
def test_a_line_break_in_a_subject_is_shown(end: str) -> None:
    send(replace(LETTER, subject=f"alarm{end}Bcc: thief@example.org"))
    (message,) = map(parse, in_outbox())
    assert message["Bcc"] is None
    assert message["Subject"] == safe(f"alarm{end}Bcc: thief@example.org")


@pytest.fixture(name="somewhere", scope="module")
def fixture_somewhere(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings without a mail server for many examples."""
    return Settings(impress_home=tmp_path_factory.mktemp("mail"), smtp_host=None)


@examples(max_examples=50, database=None)
@given(text=st.text())
def test_any_text_survives_and_its_control_characters_are_shown(
    somewhere: Settings, text: str
) -> None:
    message = compose(Letter("x", "x", text, text), somewhere)
    kept = parse(Path(outbox.send(message, somewhere).removeprefix("file ")))
    assert text_of(kept) == safe_lines(text).removesuffix("\n") + "\n"


@examples(max_examples=100, database=None)
@given(subject=st.text(), key=st.text(), name=st.text())
def test_no_letter_adds_a_header(somewhere: Settings, subject: str, key: str, name: str) -> None:
    plain = compose(Letter("x", "x", "x"), somewhere)
    try:
        settings = Settings(
            impress_home=somewhere.impress_home, email_recipient=f'"{name}" <a@example.org>'
        )
    except SettingsError:
        return
    message = compose(Letter(key, subject, "x"), settings)
    parsed = message_from_bytes(message.as_bytes())
    assert sorted(parsed.keys()) == sorted(plain.keys())
    assert parsed.get_payload() == "x\n"
