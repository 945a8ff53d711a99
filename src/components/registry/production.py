"""Which version is Production, how it came about, and the way back.

Production is an alias; on a server without aliases it is the stage of that name. The history of
changes is kept in tags of the registered model.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ValidationError

from src.components.lineage import user
from src.components.registry import embedded, server
from src.components.registry.versions import Registry, Version, as_version, moment, reachable
from src.errors import NoModel, RegistryFault, VersionLost

PRODUCTION = "Production"
PROMOTED, ROLLED_BACK = "promoted", "rolled back"
HISTORY = "production."  # begins the tags that keep the history


# Answers of MLflow when there is no such model, or none with that alias.
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
WITHOUT_ALIASES = "ENDPOINT_NOT_FOUND"


class _Tag(BaseModel):
    key: str
    value: str = ""


class _ModelVersion(BaseModel):
    """A version in the words of MLflow's REST API."""

    version: str
    source: str
    run_id: str = ""
    creation_timestamp: int = 0
    tags: list[_Tag] = []


class Change(BaseModel):
    """What became Production, by whom, and why: an entry of the history.

    Attributes:
        event: PROMOTED or ROLLED_BACK.
    """

    at: AwareDatetime
    event: str
    version: str
    by: str
    why: str


def production(registry: Registry) -> Version | None:
    """The version that predicts, None when none was promoted yet.

    Raises:
        VersionLost: when one was promoted that the registry has no longer.
        RegistryUnavailable, RegistryFault: when the registry gives no answer, or a wrong one.
    """
    uri = registry.settings.registry_uri
    if server.is_server(uri):
        return _ask_server(registry)
    if registry.settings.mlflow_tracking_uri is None:
        with suppress(sqlite3.Error):
            return embedded.find(registry.settings.mlflow_database, registry.name, PRODUCTION)
    return _ask_client(registry)


def _ask_server(registry: Registry) -> Version | None:
    query = {"name": registry.name, "alias": PRODUCTION}
    answer = server.ask(registry.settings, "registered-models/alias", query)
    if "model_version" in answer:
        try:
            found = _ModelVersion.model_validate(answer["model_version"])
        except ValidationError:
            raise server.no_mlflow(registry.settings) from None
        return Version(
            number=found.version,
            source=found.source,
            run_id=found.run_id,
            registered_at=moment(found.creation_timestamp),
            tags={tag.key: tag.value for tag in found.tags},
        )
    code, message = answer.get("error_code"), str(answer.get("message"))
    if code not in UNKNOWN:
        # Also a server without aliases, which has stages.
        return _ask_client(registry)
    if "alias" not in message.lower() and registry.is_registered():
        raise _lost(registry)
    return None


def _ask_client(registry: Registry) -> Version | None:
    from mlflow.exceptions import MlflowException

    with reachable(registry.settings):
        if not registry.is_registered():
            return None
        try:
            found = registry.client.get_model_version_by_alias(registry.name, PRODUCTION)
            return as_version(found)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise _lost(registry) from None
            if error.error_code not in ("INVALID_PARAMETER_VALUE", WITHOUT_ALIASES):
                raise
        staged = registry.client.search_model_versions(f"name='{registry.name}'")
        in_stage = [version for version in staged if version.current_stage == PRODUCTION]
        return as_version(in_stage[0]) if in_stage else None


def _lost(registry: Registry) -> VersionLost:
    return VersionLost(
        f"Production of {registry.name} is a version that the registry no longer has: promote "
        "another one"
    )


def promote(registry: Registry, number: str, why: str) -> None:
    """Make a version Production, and note why in the history."""
    _point_production_at(registry, number)
    _note(registry, PROMOTED, number, why)


def rollback(registry: Registry) -> str:
    """Make the version that was Production before the present one Production again.

    A version that was rolled back from no longer counts as having been Production, so a second
    rollback goes further back instead of forth. Versions that were deleted are left out.

    Returns:
        Its number.

    Raises:
        NoModel: when there is none.
    """
    try:
        current = production(registry)
        present = current.number if current else ""
    except VersionLost:
        present = "a deleted version"
    served: list[str] = []
    for change in history(registry):
        if change.event == ROLLED_BACK:
            served = _up_to_last(change.version, served)
        else:
            served.append(change.version)
    # An interrupted change, or one made by other means, leaves the history behind the alias.
    served = _up_to_last(present, served)
    existing = {version.number for version in registry.versions()} - {present}
    earlier = [number for number in served if number in existing]
    if not present or not earlier:
        raise NoModel(
            f"no version of {registry.name} that still exists was Production before the present one"
        )
    _point_production_at(registry, earlier[-1])
    _note(registry, ROLLED_BACK, earlier[-1], f"from version {present}")
    return earlier[-1]


def history(registry: Registry) -> list[Change]:
    """What became Production when, oldest first.

    Raises:
        RegistryFault: when somebody else has written there.
    """
    with reachable(registry.settings):
        models = registry.client.search_registered_models(f"name='{registry.name}'")
    tags = models[0].tags if models else {}
    keys = sorted(key for key in tags if key.startswith(HISTORY))
    try:
        return [Change.model_validate_json(tags[key]) for key in keys]
    except ValidationError:
        raise RegistryFault(
            f"the registry's history of {registry.name} is damaged: delete the tags {HISTORY}* of "
            "the model that impress did not write"
        ) from None


def _note(registry: Registry, event: str, number: str, why: str) -> None:
    now = datetime.now(UTC)
    by = registry.settings.mlflow_tracking_username or user()
    change = Change(at=now, event=event, version=number, by=by, why=why[:1000])
    key = f"{HISTORY}{now:%Y-%m-%dT%H%M%S.%fZ}"
    with reachable(registry.settings):
        registry.client.set_registered_model_tag(registry.name, key, change.model_dump_json())


def _point_production_at(registry: Registry, number: str) -> None:
    from mlflow.exceptions import MlflowException

    with reachable(registry.settings):
        try:
            registry.client.set_registered_model_alias(registry.name, PRODUCTION, number)
        except MlflowException as error:
            if error.error_code != WITHOUT_ALIASES:
                raise
            registry.client.transition_model_version_stage(
                registry.name, number, PRODUCTION, archive_existing_versions=True
            )


def _up_to_last(number: str, served: list[str]) -> list[str]:
    """Versions up to the last time `number` was Production; unchanged if it never was."""
    if number not in served:
        return served
    last = len(served) - 1 - served[::-1].index(number)
    return served[: last + 1]
