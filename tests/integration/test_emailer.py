"""Mail over a real SMTP server with STARTTLS and a login, and the outbox where there is none."""

from __future__ import annotations

import os
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components import emailer
from src.errors import DeliveryError
from src.settings import Settings

# Neither line ends nor odd bytes are anybody's business on the way.
PAGE = b"<!doctype html>\r\n<p>Sp\xc3\xbclwasser\n.\r\n\x00\xff" + b"x" * 5000


@pytest.fixture(name="page")
def fixture_page(tmp_path: Path) -> Path:
    """An HTML page to attach."""
    file = tmp_path / "drift.html"
    file.write_bytes(PAGE)
    return file


def parse(file: Path) -> EmailMessage:
    """A message as a mail program reads it."""
    return message_from_bytes(file.read_bytes(), policy=policy.default)


def text_of(message: EmailMessage) -> str:
    """The readable part."""
    body = message.get_body()
    assert body is not None
    return str(body.get_content())


def outbox() -> list[Path]:
    """Messages that were kept."""
    return sorted(Path("artifacts/outbox").glob("*.eml"))


def send(*attachments: Path) -> str:
    """Send the message of these tests with the settings of the moment."""
    message = emailer.compose(Settings(), "Wäsche: alarm", "pH verdächtig\n", list(attachments))
    return emailer.send(message, Settings())


def refusal(*attachments: Path) -> str:
    """Send in vain: the one line that says why; it tells no password, and the message is kept."""
    with pytest.raises(DeliveryError) as caught:
        send(*attachments)
    line = str(caught.value)
    assert "\n" not in line
    assert os.environ.get("EMAIL_PASS", "no password") not in line
    (kept,) = outbox()
    assert str(kept) in line
    assert text_of(parse(kept)) == "pH verdächtig\n"
    return line


def test_a_message_arrives_as_it_was_written(smtp: Path, page: Path) -> None:
    sent = send(page)
    (message,) = map(parse, smtp.iterdir())
    assert message["Subject"] == "Wäsche: alarm"
    assert message["From"] == Settings().email_sender
    assert text_of(message) == "pH verdächtig\n"
    (attached,) = message.iter_attachments()
    assert attached.get_content_type() == "text/html"
    assert attached.get_filename() == "drift.html"
    assert attached.get_payload(decode=True) == PAGE
    assert "laboratory@localhost" in sent
    assert not outbox()


def test_everybody_in_the_list_gets_it(smtp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "Lab <lab@example.org>, plant@example.org,")
    send()
    (message,) = map(parse, smtp.iterdir())
    assert message["X-RcptTo"] == "lab@example.org, plant@example.org"


def test_one_unknown_recipient_does_not_keep_the_others_from_it(
    smtp: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "lab@example.org,nobody@example.org")
    sent = send()
    (message,) = map(parse, smtp.iterdir())
    assert message["X-RcptTo"] == "lab@example.org"
    (warning,) = [
        r for r in caplog.records if (r.name, r.levelname) == (emailer.__name__, "WARNING")
    ]
    assert "nobody@example.org" in warning.getMessage()
    assert "but nobody@example.org" in sent


def test_a_recipient_that_the_server_does_not_know_is_named(
    smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "nobody@example.org")
    line = refusal()
    assert "nobody@example.org" in line and "EMAIL_RECIPIENT" in line
    assert not list(smtp.iterdir())


def test_a_wrong_password_is_refused_and_not_told(
    smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_PASS", "an0ther-w0rd")
    assert "EMAIL_PASS" in refusal()
    assert not list(smtp.iterdir())


def test_a_password_beyond_ascii_is_refused_and_not_told(
    smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_PASS", "Wäschetrommel")
    assert "EMAIL_PASS" in refusal()
    assert not list(smtp.iterdir())


def test_without_a_password_the_server_refuses(smtp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMAIL_PASS")
    assert "EMAIL_PASS" in refusal()
    assert not list(smtp.iterdir())


def test_a_message_too_large_for_the_server_is_kept(smtp: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(300_000))
    assert "size" in refusal(large)
    assert not list(smtp.iterdir())


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "SSL_CERT_FILE" in refusal()
    assert not list(smtp.iterdir())


def test_a_certificate_for_another_host_is_not_trusted(
    smtp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_HOST", "localhost")
    assert "SMTP_HOST" in refusal()
    assert not list(smtp.iterdir())


def test_nothing_is_sent_in_the_clear(
    tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("SMTP_PORT", str(closed_port))
    controller = Controller(
        Mailbox(str(tmp_path / "clear")), hostname="127.0.0.1", port=closed_port
    )
    controller.start()
    try:
        assert "STARTTLS" in refusal()
    finally:
        controller.stop()
    assert not list((tmp_path / "clear" / "new").iterdir())


def test_a_server_that_is_down_is_named(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_HOST", "127.0.0.1")
    monkeypatch.setenv("SMTP_PORT", str(closed_port))
    line = refusal()
    assert f"127.0.0.1:{closed_port}" in line and "SMTP_HOST" in line


def test_without_a_server_the_message_is_a_file(page: Path) -> None:
    sent = send(page)
    (file,) = outbox()
    assert str(file) in sent
    message = parse(file)
    assert message["To"] == Settings().email_recipient
    assert message["Subject"] == "Wäsche: alarm"
    (attached,) = message.iter_attachments()
    assert attached.get_payload(decode=True) == PAGE


def test_messages_of_one_moment_are_all_kept() -> None:
    for _ in range(20):
        send()
    assert len(outbox()) == 20


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_header_with_a_line_break_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="(?i)header values"):
        emailer.compose(Settings(), f"alarm{end}Bcc: thief@example.org", "", [])


def test_a_recipient_with_a_line_break_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_RECIPIENT", "lab@example.org\nBcc: thief@example.org")
    with pytest.raises(ValueError, match="(?i)header values"):
        send()


@pytest.fixture(name="somewhere", scope="module")
def fixture_somewhere(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings without a mail server for many examples."""
    return Settings(impress_home=tmp_path_factory.mktemp("mail"), smtp_host=None)


@settings(max_examples=50, database=None)
@given(text=st.text())
def test_any_text_survives_but_for_its_line_ends(somewhere: Settings, text: str) -> None:
    kept = emailer.send(emailer.compose(somewhere, "x", text, []), somewhere)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    assert text_of(parse(Path(kept.removeprefix("file ")))) == f"{lines}\n"
