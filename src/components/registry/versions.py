"""MLflow: log a training run, register its bundle, promote, roll back, fetch Production.

Production is an alias; on a server without aliases it is the stage of that name.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from src.components.predictor.bundle import Bundle
from src.components.registry import bundle_files
from src.errors import BundleRefused, NoModel, RegistryUnavailable
from src.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

PRODUCTION = "Production"
PROMOTED, ROLLED_BACK = "promoted", "rolled back"
DEFINITION = "feature_definition"  # tag of a version
JOURNAL = "production."  # begins the tags of the registered model that keep its history


@dataclass(frozen=True)
class _Version:
    """As much of MLflow's ModelVersion as a bundle is fetched by."""

    version: str
    source: str
    tags: dict[str, str]


class Registry:
    """One named model in the registry that the settings point at."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self.settings = settings
        self._connection: MlflowClient | None = None

    @property
    def client(self) -> MlflowClient:
        """MLflow's client, made when it is first needed: importing it takes seconds."""
        if self._connection is None:
            from mlflow import MlflowClient

            self.settings.export()
            self.settings.artifacts.mkdir(parents=True, exist_ok=True)
            self._connection = MlflowClient(self.settings.registry_uri)
        return self._connection

    def log(
        self,
        bundle: Bundle,
        metrics: dict[str, float],
        tags: dict[str, str],
        pages: Path,
    ) -> str:
        """Log one training run with everything that came out of it and register its bundle.

        Args:
            pages: folder of charts and reports.

        Returns:
            The new model version.
        """
        from mlflow.entities import Metric, Param

        with _reachable(self.settings):
            run = self.client.create_run(self._experiment(), tags=tags, run_name="train")
            run_id = run.info.run_id
            now = int(run.info.start_time)
            measured = [Metric(key, value, now, 0) for key, value in metrics.items()]
            chosen = [
                Param(f"{member}_{key}", str(value))
                for member, params in bundle.metadata["params"].items()
                for key, value in params.items()
            ]
            self.client.log_batch(run_id, measured, chosen)
            self.client.log_artifacts(run_id, str(pages), "evaluation")
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "bundle"
                sha256 = bundle_files.save(bundle.with_metadata(mlflow_run=run_id), folder)
                self.client.log_artifacts(run_id, str(folder), "bundle")
            self.client.set_terminated(run_id)
            if not self._is_registered():
                self.client.create_registered_model(self.name)
            version = self.client.create_model_version(
                self.name,
                source=f"{run.info.artifact_uri}/bundle",
                run_id=run_id,
                tags={**tags, "bundle_sha256": sha256, DEFINITION: bundle.definition},
            )
        return str(version.version)

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first."""
        with _reachable(self.settings):
            found = self.client.search_model_versions(f"name='{self.name}'")
        return sorted(found, key=lambda version: -int(version.version))

    def definitions(self) -> dict[str, str]:
        """Feature definition by version."""
        return {str(v.version): v.tags.get(DEFINITION, "") for v in self.versions()}

    def production(self) -> ModelVersion | None:
        """The version that predicts, None when none was promoted yet."""
        from mlflow.exceptions import MlflowException

        with _reachable(self.settings):
            if not self._is_registered():
                return None
            try:
                return self.client.get_model_version_by_alias(self.name, PRODUCTION)
            except MlflowException as error:
                if error.error_code not in ("INVALID_PARAMETER_VALUE", "ENDPOINT_NOT_FOUND"):
                    raise
            staged = self.client.search_model_versions(f"name='{self.name}'")
            return next((v for v in staged if v.current_stage == PRODUCTION), None)

    def run_metrics(self, version: ModelVersion) -> dict[str, float]:
        """What was measured when a version was made."""
        with _reachable(self.settings):
            return dict(self.client.get_run(version.run_id).data.metrics)

    def existing(self, version: str | None = None) -> str:
        """A version that exists, the newest by default.

        Raises:
            NoModel: when there is no such version.
        """
        known = [str(found.version) for found in self.versions()]
        if not known or (version and version not in known):
            raise NoModel(
                f"registry has no version {version or ''} of {self.name}: "
                f"{'it has ' + ', '.join(known) if known else 'run `impress train` first'}"
            )
        return version or known[0]

    def promote(self, version: str, why: str) -> None:
        """Make a version Production and note why in the journal."""
        self._note(PROMOTED, version, why)
        self._point_production_at(version)

    def rollback(self) -> str:
        """Make the version that was Production before the present one Production again.

        What was rolled back from does not count as having been Production, so a second rollback
        goes further back and not forth.

        Raises:
            NoModel: when there is none.
        """
        production = self.production()
        present = str(production.version) if production else ""
        been: list[str] = []
        for entry in self.journal():
            back = entry["event"] == ROLLED_BACK
            been = _back_to(entry["version"], been) if back else [*been, entry["version"]]
        # A change that was cut short, or made by other means, left the journal beside the truth.
        been = _back_to(present, been)
        earlier = [version for version in been if version != present]
        if not present or not earlier:
            raise NoModel(f"no version of {self.name} was Production before the present one")
        self._note(ROLLED_BACK, earlier[-1], f"from version {present}")
        self._point_production_at(earlier[-1])
        return earlier[-1]

    def journal(self) -> list[dict[str, str]]:
        """What became Production when, oldest first: at, event, version, by, why."""
        with _reachable(self.settings):
            found = self.client.search_registered_models(f"name='{self.name}'")
        tags = found[0].tags if found else {}
        return [json.loads(tags[key]) for key in sorted(tags) if key.startswith(JOURNAL)]

    def _note(self, event: str, version: str, why: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        by = self.settings.mlflow_tracking_username or _user()
        entry = {"at": now, "event": event, "version": version, "by": by, "why": why[:1000]}
        key = f"{JOURNAL}{now.replace('+00:00', 'Z').replace(':', '')}"
        with _reachable(self.settings):
            self.client.set_registered_model_tag(self.name, key, json.dumps(entry))

    def fetch_production(self) -> tuple[Bundle, str, bool]:
        """The Production bundle, through the cache in ml_downloads/.

        Returns:
            The bundle, its version, and whether it is the cached one because the registry did not
            answer.

        Raises:
            NoModel: when none was promoted, or the registry is down and nothing is cached.
            BundleRefused: when the bytes are not those that were registered.
        """
        try:
            version = self._answer() or self.production()
            if version is None:
                raise NoModel(f"no version of {self.name} is Production: run `impress promote`")
            bundle = self._load(version)
            self._remember(version)
            return bundle, str(version.version), False
        except RegistryUnavailable as error:
            cache = self.settings.ml_downloads
            if not self._pointer.is_file():
                raise NoModel(f"{error}, and {cache} holds no bundle: try again later") from error
            known = json.loads(self._pointer.read_text(encoding="utf-8"))
            logger.warning("%s; version %s from %s serves", error, known["version"], cache)
            return (
                bundle_files.load(cache / known["folder"], known["sha256"]),
                known["version"],
                True,
            )

    def _answer(self) -> _Version | None:
        """What an MLflow server answers to the plain question for the Production version.

        With that version in the cache a run needs no more of MLflow, whose import alone takes
        longer than a small inbox. Anything but a good answer is left to its client, which is asked
        next: None.
        """
        if not self.settings.registry_uri.startswith(("http://", "https://")):
            return None
        name, secret = (
            self.settings.mlflow_tracking_username,
            self.settings.mlflow_tracking_password,
        )
        try:
            answer = requests.get(
                f"{self.settings.registry_uri.rstrip('/')}/api/2.0/mlflow/registered-models/alias",
                params={"name": self.name, "alias": PRODUCTION},
                auth=(name, secret.get_secret_value()) if name and secret else None,
                timeout=10,
            )
            answer.raise_for_status()
            found = answer.json()["model_version"]
        except (requests.RequestException, KeyError):
            return None
        tags = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        return _Version(found["version"], found["source"], tags)

    def fetch(self, version: str) -> Bundle:
        """The bundle of any version, through the cache in ml_downloads/.

        Raises:
            NoModel: when the registry has no such version.
        """
        from mlflow.exceptions import MlflowException

        with _reachable(self.settings):
            try:
                found = self.client.get_model_version(self.name, version)
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                raise NoModel(f"registry has no version {version} of {self.name}") from error
        return self._load(found)

    @property
    def _pointer(self) -> Path:
        """Which folder of the cache serves while the registry does not answer."""
        return self.settings.ml_downloads / f"{self.name}.json"

    def _load(self, version: ModelVersion | _Version) -> Bundle:
        """A version's bundle from the cache, fetched into it where it is not there or damaged."""
        sha256 = version.tags.get("bundle_sha256")
        if not sha256:
            raise BundleRefused(
                f"version {version.version} of {self.name} has no tag bundle_sha256, so `impress "
                "train` did not register it: promote another one"
            )
        folder = self._folder(version)
        try:
            bundle_files.verify(folder, sha256)
        except BundleRefused as error:
            if folder.exists():
                logger.warning("%s; fetching it again", error)
            self._download(version, folder)
        return bundle_files.load(folder, sha256)

    def _folder(self, version: ModelVersion | _Version) -> Path:
        return self.settings.ml_downloads / f"{self.name}-{version.version}"

    def _remember(self, version: ModelVersion | _Version) -> None:
        """Let this version serve while the registry does not answer."""
        known = {
            "version": str(version.version),
            "folder": self._folder(version).name,
            "sha256": version.tags["bundle_sha256"],
        }
        folder = self.settings.ml_downloads
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as part:
            json.dump(known, part)
        Path(part.name).replace(self._pointer)

    def _download(self, version: ModelVersion | _Version, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            try:
                fetched = download_artifacts(
                    artifact_uri=version.source,
                    dst_path=scratch,
                    tracking_uri=self.settings.registry_uri,
                )
            except (requests.RequestException, MlflowException) as error:
                raise RegistryUnavailable(
                    f"version {version.version} of {self.name} cannot be fetched from "
                    f"{version.source}"
                ) from error
            bundle_files.verify(Path(fetched), version.tags["bundle_sha256"])
            shutil.rmtree(folder, ignore_errors=True)
            Path(fetched).rename(folder)
        logger.info("fetched version %s into %s", version.version, folder)

    def _is_registered(self) -> bool:
        return bool(self.client.search_registered_models(f"name='{self.name}'"))

    def _point_production_at(self, version: str) -> None:
        from mlflow.exceptions import MlflowException

        with _reachable(self.settings):
            try:
                self.client.set_registered_model_alias(self.name, PRODUCTION, version)
            except MlflowException as error:
                if error.error_code != "ENDPOINT_NOT_FOUND":
                    raise
                self.client.transition_model_version_stage(
                    self.name, version, PRODUCTION, archive_existing_versions=True
                )

    def _experiment(self) -> str:
        if found := self.client.get_experiment_by_name(self.name):
            return str(found.experiment_id)
        # A server says where artifacts go; the embedded registry keeps them beside its database.
        embedded = self.settings.mlflow_tracking_uri is None
        location = (self.settings.artifacts / "mlartifacts").as_uri() if embedded else None
        return str(self.client.create_experiment(self.name, artifact_location=location))


def _user() -> str:
    """Who runs this; in a container a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _back_to(version: str, been: list[str]) -> list[str]:
    """What had been Production when `version` was for the last time; all where it never was."""
    if version not in been:
        return been
    return been[: len(been) - been[::-1].index(version)]


@contextmanager
def _reachable(settings: Settings) -> Iterator[None]:
    """Tell a registry that does not answer from one that refuses."""
    from mlflow.exceptions import MlflowException

    where = settings.registry_uri.split("@")[-1]
    try:
        yield
    except (requests.RequestException, MlflowException) as error:
        # MLflow's words quote the address, with a password if it holds one.
        cause = error if where == settings.registry_uri else None
        if _is_refusal(error):
            raise NoModel(
                f"MLflow at {where} refuses: check MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD"
            ) from cause
        # These words are MLflow's for anything on the way to its server.
        if isinstance(error, requests.RequestException) or "API request to" in str(error):
            raise RegistryUnavailable(f"MLflow at {where} does not answer") from cause
        raise


def _is_refusal(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None) in (401, 403) or getattr(
        error, "error_code", None
    ) in ("UNAUTHENTICATED", "PERMISSION_DENIED")
