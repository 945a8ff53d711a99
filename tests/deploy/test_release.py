"""deploy/rollback, beside which Terraform keeps still."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.deploy.conftest import REGION, ROOT, VALUES, Terraform

OLDER, NEWER = "a" * 40, "b" * 40
TASKS = ("predict", "monitor")
TAGS = {"Application": "impress", "CostCentre": "laundry"}


@pytest.fixture(name="images", autouse=True)
def fixture_images(client: Any) -> None:
    """Both images of two commits are in the registry, and the tasks are on the older."""
    if not client("ecr").list_images(repositoryName="impress-monitor")["imageIds"]:
        for task in TASKS:
            push(client, task, OLDER)
            push(client, task, NEWER)
    if tags(client) != [OLDER] * 3:
        assert rollback(OLDER).returncode == 0


def push(client: Any, task: str, git_hash: str) -> None:
    """An image without content."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"digest": f"sha256:{task}{git_hash}"},
    }
    client("ecr").put_image(
        repositoryName=f"impress-{task}", imageManifest=json.dumps(manifest), imageTag=git_hash
    )


def rollback(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run deploy/rollback as its user does."""
    command = [sys.executable, str(ROOT / "deploy" / "rollback"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def definition(client: Any, task: str) -> dict[str, Any]:
    """What the next start of a task would use."""
    found = client("ecs").describe_task_definition(taskDefinition=f"impress-{task}")
    return dict(found["taskDefinition"])


def tags(client: Any) -> list[str]:
    """The images that both tasks are on, and the one that Terraform believes in."""
    images = [definition(client, task)["containerDefinitions"][0]["image"] for task in TASKS]
    parameter = client("ssm").get_parameter(Name="/impress/image_tag")["Parameter"]["Value"]
    return [*(image.rpartition(":")[2] for image in images), parameter]


def test_both_tasks_go_forward_and_back_and_nothing_but_the_image_changes(client: Any) -> None:
    before = [definition(client, task) for task in TASKS]
    forward = rollback(NEWER)
    assert forward.returncode == 0, forward.stderr
    assert tags(client) == [NEWER] * 3
    for task, old in zip(TASKS, before, strict=True):
        new = definition(client, task)
        revision = old["revision"] + 1
        assert f"impress-{task}: image {OLDER} -> {NEWER}, revision {revision}" in forward.stdout
        assert new["revision"] == revision
        new["containerDefinitions"][0]["image"] = old["containerDefinitions"][0]["image"]
        for numbered in (old, new):
            del numbered["revision"], numbered["taskDefinitionArn"]
            numbered.pop("registeredAt", None)
        assert new == old
    assert rollback(OLDER).returncode == 0
    assert tags(client) == [OLDER] * 3


def test_a_call_that_broke_off_is_completed_by_the_next(client: Any) -> None:
    # The first half of a call: one task is on the newer image.
    half = definition(client, "predict")
    half["containerDefinitions"][0]["image"] = half["containerDefinitions"][0]["image"].replace(
        OLDER, NEWER
    )
    accepted = ("family", "containerDefinitions", "cpu", "memory", "networkMode", "volumes")
    client("ecs").register_task_definition(
        **{name: half[name] for name in accepted},
        executionRoleArn=half["executionRoleArn"],
        taskRoleArn=half["taskRoleArn"],
        requiresCompatibilities=["FARGATE"],
        runtimePlatform=half["runtimePlatform"],
        tags=[{"key": key, "value": value} for key, value in TAGS.items()],
    )
    assert tags(client) == [NEWER, OLDER, OLDER]
    again = rollback(NEWER)
    assert again.returncode == 0, again.stderr
    assert f"has image {NEWER} already" in again.stdout
    assert tags(client) == [NEWER] * 3


def test_tags_stay_on_what_is_released(client: Any) -> None:
    assert rollback(NEWER).returncode == 0
    for task in TASKS:
        found = client("ecs").describe_task_definition(
            taskDefinition=f"impress-{task}", include=["TAGS"]
        )
        assert {tag["key"]: tag["value"] for tag in found["tags"]} == TAGS


def test_without_a_region_it_says_what_to_set(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    refused = rollback(NEWER)
    assert refused.returncode == 1 and "export AWS_DEFAULT_REGION=" in refused.stderr
    assert "Traceback" not in refused.stderr
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    assert tags(client) == [OLDER] * 3


def test_an_image_that_is_not_there_is_refused_with_those_that_are(client: Any) -> None:
    refused = rollback("c" * 40)
    assert refused.returncode == 1
    assert refused.stderr.startswith("nothing was changed: no image impress-predict:cccc")
    assert OLDER in refused.stderr and NEWER in refused.stderr
    assert tags(client) == [OLDER] * 3


def test_one_missing_image_of_two_changes_nothing(client: Any) -> None:
    only = "d" * 40
    push(client, "predict", only)
    refused = rollback(only)
    assert refused.returncode == 1 and f"no image impress-monitor:{only}" in refused.stderr
    assert tags(client) == [OLDER] * 3


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ([OLDER[:7]], 2, "GIT_HASH is the full hash"),
        ([OLDER, "--name", "other"], 1, "no task definition other-predict: run `terraform apply`"),
    ],
)
def test_a_wrong_call_says_what_is_wanted(
    client: Any, arguments: list[str], code: int, words: str
) -> None:
    refused = rollback(*arguments)
    assert refused.returncode == code and words in refused.stderr
    assert tags(client) == [OLDER] * 3


def test_terraform_sees_no_drift_after_it(client: Any, cloud: Terraform) -> None:
    assert rollback(NEWER).returncode == 0
    cloud.run("plan", "-detailed-exitcode", "-input=false", VALUES)
    assert tags(client) == [NEWER] * 3


def test_another_apply_keeps_tag_and_secrets_as_it_finds_them(
    client: Any, cloud: Terraform
) -> None:
    ssm, secret = client("ssm"), "s3cret-of-the-tests"
    ssm.put_parameter(Name="/impress/DVC_TOKEN", Value=secret, Overwrite=True)
    ssm.put_parameter(Name="/impress/image_tag", Value=NEWER, Overwrite=True)
    cloud.change("apply", "-var=sizes={predict={cpu=256,memory=2048}}")
    assert tags(client) == [NEWER] * 3
    assert definition(client, "predict")["memory"] == "2048"
    kept = ssm.get_parameter(Name="/impress/DVC_TOKEN", WithDecryption=True)["Parameter"]["Value"]
    assert kept == secret
    assert secret not in (cloud.folder / "terraform.tfstate").read_text(encoding="utf-8")
