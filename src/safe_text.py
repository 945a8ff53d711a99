"""Text that leaves the process: without secrets, and with control characters made visible.

Every text passes through `safe` at the edge, where it becomes a line on the console, a log record,
a message, a row of the journal, a tag in MLflow or a state in Prefect. So it does not matter
whether a user, a file, a server or a library wrote it.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from urllib.parse import unquote

HIDDEN = "***"
SHOWN = 60  # characters of a name
SHORTEST = 4  # characters of a secret; hiding shorter ones everywhere would hide half of each text

# What precedes the host in an address. An address such as file:///path has no host.
_USER_INFO = re.compile(r"""(?<=://)(?!/)[^\s"'<>]*@""")
_ASSIGNED = re.compile(
    r"""(?P<name>(?:password|passwd|pwd|secret|token|api_?key)\s*=\s*)"""
    r"""(?P<value>'[^']*'|[^\s&;,'"]+)""",
    re.IGNORECASE,
)
_DELIMITERS = re.compile("[/?#@:]")  # at which a library may cut an address into parts

_secrets = frozenset[str]()


def keep_secret(values: Iterable[str]) -> None:
    """Hide these values from now on, as long as the process lives; see SHORTEST."""
    global _secrets  # pylint: disable=global-statement  # like the streams and logs it is for
    _secrets |= {value for value in values if len(value) >= SHORTEST}


def safe(text: str) -> str:
    """A text as one line without secrets and control characters."""
    return visible(redacted(text))


def short(text: str) -> str:
    """The beginning of a text that is too long for a line of a table or a sentence."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def safe_lines(text: str) -> str:
    """The same for a text of several lines, such as a traceback."""
    return "\n".join(visible(line) for line in redacted(text).split("\n"))


def redacted(text: str, secrets: frozenset[str] | None = None) -> str:
    """A text with `***` for each secret, however it is encoded, and for the login in an address.

    Args:
        secrets: by default those that are kept.
    """
    hidden = _secrets if secrets is None else secrets
    without = _pattern(hidden).sub(HIDDEN, text) if hidden else text
    without = _USER_INFO.sub(f"{HIDDEN}@", without)
    return _ASSIGNED.sub(rf"\g<name>{HIDDEN}", without)


def visible(text: str) -> str:
    """A text with an escape sequence, as in Python, for each character that would not be seen.

    These are control characters, line breaks, marks that change the direction of writing, and other
    characters without width.
    """
    if text.isprintable():
        return text
    return "".join(
        character if _is_seen(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def _is_seen(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # kinds of blanks


def secrets_in(text: str) -> Iterator[str]:
    """The secrets in an address or a connection string, such as the password before the host.

    A user name is a secret only if no password follows it: then it is a token. As a library may cut
    an address at the wrong place, the parts of a password with a delimiter in it are secrets too.
    """
    login, at, _ = text.rpartition("@")
    scheme, separator, user_info = login.rpartition("://")
    user, colon, password = (user_info if separator else scheme or login).partition(":")
    if at and (separator or colon):
        encoded = password or user
        for secret in (encoded, unquote(encoded)):
            yield from (secret, *_DELIMITERS.split(secret))
    for assigned in _ASSIGNED.finditer(text):
        value = assigned["value"].strip("'")
        yield from (value, unquote(value))


@lru_cache(maxsize=1)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    spellings = set[str]()
    for secret in secrets:
        spellings.add("".join(map(_character, secret)))
        spellings |= set(map(re.escape, _base64(secret)))
    return re.compile("|".join(sorted(spellings, key=len, reverse=True)), re.IGNORECASE)


@cache
def _character(character: str) -> str:
    """A regular expression for a character, plain, percent-encoded or escaped."""
    if character.isascii() and character.isalnum():
        return character
    raw = character.encode("utf-8", "surrogateescape")
    spellings = {
        character,
        "".join(f"%{byte:02X}" for byte in raw),
        character.encode("unicode_escape").decode(),
        repr(raw)[2:-1],
        json.dumps(character)[1:-1],
        html.escape(character),
        f"\\{character}",
    }
    if character == " ":
        spellings.add("+")
    longest_first = sorted(spellings, key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, longest_first))})"


def _base64(secret: str) -> Iterator[str]:
    """What is constant in the Base64 of any text with the secret in it, such as `user:password`."""
    raw = secret.encode("utf-8", "surrogateescape")
    for before, start in enumerate((0, 2, 3)):
        end = (before + len(raw)) * 8 // 6
        constant = b64encode(bytes(before) + raw).decode()[start:end]
        if len(constant) >= SHORTEST:
            yield constant
