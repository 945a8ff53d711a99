"""What the first apply has made, read back from AWS's side."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest

# AWS grants these for everything or not at all.
WITHOUT_RESOURCES = {"ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition"}
WEEKLY, MONTHLY, TWICE_A_DAY = "cron(0 6 ? * MON *)", "cron(0 8 1 * ? *)", "rate(12 hours)"


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as its member."""
    return list(value) if isinstance(value, list) else [value]


def statements(client: Any, role: str) -> list[dict[str, Any]]:
    """All that a role may do."""
    iam = client("iam")
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]
    for part in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        policy = iam.get_policy(PolicyArn=part["PolicyArn"])["Policy"]
        version = iam.get_policy_version(
            PolicyArn=part["PolicyArn"], VersionId=policy["DefaultVersionId"]
        )
        documents.append(version["PolicyVersion"]["Document"])
    parsed = [json.loads(unquote(d)) if isinstance(d, str) else d for d in documents]
    return [statement for document in parsed for statement in document["Statement"]]


@pytest.mark.parametrize("role", ("execution", "task", "scheduler", "github"))
def test_a_role_names_what_it_may_touch(client: Any, role: str) -> None:
    found = statements(client, f"impress-{role}")
    assert found
    for statement in found:
        actions = set(listed(statement["Action"]))
        assert statement["Effect"] == "Allow" and not any("*" in action for action in actions)
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert actions <= WITHOUT_RESOURCES
            else:
                named = ":s3:::bucket/raw/*" if role == "task" else "impress"
                assert named in resource, f"{resource} is not ours"
        if "iam:PassRole" in actions:
            to = statement["Condition"]["StringEquals"]["iam:PassedToService"]
            assert to == "ecs-tasks.amazonaws.com"


@pytest.mark.parametrize(
    "role, service",
    [("execution", "ecs-tasks"), ("task", "ecs-tasks"), ("scheduler", "scheduler")],
)
def test_a_role_is_taken_by_its_service_for_this_account_only(
    client: Any, role: str, service: str
) -> None:
    (trust,) = client("iam").get_role(RoleName=f"impress-{role}")["Role"][
        "AssumeRolePolicyDocument"
    ]["Statement"]
    assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_github_is_let_in_from_one_branch_of_one_repository(client: Any) -> None:
    (trust,) = client("iam").get_role(RoleName="impress-github")["Role"][
        "AssumeRolePolicyDocument"
    ]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": "repo:example/impress:ref:refs/heads/main",
        }
    }


def test_images_cannot_be_replaced_and_are_scanned_and_few(client: Any) -> None:
    ecr = client("ecr")
    repositories = ecr.describe_repositories()["repositories"]
    assert len(repositories) == 2
    for repository in repositories:
        assert repository["imageTagMutability"] == "IMMUTABLE"
        assert repository["imageScanningConfiguration"]["scanOnPush"]
        name = repository["repositoryName"]
        policy = ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"]
        assert all(rule["action"] == {"type": "expire"} for rule in json.loads(policy)["rules"])


@pytest.mark.parametrize("task", ("predict", "monitor"))
def test_a_task_is_shut_in(client: Any, task: str) -> None:
    definition = client("ecs").describe_task_definition(taskDefinition=f"impress-{task}")
    definition = definition["taskDefinition"]
    (container,) = definition["containerDefinitions"]
    assert definition["requiresCompatibilities"] == ["FARGATE"]
    assert definition["networkMode"] == "awsvpc"
    assert definition["executionRoleArn"].endswith(":role/impress-execution")
    assert definition["taskRoleArn"].endswith(":role/impress-task")
    assert container["readonlyRootFilesystem"] and container["user"] not in ("0", "root")
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    assert (str(container["cpu"]), str(container["memory"])) == (
        definition["cpu"],
        definition["memory"],
    )
    group = container["logConfiguration"]["options"]["awslogs-group"]
    (kept,) = client("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert kept["retentionInDays"] == 90


def test_nothing_reaches_the_tasks_and_they_reach_little(client: Any) -> None:
    groups = client("ec2").describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["impress-tasks"]}]
    )
    (group,) = groups["SecurityGroups"]
    assert group["IpPermissions"] == []
    out = {
        (rule["FromPort"], rule["ToPort"], *(part["CidrIp"] for part in rule["IpRanges"]))
        for rule in group["IpPermissionsEgress"]
    }
    assert out == {
        (443, 443, "0.0.0.0/0"),
        (2587, 2587, "0.0.0.0/0"),
        (5433, 5433, "203.0.113.7/32"),
    }


