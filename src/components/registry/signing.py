"""Signatures of bundles: who vouches for a model (Ed25519, RFC 8032).

A hash in the registry says that bytes are those that were registered, but whoever can write there
can write the hash as well. A signature needs the private key.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import BundleRefused, InvalidKey
from src.safe_text import keep_secret
from src.settings import Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Tags of a version.
BUNDLE_SHA256 = "bundle_sha256"
SIGNATURE = "bundle_signature"
SIGNED_BY = "bundle_signed_by"


def make_pair() -> tuple[str, str]:
    """A private key and its public key, each as text of one line."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    return _text(private.private_bytes_raw()), _public(private)


def signed(settings: Settings, name: str, sha256: str) -> dict[str, str]:
    """Tags that sign a bundle of a model; none without MODEL_SIGNING_KEY.

    Args:
        sha256: of the bundle's manifest.

    Raises:
        InvalidKey: when MODEL_SIGNING_KEY is no private key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if settings.model_signing_key is None:
        return {}
    key = _key(settings.model_signing_key.get_secret_value(), "MODEL_SIGNING_KEY")
    keep_secret([_text(key)])  # the variable may name a file
    private = Ed25519PrivateKey.from_private_bytes(key)
    signature = private.sign(_statement(name, sha256))
    return {SIGNATURE: _text(signature), SIGNED_BY: _public(private)}


def signer(name: str, sha256: str, tags: Mapping[str, str]) -> str | None:
    """The public key whose owner has signed a bundle, None when nobody has.

    Raises:
        BundleRefused: when the signature is not one of that key for that bundle.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if SIGNATURE not in tags:
        return None
    public = tags.get(SIGNED_BY, "")
    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(public, validate=True))
        key.verify(b64decode(tags[SIGNATURE], validate=True), _statement(name, sha256))
    except (InvalidSignature, ValueError):
        raise BundleRefused(f"the signature of a version of {name} is not genuine") from None
    return public


def signer_shown(name: str, tags: Mapping[str, str]) -> str:
    """The beginning of the signer's public key, for people; empty for an unsigned version."""
    try:
        public = signer(name, tags.get(BUNDLE_SHA256, ""), tags)
    except BundleRefused:
        return "not genuine"
    return public[:12] if public else ""


def require_trusted(settings: Settings, name: str, sha256: str, tags: Mapping[str, str]) -> None:
    """Refuse a bundle that none of MODEL_TRUSTED_KEYS has signed; without them all may pass.

    Raises:
        BundleRefused: when it is unsigned, or signed by somebody else.
        InvalidKey: when one of MODEL_TRUSTED_KEYS is no public key.
    """
    if not settings.model_trusted_keys:
        return
    keys = settings.model_trusted_keys.replace(",", " ").split()
    trusted = {_text(_key(key, "MODEL_TRUSTED_KEYS")) for key in keys}
    public = signer(name, sha256, tags)
    if public not in trusted:
        by = f"signed by {public}" if public else "not signed"
        raise BundleRefused(
            f"the version of {name} is {by}, and MODEL_TRUSTED_KEYS names other keys: train it "
            "again with MODEL_SIGNING_KEY, or trust that key"
        )


def _key(text: str, variable: str) -> bytes:
    """A key of 32 bytes from its text, or from the file that has it.

    Raises:
        InvalidKey: when it is neither; the message does not repeat it.
    """
    file = Path(text).expanduser()
    if file.is_file():
        text = file.read_text(encoding="utf-8").strip()
    with suppress(ValueError):
        key = b64decode(text, validate=True)
        if len(key) == 32:
            return key
    raise InvalidKey(f"{variable} is neither a key of `impress keys` nor a file with one")


def _public(private: Ed25519PrivateKey) -> str:
    return _text(private.public_key().public_bytes_raw())


def _statement(name: str, sha256: str) -> bytes:
    return f"impress: bundle {sha256} of model {name}".encode()


def _text(key: bytes) -> str:
    return b64encode(key).decode()
