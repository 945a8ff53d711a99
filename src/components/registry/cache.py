"""Bundles of registered versions through the verified cache in ml_downloads/."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import requests
from pydantic import BaseModel, Field, ValidationError

from src.components.predictor.bundle import Bundle
from src.components.predictor.scoring import Served
from src.components.registry import bundle_files, server, signing
from src.components.registry.production import production
from src.components.registry.signing import BUNDLE_SHA256
from src.components.registry.versions import Registry, Version
from src.errors import BundleRefused, NoModel, RegistryFault, RegistryUnavailable, VersionLost
from src.files import write_whole
from src.safe_text import redacted

logger = logging.getLogger(__name__)

# Object stores that MLflow's client reads with the credentials of the environment.
OBJECT_STORES = ("s3", "gs", "wasbs", "abfss")


class Known(BaseModel):
    """What is noted of the version that serves while the registry does not answer.

    Attributes:
        tags: of the version, with its signature.
    """

    version: Annotated[str, Field(pattern="^[0-9]{1,18}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    tags: dict[str, str] = {}


def fetch_production(registry: Registry) -> Served:
    """The Production bundle: from the registry, or from the cache while it does not answer.

    Raises:
        NoModel: when none was promoted, or the registry is down and nothing is cached.
        BundleRefused: when the bytes are not those that were registered, or not signed by a key
            of MODEL_TRUSTED_KEYS.
        RegistryFault: when the registry is wrongly configured, or its answer not to be believed.
    """
    try:
        version = production(registry)
        if version is None:
            raise NoModel(f"no version of {registry.name} is Production: run `impress promote`")
        bundle = _load(registry, version)
    except (RegistryUnavailable, VersionLost) as error:
        return _serve_cached(registry, error)
    _remember(registry, version)
    return Served(bundle, version.number)


def fetch(registry: Registry, number: str) -> Bundle:
    """The bundle of any version.

    Raises:
        NoModel: when the registry has no such version.
        BundleRefused, RegistryFault: as `fetch_production`.
    """
    return _load(registry, registry.version(number))


def _serve_cached(registry: Registry, error: RegistryUnavailable | VersionLost) -> Served:
    """The bundle that served last."""
    settings, pointer = registry.settings, _pointer(registry)
    later = ": try again later" if isinstance(error, RegistryUnavailable) else ""
    if not pointer.is_file():
        raise NoModel(f"{error}, and {settings.ml_downloads} holds no bundle{later}") from error
    try:
        known = Known.model_validate_json(pointer.read_bytes())
    except ValidationError:
        raise BundleRefused(f"{error}, and {pointer} is damaged: delete it{later}") from error
    logger.warning("%s; version %s from %s serves", error, known.version, settings.ml_downloads)
    signing.require_trusted(settings, registry.name, known.sha256, known.tags)
    bundle = bundle_files.load(_folder(registry, known.version), known.sha256)
    return Served(bundle, known.version, cached=True)


def _load(registry: Registry, version: Version) -> Bundle:
    """A version's bundle, fetched into the cache where it is missing or damaged there."""
    sha256 = _sha256(registry, version)
    signing.require_trusted(registry.settings, registry.name, sha256, version.tags)
    folder = _folder(registry, version.number)
    if folder.exists():
        try:
            return bundle_files.load(folder, sha256)
        except BundleRefused as error:
            logger.warning("%s; fetching it again", error)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        fetched = Path(scratch) / "bundle"
        fetched.mkdir()
        _download(registry, version, fetched, sha256)
        bundle = bundle_files.load(fetched, sha256)
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)
    logger.info("fetched version %s into %s", version.number, folder)
    return bundle


def _sha256(registry: Registry, version: Version) -> str:
    sha256 = version.tags.get(BUNDLE_SHA256, "")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise BundleRefused(
            f"version {version.number} of {registry.name} has no tag {BUNDLE_SHA256}, so `impress "
            "train` did not register it: promote another one"
        )
    return sha256


