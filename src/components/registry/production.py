"""Which version is Production, how it came about, and the way back.

Production is an alias; on a server without aliases it is the stage of that name. The history of
changes is kept in tags of the registered model.
"""

from __future__ import annotations

import getpass
import json
import os
from datetime import UTC, datetime

from src.components.registry.versions import Registry, Version, as_version, reachable
from src.errors import NoModel

PRODUCTION = "Production"
PROMOTED, ROLLED_BACK = "promoted", "rolled back"
HISTORY = "production."  # begins the tags that keep the history


def production(registry: Registry) -> Version | None:
    """The version that predicts, None when none was promoted yet."""
    from mlflow.exceptions import MlflowException

    with reachable(registry.settings):
        if not registry.is_registered():
            return None
        try:
            found = registry.client.get_model_version_by_alias(registry.name, PRODUCTION)
            return as_version(found)
        except MlflowException as error:
            if error.error_code not in ("INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND"):
                raise
        staged = registry.client.search_model_versions(f"name='{registry.name}'")
        in_stage = [version for version in staged if version.current_stage == PRODUCTION]
        return as_version(in_stage[0]) if in_stage else None


def promote(registry: Registry, number: str, why: str) -> None:
    """Make a version Production and note why in the history."""
    _note(registry, PROMOTED, number, why)
    _point_production_at(registry, number)


def rollback(registry: Registry) -> str:
    """Make the version that was Production before the present one Production again.

    A version that was rolled back from no longer counts as having been Production, so a second
    rollback goes further back instead of forth.

    Returns:
        Its number.

    Raises:
        NoModel: when there is none.
    """
    current = production(registry)
    present = current.number if current else ""
    served: list[str] = []
    for entry in history(registry):
        if entry["event"] == ROLLED_BACK:
            served = _up_to_last(entry["version"], served)
        else:
            served.append(entry["version"])
    # An interrupted change, or one made by other means, leaves the history behind the alias.
    served = _up_to_last(present, served)
    earlier = [number for number in served if number != present]
    if not present or not earlier:
        raise NoModel(f"no version of {registry.name} was Production before the present one")
    _note(registry, ROLLED_BACK, earlier[-1], f"from version {present}")
    _point_production_at(registry, earlier[-1])
    return earlier[-1]


def history(registry: Registry) -> list[dict[str, str]]:
    """What became Production when, oldest first: at, event, version, by, why."""
    with reachable(registry.settings):
        models = registry.client.search_registered_models(f"name='{registry.name}'")
    tags = models[0].tags if models else {}
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith(HISTORY)]


def _note(registry: Registry, event: str, number: str, why: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    by = registry.settings.mlflow_tracking_username or _user()
    entry = {"at": now, "event": event, "version": number, "by": by, "why": why[:1000]}
    key = f"{HISTORY}{now.replace('+00:00', 'Z').replace(':', '')}"
    with reachable(registry.settings):
        registry.client.set_registered_model_tag(registry.name, key, json.dumps(entry))


def _point_production_at(registry: Registry, number: str) -> None:
    from mlflow.exceptions import MlflowException

    with reachable(registry.settings):
        try:
            registry.client.set_registered_model_alias(registry.name, PRODUCTION, number)
        except MlflowException as error:
            if error.error_code != "ENDPOINT_NOT_FOUND":
                raise
            registry.client.transition_model_version_stage(
                registry.name, number, PRODUCTION, archive_existing_versions=True
            )


def _user() -> str:
    """Who runs this; in a container a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _up_to_last(number: str, served: list[str]) -> list[str]:
    """Versions up to the last time `number` was Production; unchanged if it never was."""
    if number not in served:
        return served
    last = len(served) - 1 - served[::-1].index(number)
    return served[: last + 1]
