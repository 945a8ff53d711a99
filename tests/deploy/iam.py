"""What IAM decides on policies such as ours, for the operators that they use.

After AWS's "Policy evaluation logic", for one account and identity policies that only allow: a call
is allowed if a statement names its action and its resource and all of its conditions hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

Statement = dict[str, Any]


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as its member."""
    return list(value) if isinstance(value, list) else [value]


def allowed(
    statements: Iterable[Statement],
    action: str,
    resource: str = "*",
    context: Mapping[str, str] | None = None,
) -> bool:
    """Whether a call is allowed.

    Args:
        resource: ARN that the call is about; `*` for a call that AWS grants for everything only.
        context: values of condition keys; one that is not there equals nothing.
    """
    return any(
        _names(statement, action, resource) and conditions_hold(statement, context or {})
        for statement in statements
    )


def _names(statement: Statement, action: str, resource: str) -> bool:
    assert statement["Effect"] == "Allow", "teach this evaluator Deny"
    actions = any(like(action.lower(), each.lower()) for each in listed(statement["Action"]))
    return actions and any(like(resource, each) for each in listed(statement["Resource"]))


def conditions_hold(statement: Statement, context: Mapping[str, str]) -> bool:
    """Whether all conditions of a statement hold; of several values of one key any will do."""
    for operator, keys in statement.get("Condition", {}).items():
        assert operator in ("StringEquals", "ArnEquals"), f"teach this evaluator {operator}"
        for key, wanted in keys.items():
            given = context.get(key)
            same = like if operator == "ArnEquals" else str.__eq__
            if given is None or not any(same(given, value) for value in listed(wanted)):
                return False
    return True


def like(value: str, pattern: str) -> bool:
    """Whether a value matches a pattern, in which * and ? are the only wildcards."""
    return fnmatchcase(value, pattern.replace("[", "[[]"))
