"""What each role may do: the calls that AWS asks it for, and those that it must not make.

The policies are those that Terraform has written; IAM is played by `tests/deploy/iam.py`.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import boto3
import pytest

from tests.deploy.conftest import ACCOUNT, PAGES, REGION, Terraform
from tests.deploy.iam import Statement, allowed, conditions_hold, like, listed

GITHUB = "token.actions.githubusercontent.com"
ROLES = ("execution", "task", "scheduler", "github")
# AWS grants these for everything or not at all.
WITHOUT_RESOURCES = {"ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition"}
NO_CALLS = {"iam:PassRole"}  # asked for by other calls


def arn(service: str, name: str, region: str = REGION) -> str:
    """An ARN of this account."""
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{name}"


REPOSITORY = arn("ecr", "repository/impress-predict")
DEFINITION = arn("ecs", "task-definition/impress-monitor:7")
LOGS = arn("logs", "log-group:/ecs/impress-predict:log-stream:run/predict/0123abc")
SECRET = arn("ssm", "parameter/impress/DB_PASSWORD")
IMAGE_TAG = arn("ssm", "parameter/impress/image_tag")
EXECUTION, TASK = (arn("iam", f"role/impress-{role}", region="") for role in ROLES[:2])
TO_ECS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
IN_CLUSTER = {"ecs:cluster": arn("ecs", "cluster/impress")}
QUEUE = arn("sqs", "impress-not-started")
RAW = "arn:aws:s3:::bucket/raw/1-1-abc.parquet"
PAGE = f"arn:aws:s3:::{PAGES}/index.html"

MUST = [
    ("execution", "ecr:GetAuthorizationToken", "*", {}),
    ("execution", "ecr:BatchGetImage", REPOSITORY, {}),
    ("execution", "ecr:GetDownloadUrlForLayer", REPOSITORY, {}),
    ("execution", "ecr:BatchCheckLayerAvailability", REPOSITORY, {}),
    ("execution", "logs:CreateLogStream", LOGS, {}),
    ("execution", "logs:PutLogEvents", LOGS, {}),
    ("execution", "ssm:GetParameters", SECRET, {}),
    ("task", "s3:PutObject", RAW, {}),
    ("task", "s3:AbortMultipartUpload", RAW, {}),
    ("task", "s3:PutObject", PAGE, {}),
    ("task", "s3:AbortMultipartUpload", PAGE, {}),
    ("scheduler", "ecs:RunTask", DEFINITION, IN_CLUSTER),
    ("scheduler", "iam:PassRole", EXECUTION, TO_ECS),
    ("scheduler", "iam:PassRole", TASK, TO_ECS),
    ("scheduler", "sqs:SendMessage", QUEUE, {}),
    ("github", "ecr:GetAuthorizationToken", "*", {}),
    ("github", "ecr:PutImage", REPOSITORY, {}),
    ("github", "ecr:InitiateLayerUpload", REPOSITORY, {}),
    ("github", "ecr:UploadLayerPart", REPOSITORY, {}),
    ("github", "ecr:CompleteLayerUpload", REPOSITORY, {}),
    ("github", "ecr:DescribeImageScanFindings", REPOSITORY, {}),
    ("github", "ecs:DescribeTaskDefinition", "*", {}),
    ("github", "ecs:RegisterTaskDefinition", arn("ecs", "task-definition/impress-predict:*"), {}),
    ("github", "ecs:TagResource", arn("ecs", "task-definition/impress-predict:8"), {}),
    ("github", "iam:PassRole", EXECUTION, TO_ECS),
    ("github", "ssm:PutParameter", IMAGE_TAG, {}),
]
MUST_NOT = [
    ("execution", "ecr:PutImage", REPOSITORY, {}),
    ("execution", "ecr:BatchGetImage", arn("ecr", "repository/other"), {}),
    ("execution", "ssm:GetParameters", arn("ssm", "parameter/other/DB_PASSWORD"), {}),
    ("execution", "ssm:GetParameters", IMAGE_TAG, {}),
    ("execution", "ssm:PutParameter", SECRET, {}),
    ("execution", "kms:Decrypt", arn("kms", "key/other"), {}),
    ("execution", "logs:PutLogEvents", arn("logs", "log-group:/ecs/other:log-stream:run"), {}),
    ("task", "ssm:GetParameters", SECRET, {}),
    ("task", "s3:GetObject", RAW, {}),
    ("task", "s3:GetObject", PAGE, {}),
    ("task", "s3:PutObject", f"arn:aws:s3:::{PAGES}-2/index.html", {}),
    ("task", "s3:DeleteObject", RAW, {}),
    ("task", "s3:PutObject", "arn:aws:s3:::bucket/rawer/file", {}),
    ("task", "s3:PutObject", "arn:aws:s3:::bucket/other", {}),
    ("scheduler", "ecs:RunTask", DEFINITION, {"ecs:cluster": arn("ecs", "cluster/other")}),
    ("scheduler", "ecs:RunTask", arn("ecs", "task-definition/other:1"), IN_CLUSTER),
    ("scheduler", "ecs:RunTask", arn("ecs", "task-definition/impress-predict-2:1"), IN_CLUSTER),
    ("scheduler", "iam:PassRole", TASK, {"iam:PassedToService": "lambda.amazonaws.com"}),
    ("scheduler", "iam:PassRole", arn("iam", "role/admin", region=""), TO_ECS),
    ("scheduler", "sqs:ReceiveMessage", QUEUE, {}),
    ("github", "ecr:BatchDeleteImage", REPOSITORY, {}),
    ("github", "ecr:PutImage", arn("ecr", "repository/other"), {}),
    ("github", "ecr:PutImageTagMutability", REPOSITORY, {}),
    ("github", "ecs:RunTask", DEFINITION, IN_CLUSTER),
    ("github", "ecs:RegisterTaskDefinition", arn("ecs", "task-definition/other:1"), {}),
    ("github", "ecs:DeregisterTaskDefinition", DEFINITION, {}),
    ("github", "iam:PassRole", EXECUTION, {"iam:PassedToService": "lambda.amazonaws.com"}),
    ("github", "iam:PassRole", arn("iam", "role/impress-scheduler", region=""), TO_ECS),
    ("github", "ssm:PutParameter", SECRET, {}),
    ("github", "ssm:GetParameters", SECRET, {}),
]

# As GitHub's documentation writes them.
OLD = "repo:example/impress:ref:refs/heads/main"
IMMUTABLE = "repo:example@123456/impress@456789:ref:refs/heads/main"
STRANGERS = [
    "repo:example/impress:pull_request",
    "repo:example@123456/impress@456789:pull_request",
    "repo:example/impress:ref:refs/heads/other",
    "repo:example@123456/impress@456789:ref:refs/heads/main2",
    "repo:example@123456/impress@1:ref:refs/heads/main",
    "repo:example@1/impress@456789:ref:refs/heads/main",
    "repo:somebody/impress:ref:refs/heads/main",
    "repo:example/impress:environment:production",
]


def statements(client: Any, role: str) -> list[Statement]:
    """All that a role may do."""
    iam = client("iam")
    name = f"impress-{role}"
    documents = [
        iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
    ]
    for part in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        policy = iam.get_policy(PolicyArn=part["PolicyArn"])["Policy"]
        version = iam.get_policy_version(
            PolicyArn=part["PolicyArn"], VersionId=policy["DefaultVersionId"]
        )
        documents.append(version["PolicyVersion"]["Document"])
    parsed = [json.loads(unquote(d)) if isinstance(d, str) else d for d in documents]
    return [statement for document in parsed for statement in document["Statement"]]


def trust(client: Any, role: str) -> Statement:
    """Who may take a role."""
    found = client("iam").get_role(RoleName=f"impress-{role}")["Role"]
    (statement,) = found["AssumeRolePolicyDocument"]["Statement"]
    return dict(statement)


@pytest.mark.parametrize("role, action, resource, context", MUST)
def test_a_role_may_do_what_its_work_needs(
    client: Any, role: str, action: str, resource: str, context: dict[str, str]
) -> None:
    assert allowed(statements(client, role), action, resource, context)


@pytest.mark.parametrize("role, action, resource, context", MUST_NOT)
def test_a_role_may_not_do_anything_else(
    client: Any, role: str, action: str, resource: str, context: dict[str, str]
) -> None:
    assert not allowed(statements(client, role), action, resource, context)


@pytest.mark.parametrize("role", ROLES)
def test_every_action_that_is_allowed_exists_and_is_needed(client: Any, role: str) -> None:
    needed = {entry[:2] for entry in MUST}
    for statement in statements(client, role):
        for action in listed(statement["Action"]):
            service, _, operation = action.partition(":")
            assert action in NO_CALLS or operation in operations(service), action
            assert (role, action) in needed or operation.startswith(
                ("Batch", "Describe", "Get", "List")
            )


def operations(service: str) -> set[str]:
    """All calls of a service, as AWS publishes them with its library."""
    return set(boto3.client(service, region_name=REGION).meta.service_model.operation_names)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_names_what_it_may_touch(client: Any, role: str) -> None:
    for statement in statements(client, role):
        actions = set(listed(statement["Action"]))
        assert not any("*" in action for action in actions)
        for resource in listed(statement["Resource"]):
            assert resource != "*" or actions <= WITHOUT_RESOURCES


@pytest.mark.parametrize(
    "role, service",
    [("execution", "ecs-tasks"), ("task", "ecs-tasks"), ("scheduler", "scheduler")],
)
def test_a_role_is_taken_by_its_service_for_this_account_only(
    client: Any, role: str, service: str
) -> None:
    found = trust(client, role)
    assert found["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert conditions_hold(found, {"aws:SourceAccount": ACCOUNT})
    assert not conditions_hold(found, {"aws:SourceAccount": "210987654321"})
    assert not conditions_hold(found, {})


def token(subject: str, audience: str = "sts.amazonaws.com") -> dict[str, str]:
    """What a workflow shows."""
    return {f"{GITHUB}:sub": subject, f"{GITHUB}:aud": audience}


@pytest.mark.parametrize("subject", [OLD, IMMUTABLE])
def test_the_branch_is_let_in_whichever_way_github_names_it(client: Any, subject: str) -> None:
    found = trust(client, "github")
    assert found["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert found["Principal"]["Federated"].endswith(f"oidc-provider/{GITHUB}")
    assert conditions_hold(found, token(subject))
    assert not conditions_hold(found, token(subject, audience="other"))


@pytest.mark.parametrize("subject", STRANGERS)
def test_nobody_else_is_let_in(client: Any, subject: str) -> None:
    assert not conditions_hold(trust(client, "github"), token(subject))


def test_no_subject_has_a_wildcard(client: Any) -> None:
    assert set(trust(client, "github")["Condition"]) == {"StringEquals"}


def test_with_a_key_of_ones_own_only_the_start_of_a_task_reads_secrets(cloud: Terraform) -> None:
    key = arn("kms", "key/0123")
    planned = cloud.plan(f"-var=kms_key_arn={key}")
    secrets = planned["aws_ssm_parameter.secret"]
    assert secrets and all(after["key_id"] == key for after in secrets)
    # A key takes effect with a value only, which Terraform writes for another version.
    assert all(after["value_wo_version"] > 1000000 for after in secrets)
    (policy,) = planned["aws_iam_role_policy.execution"]
    found = json.loads(policy["policy"])["Statement"]
    through_ssm = {"kms:ViaService": f"ssm.{REGION}.amazonaws.com"}
    assert allowed(found, "kms:Decrypt", key, through_ssm)
    assert not allowed(found, "kms:Decrypt", key, {"kms:ViaService": "s3.amazonaws.com"})
    assert not allowed(found, "kms:Decrypt", arn("kms", "key/other"), through_ssm)


@pytest.mark.parametrize(
    "value, pattern, same",
    [
        ("ecr:PutImage", "ecr:*", True),
        ("a/b:1", "a/b:*", True),
        ("a/b-2:1", "a/b:*", False),
        ("[a]", "[a]", True),
        ("a", "[a]", False),
    ],
)
def test_wildcards_are_those_of_iam(value: str, pattern: str, same: bool) -> None:
    assert like(value, pattern) is same
