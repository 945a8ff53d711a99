"""The rule that tells of failures, on events as ECS sends them."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

EVENT: dict[str, Any] = json.loads(
    Path(__file__).with_name("ecs_event.json").read_text(encoding="utf-8")
)


def event(container: dict[str, Any] | None, **detail: Any) -> dict[str, Any]:
    """A task's end with these fields; without a container it has never had one."""
    changed = deepcopy(EVENT)
    changed["detail"] |= detail
    if container is None:
        changed["detail"]["containers"] = []
        return changed
    changed["detail"]["containers"][0] |= container
    for name in [name for name, value in container.items() if value is None]:
        del changed["detail"]["containers"][0][name]
    return changed


def matches(pattern: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether EventBridge lets a message pass: as its documentation says, for what our rule uses.

    All keys of an object must match, one member of `$or` must, and of a list in the message one
    element; a field that is not there matches nothing.
    """
    for key, wanted in pattern.items():
        if key == "$or":
            if not any(matches(member, message) for member in wanted):
                return False
            continue
        found = message.get(key)
        values = found if isinstance(found, list) else [] if found is None else [found]
        if isinstance(wanted, dict):
            if not any(matches(wanted, value) for value in values):
                return False
        elif not any(_accepts(rule, value) for rule in wanted for value in values):
            return False
    return True


def _accepts(rule: Any, value: Any) -> bool:
    if not isinstance(rule, dict):
        return bool(rule == value)
    ((operator, operand),) = rule.items()
    assert operator == "anything-but", f"teach this matcher {operator}"
    return value not in operand


@pytest.fixture(name="pattern")
def fixture_pattern(client: Any) -> dict[str, Any]:
    """The rule's pattern as AWS has it."""
    rule: dict[str, Any] = client("events").describe_rule(Name="impress-failed")
    assert rule["State"] == "ENABLED"
    return dict(json.loads(rule["EventPattern"]))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(event({"exitCode": 1}), id="failed"),
        pytest.param(event({"exitCode": 3}), id="rows were rejected"),
        pytest.param(event({"exitCode": 137, "reason": "OutOfMemoryError"}), id="out of memory"),
        pytest.param(
            event(
                {"exitCode": None, "reason": "CannotPullContainerError"},
                stopCode="TaskFailedToStart",
            ),
            id="no image",
        ),
        pytest.param(event(None, stopCode="TaskFailedToStart"), id="no place for it"),
    ],
)
def test_a_task_that_failed_or_did_not_start_is_told(
    pattern: dict[str, Any], failure: dict[str, Any]
) -> None:
    assert matches(pattern, failure)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(event({}), id="done"),
        pytest.param(event({"exitCode": None}, lastStatus="RUNNING", stopCode=None), id="running"),
        pytest.param(
            event({"exitCode": None}, stopCode="UserInitiated"), id="stopped by hand early"
        ),
        pytest.param(
            event(
                {"exitCode": 1}, clusterArn="arn:aws:ecs:eu-central-1:123456789012:cluster/other"
            ),
            id="another cluster",
        ),
        pytest.param({**event({"exitCode": 1}), "source": "aws.batch"}, id="another service"),
    ],
)
def test_nobody_is_woken_for_anything_else(pattern: dict[str, Any], other: dict[str, Any]) -> None:
    assert not matches(pattern, other)


def test_the_message_says_what_failed_and_where(client: Any) -> None:
    (target,) = client("events").list_targets_by_rule(Rule="impress-failed")["Targets"]
    assert target["Arn"].endswith(":impress-alarms")
    transformer = target["InputTransformer"]
    failure = event({"exitCode": 1})
    message = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value: Any = failure
        for step in re.findall(r"\w+", path):
            value = value[int(step)] if step.isdigit() else value[step]
        message = message.replace(f"<{name}>", str(value))
    assert not re.search("<[a-z]", message), "a name in the template has no path"
    assert "impress ['predict'] failed" in message and "exit code 1" in message
    assert failure["detail"]["taskArn"] in message
    # EventBridge takes a template of several lines where each is a string of JSON.
    for line in message.splitlines():
        assert isinstance(json.loads(line), str)
