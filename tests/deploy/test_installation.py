"""What the first apply has made, read back from AWS's side."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.deploy.conftest import Terraform
from tests.deploy.iam import allowed

WEEKLY, MONTHLY, TWICE_A_DAY = "cron(0 6 ? * MON *)", "cron(0 8 1 * ? *)", "rate(12 hours)"


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
    assert container["linuxParameters"]["initProcessEnabled"]
    options = container["logConfiguration"]["options"]
    assert options["mode"] == "blocking", "a line that is dropped is an alarm that is not raised"
    group = options["awslogs-group"]
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
    publishing = json.loads(attributes["Policy"])["Statement"]
    assert {part["Principal"]["Service"] for part in publishing} == {
        "events.amazonaws.com",
        "cloudwatch.amazonaws.com",
    }
    assert all("Condition" in part for part in publishing)


def test_silence_for_a_day_is_an_alarm(client: Any) -> None:
    alarms = client("cloudwatch").describe_alarms(AlarmNamePrefix="impress-unchecked")
    for alarm in alarms["MetricAlarms"]:
        assert alarm["Period"] * alarm["EvaluationPeriods"] == 86400
        assert (alarm["Statistic"], alarm["Threshold"]) == ("Sum", 1)
        assert alarm["ComparisonOperator"] == "LessThanThreshold"
        assert alarm["TreatMissingData"] == "breaching"


def test_a_failure_that_cannot_be_mailed_is_kept(client: Any) -> None:
    (target,) = client("events").list_targets_by_rule(Rule="impress-failed")["Targets"]
    queue = target["DeadLetterConfig"]["Arn"]
    assert queue.endswith(":impress-not-started")
    sqs = client("sqs")
    url = sqs.get_queue_url(QueueName="impress-not-started")["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
    (statement,) = json.loads(found["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    rule = client("events").describe_rule(Name="impress-failed")["Arn"]
    assert allowed([statement], "sqs:SendMessage", queue, {"aws:SourceArn": rule})
    assert not allowed([statement], "sqs:SendMessage", queue, {"aws:SourceArn": f"{rule}-2"})


def test_everything_that_can_have_tags_has_them(cloud: Terraform) -> None:
    resources = json.loads(cloud.run("show", "-json"))["values"]["root_module"]["resources"]
    taggable = [each for each in resources if "tags_all" in each["values"]]
    assert len(taggable) > 20
    for each in taggable:
        tags = each["values"]["tags_all"]
        assert tags["Application"] == "impress" and tags["CostCentre"] == "laundry", each["address"]


@pytest.mark.parametrize("wanted", [False, True])
def test_container_insights_are_a_choice(cloud: Terraform, wanted: bool) -> None:
    (cluster,) = cloud.plan(f"-var=container_insights={str(wanted).lower()}")[
        "aws_ecs_cluster.this"
    ]
    (setting,) = cluster["setting"]
    assert setting["name"] == "containerInsights"
    assert setting["value"] == ("enabled" if wanted else "disabled")
