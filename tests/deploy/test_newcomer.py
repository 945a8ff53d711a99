"""The commands of deploy/README.md, as somebody types them whose shell is set to another region."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.deploy.conftest import DEPLOY, REGION, ROOT, Terraform

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
ELSEWHERE = "us-east-1"
SECRET = "-begins/with a hyphen"
# Started by the README in this order: task, and words after `impress`.
STARTED = [
    ("predict", ["init"]),
    ("predict", ["predict"]),
    ("predict", ["status", "--max-age", "8d"]),
    ("monitor", ["monitor", "--always-mail"]),
]


def section(beginning: str) -> str:
    """A section of the second level, or a numbered step, by how it begins."""
    parts = re.split(r"^(?:## |\*\*)", README, flags=re.M)
    return next(part for part in parts if part.startswith(beginning))


def script(text: str) -> str:
    """The first block of commands in a text."""
    found = re.search(r"```bash\n(.*?)```", text, re.S)
    assert found, "no block"
    return found[1]


def commands(text: str) -> list[str]:
    """Lines of the first block, without remarks."""
    lines = (line.partition("#")[0].strip() for line in script(text).splitlines())
    return [line for line in lines if line]


def bash(cloud: Terraform, block: str, typed: str = "") -> str:
    """Run a block in deploy/, with bash, in a shell whose region is another."""
    if missing := [name for name in ("bash", "aws", "jq") if shutil.which(name) is None]:
        pytest.skip(f"there is no {', '.join(missing)} on this machine (deploy/README.md needs it)")
    environment = {**cloud.environment, "AWS_DEFAULT_REGION": ELSEWHERE}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=cloud.folder,
        env=environment,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_of_commands_is_one_that_bash_understands() -> None:
    for block in re.findall(r"```(\w*)\n(.*?)```", README, re.S):
        if block[0] in ("sh", "bash"):
            assert block[0] == "bash", "`read -s` and functions are not for every shell"
            subprocess.run(["bash", "-n"], input=block[1].encode(), check=True)


def test_secrets_are_put_where_the_tasks_are(client: Any, cloud: Terraform) -> None:
    names = json.loads(cloud.run("output", "-json", "secrets"))
    assert len(names) > 3
    printed = bash(cloud, script(section("2. ")), f"{SECRET}\n" * len(names))
    assert printed.rstrip().endswith("[]"), "none is missing"
    ssm = client("ssm", region_name=REGION)
    for name in names:
        found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        assert (found["Value"], found["Type"]) == (SECRET, "SecureString")
        (described,) = ssm.describe_parameters(
            ParameterFilters=[{"Key": "Name", "Values": [name]}]
        )["Parameters"]
        assert described["KeyId"] == "alias/aws/ssm"
    assert client("ssm", region_name=ELSEWHERE).describe_parameters()["Parameters"] == []


def test_everything_is_started_where_the_tasks_are(client: Any, cloud: Terraform) -> None:
    block = script(section("4. "))
    assert block.count("--follow") == 1
    block = re.sub(r"^aws logs tail.*\n", "", block, flags=re.M)  # follows until Ctrl-C
    arns = bash(cloud, block).split()
    ecs = client("ecs", region_name=REGION)
    tasks = {
        task["taskArn"]: task for task in ecs.describe_tasks(cluster="impress", tasks=arns)["tasks"]
    }
    started = []
    for arn in arns:
        (override,) = tasks[arn]["overrides"]["containerOverrides"]
        started.append((override["name"], override["command"]))
    assert started == STARTED
    assert client("ecs", region_name=ELSEWHERE).list_clusters()["clusterArns"] == []


def test_the_variables_of_the_repository_are_those_of_the_workflow(cloud: Terraform) -> None:
    variables = json.loads(cloud.run("output", "-json", "github_variables"))
    assert variables["AWS_REGION"] == REGION and ":role/impress-github" in variables["AWS_ROLE_ARN"]


@pytest.mark.parametrize(
    "file", re.findall(r"^\| `([\w.-]+)`", README.partition("## Req")[0], re.M)
)
def test_a_file_that_is_listed_is_there(file: str) -> None:
    assert (ROOT / "deploy" / file).exists()
