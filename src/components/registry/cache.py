"""Bundles of registered versions through the verified cache in ml_downloads/."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from pathlib import Path

import requests

from src.components.predictor.bundle import Bundle
from src.components.predictor.scoring import Served
from src.components.registry import bundle_files
from src.components.registry.production import PRODUCTION, production
from src.components.registry.versions import BUNDLE_SHA256, Registry, Version
from src.errors import BundleRefused, NoModel, RegistryUnavailable
from src.files import write_whole

logger = logging.getLogger(__name__)


def fetch_production(registry: Registry) -> Served:
    """The Production bundle: from the registry, or from the cache while it does not answer.

    Raises:
        NoModel: when none was promoted, or the registry is down and nothing is cached.
        BundleRefused: when the bytes are not those that were registered.
    """
    try:
        version = _ask_server(registry) or production(registry)
        if version is None:
            raise NoModel(f"no version of {registry.name} is Production: run `impress promote`")
        bundle = _load(registry, version)
    except RegistryUnavailable as error:
        return _serve_cached(registry, error)
    _remember(registry, version)
    return Served(bundle, version.number)


def fetch(registry: Registry, number: str) -> Bundle:
    """The bundle of any version.

    Raises:
        NoModel: when the registry has no such version.
        BundleRefused: when the bytes are not those that were registered.
    """
    return _load(registry, registry.version(number))


def _ask_server(registry: Registry) -> Version | None:
    """The Production version by one plain request to an MLflow server.

    With that version in the cache a run needs no more of MLflow, whose import alone takes longer
    than a small inbox. Anything but a good answer is left to MLflow's client: None.
    """
    settings = registry.settings
    if not settings.registry_uri.startswith(("http://", "https://")):
        return None
    name, password = settings.mlflow_tracking_username, settings.mlflow_tracking_password
    try:
        answer = requests.get(
            f"{settings.registry_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias",
            params={"name": registry.name, "alias": PRODUCTION},
            auth=(name, password.get_secret_value()) if name and password else None,
            timeout=10,
        )
        answer.raise_for_status()
        found = answer.json()["model_version"]
        return Version(
            number=found["version"],
            source=found["source"],
            run_id=found.get("run_id", ""),
            registered_at=int(found.get("creation_timestamp", 0)),
            tags={tag["key"]: tag["value"] for tag in found.get("tags", [])},
        )
    except (requests.RequestException, KeyError):
        return None


def _serve_cached(registry: Registry, error: RegistryUnavailable) -> Served:
    """The bundle that served last."""
    cache = registry.settings.ml_downloads
    pointer = _pointer(registry)
    if not pointer.is_file():
        raise NoModel(f"{error}, and {cache} holds no bundle: try again later") from error
    known = json.loads(pointer.read_text(encoding="utf-8"))
    logger.warning("%s; version %s from %s serves", error, known["version"], cache)
    bundle = bundle_files.load(cache / known["folder"], known["sha256"])
    return Served(bundle, known["version"], cached=True)


def _load(registry: Registry, version: Version) -> Bundle:
    """A version's bundle, fetched into the cache where it is missing or damaged there."""
    sha256 = version.tags.get(BUNDLE_SHA256)
    if not sha256:
        raise BundleRefused(
            f"version {version.number} of {registry.name} has no tag {BUNDLE_SHA256}, so `impress "
            "train` did not register it: promote another one"
        )
    folder = _folder(registry, version)
    try:
        bundle_files.verify(folder, sha256)
    except BundleRefused as error:
        if folder.exists():
            logger.warning("%s; fetching it again", error)
        _download(registry, version, folder)
    return bundle_files.load(folder, sha256)


def _download(registry: Registry, version: Version, folder: Path) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        try:
            fetched = download_artifacts(
                artifact_uri=version.source,
                dst_path=scratch,
                tracking_uri=registry.settings.registry_uri,
            )
        except (requests.RequestException, MlflowException) as error:
            raise RegistryUnavailable(
                f"version {version.number} of {registry.name} cannot be fetched from "
                f"{version.source}"
            ) from error
        bundle_files.verify(Path(fetched), version.tags[BUNDLE_SHA256])
        shutil.rmtree(folder, ignore_errors=True)
        Path(fetched).rename(folder)
    logger.info("fetched version %s into %s", version.number, folder)


def _remember(registry: Registry, version: Version) -> None:
    """Let this version serve while the registry does not answer."""
    known = {
        "version": version.number,
        "folder": _folder(registry, version).name,
        "sha256": version.tags[BUNDLE_SHA256],
    }
    write_whole(_pointer(registry), json.dumps(known).encode(), private=True)


def _folder(registry: Registry, version: Version) -> Path:
    return registry.settings.ml_downloads / f"{registry.name}-{version.number}"


def _pointer(registry: Registry) -> Path:
    """The file that names the folder of the cache that serves while the registry is down."""
    return registry.settings.ml_downloads / f"{registry.name}.json"
