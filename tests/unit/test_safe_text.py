"""Secrets are hidden in whatever way they are quoted, and nothing that is printed acts."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.safe_text import SHORTEST, redacted, safe, safe_lines, secrets_in, visible

ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "in another case": str.swapcase,
    "in a path": quote,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "in a form": quote_plus,
    "repr": lambda secret: repr(secret)[1:-1],
    "repr of bytes": lambda secret: repr(secret.encode())[2:-1],
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "HTML": escape,
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("secret", ["hush hush/#1", 'wäsche\\\'s "word"', "pass%2Fword", "🔑&<x>"])
def test_a_secret_is_hidden_however_it_is_quoted(secret: str, encode: Callable[[str], str]) -> None:
    assert redacted(f"-{encode(secret)}-", frozenset([secret])) == "-***-"


@given(before=st.text(), secret=st.text(min_size=SHORTEST), after=st.text())
def test_a_secret_is_hidden_in_base64(before: str, secret: str, after: str) -> None:
    header = b64encode(f"{before}{secret}{after}".encode()).decode()
    assert "***" in redacted(f"Authorization: Basic {header}", frozenset([secret]))


@pytest.mark.parametrize(
    "text, shown",
    [
        ("http://user:pass@host:80/x", "http://***@host:80/x"),
        ("'postgresql://user:pa/ss@host/db'", "'postgresql://***@host/db'"),
        ("https://token@host, b@x.org", "https://***@host, b@x.org"),
        ("sqlite:////home/job@2/mlflow.db", "sqlite:////home/job@2/mlflow.db"),
        ("host=db password='hush hush' port=1", "host=db password=*** port=1"),
        ("https://host/?a=b&api_key=hush&c=d", "https://host/?a=b&api_key=***&c=d"),
        ("check DB_PASSWORD and b@x.org", "check DB_PASSWORD and b@x.org"),
    ],
)
def test_a_login_in_an_address_is_hidden_whoever_configured_it(text: str, shown: str) -> None:
    assert redacted(text, frozenset()) == shown


@pytest.mark.parametrize(
    "address, secrets",
    [
        ("http://user:hush@host/path", {"hush"}),
        ("http://user:hu%2Fsh@host", {"hu%2Fsh", "hu/sh", "hu", "sh"}),
        ("http://user:hush/1@host:port", {"hush/1", "hush", "1"}),
        ("user:hush@host", {"hush"}),
        ("https://token@host", {"token"}),
        ("https://token:@host", {"token"}),
        ("postgresql://host/db?user=x&password=hu%20sh", {"hu%20sh", "hu sh"}),
        ("host=x password='hush'", {"hush"}),
        ("a@x.org, Lab <b@x.org>", set()),
        ("http://host/path", set()),
    ],
)
def test_the_secrets_of_an_address_are_known(address: str, secrets: set[str]) -> None:
    assert set(secrets_in(address)) == secrets


@given(password=st.text(min_size=1))
def test_whatever_the_password_in_an_address_it_is_known(password: str) -> None:
    encoded = quote(password, safe="")
    assert {password, encoded} <= set(secrets_in(f"https://user:{encoded}@host/path"))


@pytest.mark.parametrize(
    "text, shown",
    [
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202etxt\u2066", r"abc\u202etxt\u2066"),
        ("two\r\nlines\u2028", r"two\r\nlines\u2028"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("a\udc80", r"a\udc80"),
        ("tag \U000e0041", r"tag \U000e0041"),
        ("5\xa0µS/cm, Wäsche, 洗い 🧺", "5\xa0µS/cm, Wäsche, 洗い 🧺"),
        ("[bold]x[/] :smile:", "[bold]x[/] :smile:"),
    ],
)
def test_what_would_not_be_seen_is_shown_as_an_escape_sequence(text: str, shown: str) -> None:
    assert visible(text) == safe(text) == shown


@given(text=st.text(st.characters()))
def test_no_control_character_is_left(text: str) -> None:
    for shown in (safe(text), safe_lines(text).replace("\n", "")):
        assert shown.encode("utf-8").decode() == shown
        assert all(c.isprintable() or c.isspace() for c in shown)
        assert len(f"{shown}|".splitlines()) == 1


def test_the_lines_of_a_text_stay_lines() -> None:
    assert safe_lines("one\n  two\x1b\r\n") == "one\n  two\\x1b\\r\n"
