"""The pages on S3: a private bucket that Terraform makes, or one that is named."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from src.files import put
from tests.deploy.conftest import LOOKED_INTO, PAGES, REGION, Terraform
from tests.deploy.iam import allowed
from tests.deploy.test_newcomer import bash, script, section
from tests.deploy.test_roles import statements

SITE = {"index.html": b"all is well", "phase-1-1.html": b"in detail"}


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
    place = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    client("s3").create_bucket(Bucket="bucket", **place)
    large = b"." * 11_000_000  # in several parts
    calls = called(cloud, (LOOKED_INTO["RAW_ARCHIVE"].rstrip("/"), "1-1-abc.parquet", large))
    assert {resource for _, resource in calls} == {"arn:aws:s3:::bucket/raw/1-1-abc.parquet"}
    may = statements(client, "task")
    assert all(allowed(may, action, resource) for action, resource in calls), calls


def test_a_bucket_of_ones_own_may_be_written_to_and_no_other(cloud: Terraform) -> None:
    inputs = json.loads((cloud.folder / "tests.json").read_text(encoding="utf-8"))
    environment = json.dumps({**inputs["environment"], "PAGE_TARGET": "s3://site/pages/"})
    planned = cloud.plan("-var=pages=false", f"-var=environment={environment}")
    (policy,) = planned["aws_iam_role_policy.write"]
    may = json.loads(policy["policy"])["Statement"]
    assert allowed(may, "s3:PutObject", "arn:aws:s3:::site/pages/index.html")
    assert not allowed(may, "s3:PutObject", "arn:aws:s3:::site/other.html")
    assert not allowed(may, "s3:PutObject", f"arn:aws:s3:::{PAGES}/index.html")


def test_the_bucket_is_shut_to_the_internet(client: Any) -> None:
    s3 = client("s3")
    blocked = s3.get_public_access_block(Bucket=PAGES)["PublicAccessBlockConfiguration"]
    assert blocked and all(blocked.values())
    (denied,) = json.loads(s3.get_bucket_policy(Bucket=PAGES)["Policy"])["Statement"]
    assert denied["Effect"] == "Deny" and denied["Principal"] == "*"
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_pages_are_copied_and_sent_as_the_readme_says(client: Any, cloud: Terraform) -> None:
    s3 = client("s3")
    policy = s3.get_bucket_policy(Bucket=PAGES)["Policy"]
    s3.delete_bucket_policy(Bucket=PAGES)  # moto denies, whatever its condition is
    for name, content in SITE.items():
        put(f"s3://{PAGES}", name, content, kind="text/html; charset=utf-8")
    stored = s3.head_object(Bucket=PAGES, Key="index.html")
    assert stored["ContentType"] == "text/html; charset=utf-8"
    printed = bash(cloud, script(section("The pages")))
    copied = {file.name: file.read_bytes() for file in (cloud.folder / "pages").iterdir()}
    assert copied == SITE
    (link,) = re.findall(r"http\S+$", printed.strip())
    assert f"%2F{REGION}%2Fs3%2F" in link  # S3 refuses what is signed for another region
    assert requests.get(link, timeout=10).content == SITE["index.html"]
    s3.put_bucket_policy(Bucket=PAGES, Policy=policy)
