"""The certificates by which a task knows a PostgreSQL of RDS."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.deploy.conftest import DEPLOY, ROOT

FILE = DEPLOY / "amazon-rds.pem"
NAME = re.compile(r"Amazon RDS ([a-z]+-[a-z]+-\d) Root CA (RSA2048|RSA4096|ECC384) G1")


def certificates() -> list[x509.Certificate]:
    """All of the file."""
    with warnings.catch_warnings():  # attributes that RFC 5280 does not name are none of ours
        warnings.simplefilter("ignore")
        return x509.load_pem_x509_certificates(FILE.read_bytes())


def test_they_are_amazon_s_authorities_for_every_kind_of_key_in_each_region() -> None:
    names = []
    for certificate in certificates():
        (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = NAME.fullmatch(str(name.value))
        assert found and certificate.issuer == certificate.subject
        names.append(found.groups())
    assert len(names) == len(set(names)) and set(
        Counter(region for region, _ in names).values()
    ) == {3}
    assert ("eu-central-1", "RSA2048") in names


def test_none_expires_before_its_servers_do() -> None:
    # Amazon gives servers certificates of a year, and replaces authorities years ahead.
    soon = datetime.now(UTC) + timedelta(days=5 * 365)
    assert all(certificate.not_valid_after_utc > soon for certificate in certificates())


@pytest.mark.parametrize("task", ["predict", "monitor"])
def test_the_images_have_them_where_terraform_says(task: str) -> None:
    dockerfile = (ROOT / f"Dockerfile.{task}").read_text(encoding="utf-8")
    assert re.search(r"^WORKDIR /app\nCOPY deploy/amazon-rds.pem \./$", dockerfile, re.M)
    tasks = (DEPLOY / "tasks.tf").read_text(encoding="utf-8")
    assert 'DB_SSLROOTCERT = "/app/amazon-rds.pem"' in tasks
    assert "!deploy/amazon-rds.pem" in (ROOT / ".dockerignore").read_text(encoding="utf-8")
