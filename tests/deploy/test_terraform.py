"""The files of deploy/ by Terraform's own checks; last of the folder, as it takes all away."""

from __future__ import annotations

from typing import Any

from tests.deploy.conftest import DEPLOY, Terraform


def test_the_files_are_formatted(terraform: Terraform) -> None:
    terraform.run("fmt", "-check", "-recursive", str(DEPLOY))


def test_the_files_are_valid(terraform: Terraform) -> None:
    terraform.run("validate")


def test_plans_say_what_they_should(cloud: Terraform) -> None:
    assert "5 passed, 0 failed" in cloud.run("test", "-no-color")


def test_the_example_is_enough_for_a_plan(cloud: Terraform) -> None:
    cloud.run("plan", "-input=false", "-refresh=false", "-var-file=terraform.tfvars.example")


def test_destroy_leaves_nothing_behind(client: Any, cloud: Terraform) -> None:
    cloud.change("destroy", "-refresh=false")
    assert client("scheduler").list_schedules()["Schedules"] == []
    assert client("ecs").describe_clusters()["clusters"] == []
    assert client("ecr").describe_repositories()["repositories"] == []
    assert client("iam").list_roles()["Roles"] == []
    assert client("ssm").get_parameters_by_path(Path="/impress")["Parameters"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []
    assert client("cloudwatch").describe_alarms()["MetricAlarms"] == []