@pytest.mark.parametrize(
    "start, task, expression, command",
    [
        ("predict", "predict", WEEKLY, "predict"),
        ("monitor", "monitor", MONTHLY, "monitor"),
        ("check-predict", "predict", TWICE_A_DAY, "status --pipeline predict --max-age 8d"),
        ("check-monitor", "predict", TWICE_A_DAY, "status --pipeline monitor --max-age 33d"),
    ],
)
def test_a_schedule_starts_the_newest_revision_and_leaves_word_where_it_cannot(
    client: Any, start: str, task: str, expression: str, command: str
) -> None:
    schedule = client("scheduler").get_schedule(Name=f"impress-{start}")
    target = schedule["Target"]
    assert schedule["State"] == "ENABLED"
    assert schedule["ScheduleExpression"] == expression
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert target["RoleArn"].endswith(":role/impress-scheduler")
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 5}
    assert target["DeadLetterConfig"]["Arn"].endswith(":impress-not-started")
    family = target["EcsParameters"]["TaskDefinitionArn"]
    assert family.endswith(f":task-definition/impress-{task}")
    (override,) = json.loads(target["Input"])["containerOverrides"]
    assert override == {"name": task, "command": command.split()}
    network = target["EcsParameters"]["NetworkConfiguration"]["awsvpcConfiguration"]
    assert len(network["Subnets"]) == 2 and len(network["SecurityGroups"]) == 1
    # What the scheduler will ask of ECS is possible, which moto tries as AWS would.
    started = client("ecs").run_task(
        cluster=target["Arn"],
        taskDefinition=family,
        launchType=target["EcsParameters"]["LaunchType"],
        overrides=json.loads(target["Input"]),
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": network["Subnets"],
                "securityGroups": network["SecurityGroups"],
                "assignPublicIp": network["AssignPublicIp"],
            }
        },
    )
    newest = client("ecs").describe_task_definition(taskDefinition=f"impress-{task}")
    assert [part["taskDefinitionArn"] for part in started["tasks"]] == [
        newest["taskDefinition"]["taskDefinitionArn"]
    ]


def test_every_alarm_reaches_the_one_address(client: Any) -> None:
    (topic,) = client("sns").list_topics()["Topics"]
    subscriptions = client("sns").list_subscriptions_by_topic(TopicArn=topic["TopicArn"])
    (subscription,) = subscriptions["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == (
        "email",
        "laboratory@example.org",
    )
    alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert {alarm["AlarmName"] for alarm in alarms} == {
        "impress-not-started",
        "impress-unchecked-predict",
        "impress-unchecked-monitor",
    }
    assert all(alarm["AlarmActions"] == [topic["TopicArn"]] for alarm in alarms)
    attributes = client("sns").get_topic_attributes(TopicArn=topic["TopicArn"])["Attributes"]
    allowed = json.loads(attributes["Policy"])["Statement"]
    assert {part["Principal"]["Service"] for part in allowed} == {
        "events.amazonaws.com",
        "cloudwatch.amazonaws.com",
    }
    assert all("Condition" in part for part in allowed)


def test_silence_for_a_day_is_an_alarm(client: Any) -> None:
    alarms = client("cloudwatch").describe_alarms(AlarmNamePrefix="impress-unchecked")
    for alarm in alarms["MetricAlarms"]:
        assert alarm["Period"] * alarm["EvaluationPeriods"] == 86400
        assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1)
        assert alarm["ComparisonOperator"] == "LessThanThreshold"
        assert alarm["TreatMissingData"] == "breaching"
