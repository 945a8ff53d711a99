"""What the code reads, what Terraform hands to it and what the workflow knows are the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from tests.deploy.conftest import (
    DEPLOY,
    LOOKED_INTO,
    OF_THE_IMAGE,
    PAGES,
    ROOT,
    plain_names,
    secret_names,
)

WORKFLOW = ROOT / ".github" / "workflows" / "test-build-push.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
TASKS = ("predict", "monitor")


def container(client: Any, task: str) -> dict[str, Any]:
    """The one container of the task definition that a start would use."""
    found = client("ecs").describe_task_definition(taskDefinition=f"impress-{task}")
    (only,) = found["taskDefinition"]["containerDefinitions"]
    return dict(only)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_handed_every_secret_that_the_code_reads_and_no_other(
    client: Any, task: str
) -> None:
    handed = {part["name"]: part["valueFrom"] for part in container(client, task)["secrets"]}
    assert set(handed) == secret_names()
    stored = client("ssm").get_parameters_by_path(Path="/impress", MaxResults=10)["Parameters"]
    kinds = {part["ARN"]: part["Type"] for part in stored}
    for name, place in handed.items():
        assert place.endswith(f":parameter/impress/{name}") and kinds[place] == "SecureString"


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_handed_every_other_variable_too(client: Any, task: str) -> None:
    handed = {part["name"]: part["value"] for part in container(client, task)["environment"]}
    names = plain_names() - OF_THE_IMAGE
    values = {**LOOKED_INTO, "PAGE_TARGET": f"s3://{PAGES}"}
    assert handed == {name: values.get(name, name.lower()) for name in names}


def test_the_files_name_every_variable_that_is_not_secret() -> None:
    # Without Terraform too, so that a new variable of the code is missed at once.
    tasks = (DEPLOY / "tasks.tf").read_text(encoding="utf-8")
    (named,) = re.findall(r"not_set = \{\n(.*?)\n  \}", tasks, re.S)
    assert set(re.findall(r"^ +(\w+) += \"\"$", named, re.M)) == plain_names() - OF_THE_IMAGE


@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_as_the_user_of_its_image_and_writes_where_the_image_says(
    client: Any, task: str
) -> None:
    dockerfile = (ROOT / f"Dockerfile.{task}").read_text(encoding="utf-8")
    found = container(client, task)
    (place,) = found["mountPoints"]
    assert re.search(rf"--uid[= ]{found['user']}\b", dockerfile)
    assert re.search(rf"\bIMPRESS_HOME={place['containerPath']}\b", dockerfile)
    # Fargate mounts an empty folder of root's there, but where the image declares a volume.
    assert re.search(rf'^VOLUME \[?"?{place["containerPath"]}\b', dockerfile, re.MULTILINE)
    assert f'CMD ["{task}"]' in dockerfile and found["command"] == [task]


def test_a_check_prints_the_line_that_its_alarm_waits_for(client: Any, engine: Engine) -> None:
    assert engine.url.database  # the environment names this test's database
    group = "/ecs/impress-predict"
    filters = client("logs").describe_metric_filters(logGroupName=group)["metricFilters"]
    patterns = {part["filterName"]: part["filterPattern"] for part in filters}
    for task in TASKS:
        start = client("scheduler").get_schedule(Name=f"impress-check-{task}")["Target"]["Input"]
        (override,) = json.loads(start)["containerOverrides"]
        command = [sys.executable, "-m", "src.cli", *override["command"]]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # No run yet: the check fails, and says so in the words that count as an answer.
        assert done.returncode == 1, done.stderr
        quoted = patterns[f"impress-checked-{task}"]
        assert quoted[0] == quoted[-1] == '"' and quoted[1:-1] in done.stdout


def test_the_workflow_knows_the_secrets_of_the_original_and_no_other() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    assert set(re.findall(r"secrets\.(\w+)", text)) == {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "ECR_ACCOUNT_ID",
        "ECR_REGION",
    }
    outputs = (DEPLOY / "outputs.tf").read_text(encoding="utf-8")
    for name in set(re.findall(r"vars\.(\w+)", text)) - {"PARAMS"}:
        assert f"{name} =" in outputs, f"no output of Terraform tells {name}"


@pytest.mark.parametrize("job", ("test", "audit"))
def test_a_pull_request_needs_no_secret_and_has_no_rights(job: str) -> None:
    assert "secrets." not in json.dumps(JOBS[job]) and "permissions" not in JOBS[job]


def test_only_the_main_branch_pushes_and_releases() -> None:
    assert JOBS["push"]["if"] == "github.event_name == 'push'"
    assert JOBS["push"]["needs"] == "test" and JOBS["release"]["needs"] == "push"
    assert "github.ref == 'refs/heads/main'" in JOBS["release"]["if"]
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True]["push"] == {"branches": ["main"]}


def test_the_images_of_the_workflow_are_those_of_the_repositories(client: Any) -> None:
    name = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["env"]["NAME"]
    pushed = {f"{name}-{task}" for task in JOBS["push"]["strategy"]["matrix"]["task"]}
    there = client("ecr").describe_repositories()["repositories"]
    assert pushed == {repository["repositoryName"] for repository in there}


def test_nothing_that_only_reports_keeps_an_image_from_being_released() -> None:
    steps = JOBS["push"]["steps"]
    (pushed,) = [n for n, step in enumerate(steps) if step.get("with", {}).get("push")]
    reports = steps[pushed + 1 :]
    assert any("image-scan" in step.get("run", "") for step in reports)
    assert all(step.get("continue-on-error") for step in reports)
    # They end before the job's own time does, which would count as a failure.
    (scan,) = [step for step in reports if "image-scan" in step.get("run", "")]
    assert scan["timeout-minutes"] < JOBS["push"]["timeout-minutes"]
    assert JOBS["release"]["needs"] == "push" and "push" not in str(JOBS["audit"].get("needs"))


def test_an_image_has_run_locked_down_before_it_is_pushed() -> None:
    steps = JOBS["push"]["steps"]
    names = [step.get("name") for step in steps]
    build, push = names.index("Build"), names.index("Push")
    (run,) = [n for n, step in enumerate(steps) if "docker run" in step.get("run", "")]
    assert build < run < push
    for option in ("--read-only", "--cap-drop all", "built --help"):
        assert option in steps[run]["run"]
    assert steps[build]["with"]["load"] and not steps[build]["with"].get("push")
    assert "PARAMS=${{ vars.PARAMS || 'params.yaml' }}" in steps[build]["with"]["build-args"]
    # The same image: what was built is pushed from the cache.
    same = ("context", "file", "build-args", "platforms")
    assert [steps[build]["with"][key] for key in same] == [steps[push]["with"][key] for key in same]


def test_every_action_is_pinned_to_a_commit() -> None:
    steps = [step for job in JOBS.values() for step in job["steps"] if "uses" in step]
    assert steps
    for step in steps:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
