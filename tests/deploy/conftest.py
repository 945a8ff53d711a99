"""deploy/ applied by the real Terraform to moto's AWS on loopback, once for all tests here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from src.settings import Settings
from tests.processes import answers, free_port, running, wait_for

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Set by the images: where they write, where params.yaml is, and which commit they are.
OF_THE_IMAGE = {"IMPRESS_HOME", "IMPRESS_PARAMS", "GIT_HASH"}
OF_TRAINING = {"MODEL_SIGNING_KEY"}  # where models are trained, which is not here
REGION = "eu-central-1"
ACCOUNT = "123456789012"  # moto's
VALUES = "-var-file=tests.json"
# What Terraform looks into; any other variable is handed on as it is.
LOOKED_INTO = {
    "DB_PORT": "5433",
    "SMTP_PORT": "2587",
    "RAW_ARCHIVE": "s3://bucket/raw/",
}
PAGES = f"impress-page-{ACCOUNT}"  # the bucket that Terraform makes


@dataclass(frozen=True)
class Terraform:
    """Terraform in a copy of deploy/, with a provider."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end, which must be the exit code `code`. Returns what it printed."""
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"terraform {arguments[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def change(self, command: str, *arguments: str) -> str:
        """apply or destroy, without questions."""
        options = ("-auto-approve", "-input=false", "-no-color", "-parallelism=20", VALUES)
        return self.run(command, *options, *arguments)

    def plan(self, *arguments: str) -> dict[str, list[dict[str, Any]]]:
        """What everything would be after an apply: values by type and name of a resource."""
        self.run("plan", "-input=false", "-out=plan", "-no-color", VALUES, *arguments)
        planned = json.loads(self.run("show", "-json", "plan"))["resource_changes"]
        found: dict[str, list[dict[str, Any]]] = {}
        for change in planned:
            values = {**(change["change"]["after"] or {}), "actions": change["change"]["actions"]}
            found.setdefault(f"{change['type']}.{change['name']}", []).append(values)
        return found


@pytest.fixture(name="aws", scope="session")
def fixture_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A moto server of the tests' own; the environment that makes it AWS."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log_file = tmp_path_factory.mktemp("moto") / "log"
    recorded = {**os.environ, "MOTO_RECORDER_FILEPATH": str(log_file.with_name("recorded"))}
    with (
        log_file.open("wb") as log,
        running(command, env=recorded, stdout=log, stderr=log) as process,
    ):
        wait_for(
            lambda: answers(f"{url}/moto-api/"),
            f"an answer of moto, whose log is {log_file}",
            alive=lambda: process.poll() is None,
        )
        yield {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }


@pytest.fixture(name="terraform", scope="session")
def fixture_terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform with its provider, from the folder TF_PLUGIN_DIR or from the network.

    Its variables give a value to everything that is not secret.
    """
    if shutil.which("terraform") is None:
        pytest.skip("there is no terraform on this machine (https://developer.hashicorp.com)")
    folder = tmp_path_factory.mktemp("terraform") / "deploy"
    shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    names = plain_names() - OF_THE_IMAGE - {"PAGE_TARGET"}
    variables = {
        "region": REGION,
        "alarm_email": "laboratory@example.org",
        "github_repository": "example/impress",
        "database_cidr": "203.0.113.7/32",
        "github_ids": {"owner": 123456, "repository": 456789},
        "tags": {"CostCentre": "laundry"},
        "pages": True,
        "environment": {name: LOOKED_INTO.get(name, name.lower()) for name in sorted(names)},
    }
    (folder / "tests.json").write_text(json.dumps(variables), encoding="utf-8")
    environment = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}
    if not Path(environment.get("TF_CLI_CONFIG_FILE", os.devnull)).exists():
        environment["TF_CLI_CONFIG_FILE"] = os.devnull
    terraform = Terraform(folder, environment)
    plugins = os.environ.get("TF_PLUGIN_DIR")
    if plugins:
        terraform.run("init", "-input=false", f"-plugin-dir={plugins}")
    elif not answers("https://registry.terraform.io/.well-known/terraform.json"):
        pytest.skip("no AWS provider: no registry.terraform.io, and TF_PLUGIN_DIR names no folder")
    else:
        terraform.run("init", "-input=false")
    return terraform


@pytest.fixture(name="cloud", scope="session")
def fixture_cloud(terraform: Terraform, aws: dict[str, str]) -> Terraform:
    """Terraform after its first apply."""
    applied = Terraform(terraform.folder, {**terraform.environment, **aws})
    applied.change("apply")
    return applied


def secret_names() -> set[str]:
    """Variables of the tasks that go to the parameter store: secrets, and user names to them."""
    names = {
        name.upper()
        for name, field in dict(Settings.model_fields).items()
        if "SecretStr" in str(field.annotation) or name.endswith("_username")
    }
    return names - {"EMAIL_USERNAME"} - OF_TRAINING


def plain_names() -> set[str]:
    """All other variables of the tasks."""
    return {name.upper() for name in dict(Settings.model_fields)} - secret_names() - OF_TRAINING


@pytest.fixture(name="client")
def fixture_client(cloud: Terraform, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Clients of the AWS that Terraform has filled, by the name of the service."""
    for name, value in cloud.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return boto3.client
