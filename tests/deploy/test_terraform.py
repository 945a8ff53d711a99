"""The files of deploy/ by Terraform's own checks; last of the folder, as it takes all away."""

from __future__ import annotations

import json
import shutil
from typing import Any

from tests.deploy.conftest import DEPLOY, VALUES, Terraform
from tests.deploy.test_newcomer import commands, section
from tests.deploy.test_release import push


def test_the_files_are_formatted(terraform: Terraform) -> None:
    terraform.run("fmt", "-check", "-recursive", str(DEPLOY))


def test_the_files_are_valid(terraform: Terraform) -> None:
    terraform.run("validate")


def test_plans_say_what_they_should(cloud: Terraform) -> None:
    runs = (DEPLOY / "impress.tftest.hcl").read_text(encoding="utf-8").count('\nrun "')
    assert f"{runs} passed, 0 failed" in cloud.run("test", "-no-color")


def test_a_new_major_version_gets_its_parameter_group_first() -> None:
    # No plan tells the order, and moto takes minutes to make a database.
    database = (DEPLOY / "database.tf").read_text(encoding="utf-8")
    _, _, group = database.partition('resource "aws_db_parameter_group" "this" {')
    assert "create_before_destroy = true" in group.partition("\n}\n")[0]


def test_a_database_that_is_made_later_has_a_login(cloud: Terraform) -> None:
    there = json.loads((cloud.folder / "tests.json").read_text(encoding="utf-8"))["environment"]
    environment = json.dumps(
        {name: value for name, value in there.items() if name != "DB_HOSTNAME"}
    )
    planned = cloud.plan("-var=create_database=true", f"-var=environment={environment}")
    secrets = {each["name"]: each["actions"] for each in planned["aws_ssm_parameter.secret"]}
    assert secrets.pop("/impress/DB_USERNAME") == secrets.pop("/impress/DB_PASSWORD") == ["update"]
    assert secrets and all(actions == ["no-op"] for actions in secrets.values())
    assert [each["actions"] for each in planned["aws_db_instance.this"]] == [["create"]]


def test_another_database_password_is_written_to_both_at_once(cloud: Terraform) -> None:
    create = ("-var=create_database=true", '-var=environment={"DB_HOSTNAME":""}')
    versions = set()
    for number in (1, 2):
        planned = cloud.plan(*create, f'-var=database={{"password_version":{number}}}')
        (database,) = planned["aws_db_instance.this"]
        login = {
            each["value_wo_version"]
            for each in planned["aws_ssm_parameter.secret"]
            if each["name"].startswith("/impress/DB_")
        }
        assert login == {database["password_wo_version"]}
        versions |= login
    assert len(versions) == 2


def test_the_example_is_enough_for_a_plan(cloud: Terraform) -> None:
    cloud.run("plan", "-input=false", "-refresh=false", "-var-file=terraform.tfvars.example")


def test_destroy_is_refused_in_the_plan(client: Any, cloud: Terraform) -> None:
    push(client, "predict", "e" * 40)
    before = cloud.run("state", "list")
    options = ("-auto-approve", "-input=false", "-no-color", VALUES)
    cloud.run("destroy", *options, code=1)
    assert cloud.run("state", "list") == before
    assert client("scheduler").list_schedules()["Schedules"]
    assert client("ssm").get_parameter(Name="/impress/DB_PASSWORD")


def test_taking_down_leaves_nothing_behind(client: Any, cloud: Terraform) -> None:
    for command in commands(section("Taking it down")):
        words = command.split()
        if words[0] == "cp":
            shutil.copy(cloud.folder / words[1], cloud.folder / words[2])
        elif words[0] == "rm":
            (cloud.folder / words[1]).unlink()
        else:
            assert words[0] == "terraform"
            cloud.change(words[1], *words[2:])
    assert client("scheduler").list_schedules()["Schedules"] == []
    assert client("ecs").describe_clusters()["clusters"] == []
    assert client("ecr").describe_repositories()["repositories"] == []
    assert client("iam").list_roles()["Roles"] == []
    assert client("ssm").get_parameters_by_path(Path="/impress")["Parameters"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []
