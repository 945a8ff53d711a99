"""The pages on S3: a private bucket that Terraform makes, or one that is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from src.files import put
from tests.deploy.conftest import LOOKED_INTO, REGION, Terraform
from tests.deploy.iam import allowed
from tests.deploy.test_contract import container
from tests.deploy.test_newcomer import bash, script, section
from tests.deploy.test_roles import ACCOUNT, statements

BUCKET = f"impress-page-{ACCOUNT}"
PAGES = {"index.html": b"all is well", "phase-1-1.html": b"in detail"}


@pytest.fixture(name="site", scope="module")
def fixture_site(cloud: Terraform) -> Iterator[Terraform]:
    """After an apply with pages, which is taken back."""
    written = json.loads((cloud.folder / "tests.json").read_text(encoding="utf-8"))
    plain = {n: v for n, v in written["environment"].items() if n != "PAGE_TARGET"}
    cloud.change("apply", "-var=pages=true", f"-var=environment={json.dumps(plain)}")
    yield cloud
    cloud.change("apply")


def called(cloud: Terraform, *writes: tuple[str, str, bytes]) -> set[tuple[str, str]]:
    """What the program asks S3 for when it writes: actions of IAM, each with its resource."""
    recorder = f"{cloud.environment['AWS_ENDPOINT_URL']}/moto-api/recorder"
    requests.post(f"{recorder}/reset-recording", timeout=10)
    requests.post(f"{recorder}/start-recording", timeout=10)
    for write in writes:
        put(*write)
    requests.post(f"{recorder}/stop-recording", timeout=10)
    lines = requests.get(f"{recorder}/download-recording", timeout=10).text.splitlines()
    return {action_of(each["method"], each["url"]) for each in map(json.loads, lines)}


def action_of(method: str, url: str) -> tuple[str, str]:
    """A call of S3 by the action that allows it, after AWS's table of actions for S3."""
    address = urlsplit(url)
    parts = parse_qs(address.query, keep_blank_values=True).keys() - {"x-id"}
    actions = {
        "POST uploads": "PutObject",
        "PUT partNumber uploadId": "PutObject",
        "POST uploadId": "PutObject",
        "PUT": "PutObject",
        "DELETE uploadId": "AbortMultipartUpload",
    }
    call = " ".join([method, *sorted(parts)])
    return f"s3:{actions.get(call, call)}", f"arn:aws:s3:::{address.path.lstrip('/')}"


def test_the_program_asks_s3_for_nothing_that_its_role_may_not(
    client: Any, cloud: Terraform
) -> None:
    for bucket in ("site", "bucket"):
        client("s3").create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    archive, site = (LOOKED_INTO[name] for name in ("RAW_ARCHIVE", "PAGE_TARGET"))
    large = b"." * 11_000_000  # in several parts
    calls = called(
        cloud,
        (archive.rstrip("/"), "1-1-abc.parquet", large),
        (site, "index.html", b"small"),
    )
    assert {resource for _, resource in calls} == {
        "arn:aws:s3:::bucket/raw/1-1-abc.parquet",
        "arn:aws:s3:::site/pages/index.html",
    }
    may = statements(client, "task")
    assert all(allowed(may, action, resource) for action, resource in calls), calls


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("task", ("predict", "monitor"))
def test_both_tasks_publish_to_the_bucket(client: Any, task: str) -> None:
    handed = {part["name"]: part["value"] for part in container(client, task)["environment"]}
    assert handed["PAGE_TARGET"] == f"s3://{BUCKET}"
    may = statements(client, "task")
    assert allowed(may, "s3:PutObject", f"arn:aws:s3:::{BUCKET}/index.html")
    assert not allowed(may, "s3:GetObject", f"arn:aws:s3:::{BUCKET}/index.html")


@pytest.mark.usefixtures("site")
def test_the_bucket_is_shut_to_the_internet(client: Any) -> None:
    s3 = client("s3")
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert blocked and all(blocked.values())
    policy = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    (denied,) = policy["Statement"]
    assert denied["Effect"] == "Deny" and denied["Principal"] == "*"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_pages_are_copied_and_sent_as_the_readme_says(client: Any, site: Terraform) -> None:
    for name, content in PAGES.items():
        put(f"s3://{BUCKET}", name, content, kind="text/html; charset=utf-8")
    stored = client("s3").head_object(Bucket=BUCKET, Key="index.html")
    assert stored["ContentType"] == "text/html; charset=utf-8"
    printed = bash(site, script(section("The pages")))
    copied = {file.name: file.read_bytes() for file in (site.folder / "pages").iterdir()}
    assert copied == PAGES
    (link,) = re.findall(r"http\S+$", printed.strip())
    assert f"%2F{REGION}%2Fs3%2F" in link  # S3 refuses what is signed for another region
    assert requests.get(link, timeout=10).content == PAGES["index.html"]