def _download(registry: Registry, version: Version, folder: Path, sha256: str) -> None:
    """Fetch the files that the registered manifest names, and no others.

    Raises:
        VersionLost: when one of them is gone.
        RegistryUnavailable: when the server does not answer.
        RegistryFault: when the registry names a source outside its own stores, or a file is
            too large.
    """
    download = _way_to(registry, version)
    download(bundle_files.MANIFEST, folder / bundle_files.MANIFEST)
    for name in bundle_files.names(folder, sha256):
        download(name, folder / name)


def _way_to(registry: Registry, version: Version) -> Callable[[str, Path], None]:
    """How to download one file of a bundle, by its name, from where the registry says it is."""
    settings, source = registry.settings, urlsplit(version.source)
    own = urlsplit(settings.registry_uri).netloc.rpartition("@")[2]
    if settings.mlflow_tracking_uri is None:
        return partial(_copy, version, _in_present_home(version, settings.mlflow_artifacts))
    if source.scheme == "mlflow-artifacts" and source.netloc in ("", own):
        return partial(_fetch_from_server, registry, version, source.path.strip("/"))
    if source.scheme in OBJECT_STORES:
        return partial(_fetch_by_client, registry, version)
    if source.scheme in ("", "file") and not source.netloc:
        return partial(_copy, version, Path(unquote(source.path)))
    raise RegistryFault(
        f"the registry places version {version.number} of {registry.name} at "
        f"{redacted(version.source)}, which is neither on that server nor in an object store "
        f"({', '.join(OBJECT_STORES)})"
    )


def _in_present_home(version: Version, artifacts: Path) -> Path:
    """The folder of a bundle of the embedded registry, also after IMPRESS_HOME was moved."""
    tail = unquote(version.source).rpartition(f"/{artifacts.name}/")[2]
    folder = (artifacts / tail).resolve()
    if not folder.is_relative_to(artifacts.resolve()):
        raise RegistryFault(f"version {version.number} of the registry lies outside {artifacts}")
    return folder


def _copy(version: Version, source: Path, name: str, file: Path) -> None:
    try:
        size = (source / name).stat().st_size
        if size > bundle_files.LARGEST_FILE:
            raise server.too_large(name, bundle_files.LARGEST_FILE)
        shutil.copyfile(source / name, file)
    except FileNotFoundError:
        raise _lost(version, name) from None


def _fetch_from_server(
    registry: Registry, version: Version, path: str, name: str, file: Path
) -> None:
    found = server.download(
        registry.settings, f"{path}/{name}", file, largest=bundle_files.LARGEST_FILE
    )
    if not found:
        raise _lost(version, name)


def _fetch_by_client(registry: Registry, version: Version, name: str, file: Path) -> None:
    """From an object store, whose list of files tells their sizes."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    registry.settings.export()
    store = get_artifact_repository(version.source)
    sizes = {Path(found.path).name: found.file_size or 0 for found in store.list_artifacts()}
    if name not in sizes:
        raise _lost(version, name)
    if sizes[name] > bundle_files.LARGEST_FILE:
        raise server.too_large(name, bundle_files.LARGEST_FILE)
    try:
        store.download_artifacts(name, str(file.parent))
    except (requests.RequestException, MlflowException):
        raise RegistryUnavailable(f"{redacted(version.source)} cannot be read") from None


def _lost(version: Version, name: str) -> VersionLost:
    return VersionLost(
        f"version {version.number} has lost its file {name} at {redacted(version.source)}: "
        "promote another one"
    )


def _remember(registry: Registry, version: Version) -> None:
    """Let this version serve while the registry does not answer."""
    tags = {
        name: version.tags[name]
        for name in (signing.SIGNATURE, signing.SIGNED_BY)
        if name in version.tags
    }
    known = Known(version=version.number, sha256=version.tags[BUNDLE_SHA256], tags=tags)
    write_whole(_pointer(registry), known.model_dump_json().encode(), private=True)


def _folder(registry: Registry, number: str) -> Path:
    return registry.settings.ml_downloads / f"{registry.name}-{number}"


def _pointer(registry: Registry) -> Path:
    """The file that names the version in the cache that serves while the registry is down."""
    return registry.settings.ml_downloads / f"{registry.name}.json"
