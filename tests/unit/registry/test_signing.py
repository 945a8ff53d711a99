"""Who vouches for a bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from src.components.registry import signing
from src.errors import BundleRefused, InvalidKey
from src.settings import Settings

HASH, OTHER_HASH = "a" * 64, "b" * 64


def settings(private: str | None = None, trusted: str | None = None) -> Settings:
    """Settings with keys."""
    secret = SecretStr(private) if private else None
    return Settings(model_signing_key=secret, model_trusted_keys=trusted)


def test_a_bundle_signed_with_a_trusted_key_passes() -> None:
    private, public = signing.make_pair()
    _, another = signing.make_pair()
    tags = signing.signed(settings(private), "laundry", HASH)
    assert signing.signer("laundry", HASH, tags) == public
    signing.require_trusted(settings(trusted=f"{another}, {public}"), "laundry", HASH, tags)


def test_without_keys_nothing_is_signed_and_everything_passes() -> None:
    assert not signing.signed(settings(), "laundry", HASH)
    signing.require_trusted(settings(), "laundry", HASH, {})


def test_unsigned_and_foreign_bundles_are_refused() -> None:
    _, public = signing.make_pair()
    foreign, _ = signing.make_pair()
    trusting = settings(trusted=public)
    with pytest.raises(BundleRefused, match="is not signed"):
        signing.require_trusted(trusting, "laundry", HASH, {})
    tags = signing.signed(settings(foreign), "laundry", HASH)
    with pytest.raises(BundleRefused, match="is signed by"):
        signing.require_trusted(trusting, "laundry", HASH, tags)


def test_a_signature_is_for_one_bundle_of_one_model_by_one_key() -> None:
    private, public = signing.make_pair()
    foreign, foreign_public = signing.make_pair()
    tags = signing.signed(settings(private), "laundry", HASH)
    foreign_tags = signing.signed(settings(foreign), "laundry", HASH)
    for name, sha256, forged in (
        ("laundry", OTHER_HASH, tags),
        ("press", HASH, tags),
        ("laundry", HASH, tags | {signing.SIGNED_BY: foreign_public}),
        ("laundry", HASH, foreign_tags | {signing.SIGNED_BY: public}),
        ("laundry", HASH, tags | {signing.SIGNATURE: "AAAA"}),
        ("laundry", HASH, tags | {signing.SIGNATURE: "no base64"}),
        ("laundry", HASH, {signing.SIGNATURE: tags[signing.SIGNATURE]}),
    ):
        with pytest.raises(BundleRefused, match="not genuine"):
            signing.require_trusted(settings(trusted=public), name, sha256, forged)
    assert signing.signer_shown("laundry", tags | {signing.BUNDLE_SHA256: HASH}) == public[:12]
    assert signing.signer_shown("laundry", tags) == "not genuine"
    assert signing.signer_shown("laundry", {}) == ""


def test_a_key_may_be_a_file(tmp_path: Path) -> None:
    private, public = signing.make_pair()
    (tmp_path / "signing.key").write_text(f"{private}\n", encoding="utf-8")
    (tmp_path / "signing.pub").write_text(f"{public}\n", encoding="utf-8")
    tags = signing.signed(settings(str(tmp_path / "signing.key")), "laundry", HASH)
    trusting = settings(trusted=str(tmp_path / "signing.pub"))
    signing.require_trusted(trusting, "laundry", HASH, tags)


@pytest.mark.parametrize("key", ["secret", "c2hvcnQ=", "/nowhere/signing.key", "é"])
def test_something_else_than_a_key_is_named_and_not_repeated(key: str) -> None:
    with pytest.raises(InvalidKey, match="MODEL_SIGNING_KEY is neither") as refused:
        signing.signed(settings(key), "laundry", HASH)
    assert key not in str(refused.value)
    with pytest.raises(InvalidKey, match="MODEL_TRUSTED_KEYS is neither"):
        signing.require_trusted(settings(trusted=key), "laundry", HASH, {})
