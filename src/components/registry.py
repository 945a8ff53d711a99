"""MLflow: log a training run, register its bundle, promote, roll back, fetch Production.

Production is an alias; on a server without aliases it is the stage of that name.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from src.components import predictor
from src.components.predictor import Bundle
from src.errors import NoModel, RegistryUnavailable
from src.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

PRODUCTION = "Production"
CACHE_POINTER = "production.json"


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
            from mlflow import MlflowClient  # pylint: disable=import-outside-toplevel

            self.settings.export()
            self.settings.artifacts.mkdir(parents=True, exist_ok=True)
            self._connection = MlflowClient(self.settings.registry_uri)
        return self._connection

    def log(
        self,
        bundle: Bundle,
        params: dict[str, Any],
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
        with _reachable(self.settings):
            run = self.client.create_run(self._experiment(), tags=tags, run_name="train")
            run_id = run.info.run_id
            for key, value in params.items():
                self.client.log_param(run_id, key, value)
            for key, number in metrics.items():
                self.client.log_metric(run_id, key, number)
            self.client.log_artifacts(run_id, str(pages), "evaluation")
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "bundle"
                sha256 = predictor.save(bundle.with_metadata(mlflow_run=run_id), folder)
                self.client.log_artifacts(run_id, str(folder), "bundle")
            self.client.set_terminated(run_id)
            if not self._versions_exist():
                self.client.create_registered_model(self.name)
            version = self.client.create_model_version(
                self.name,
                source=f"{run.info.artifact_uri}/bundle",
                run_id=run_id,
                tags={**tags, "bundle_sha256": sha256},
            )
        return str(version.version)

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first."""
        with _reachable(self.settings):
            found = self.client.search_model_versions(f"name='{self.name}'")
        return sorted(found, key=lambda version: -int(version.version))

    def production(self) -> ModelVersion | None:
        """The version that predicts, None when none was promoted yet."""
        from mlflow.exceptions import MlflowException  # pylint: disable=import-outside-toplevel

        with _reachable(self.settings):
            if not self._versions_exist():
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

    def promote(self, version: str | None = None) -> str:
        """Make a version (the newest by default) Production.

        Raises:
            NoModel: when there is no such version.
        """
        known = [str(found.version) for found in self.versions()]
        if not known or (version and version not in known):
            raise NoModel(
                f"registry has no version {version or ''} of {self.name}: "
                f"{'it has ' + ', '.join(known) if known else 'run `impress train` first'}"
            )
        chosen = version or known[0]
        now = datetime.now(UTC).isoformat()
        self.client.set_model_version_tag(self.name, chosen, "promoted_at", now)
        self._point_production_at(chosen)
        return chosen

    def rollback(self) -> str:
        """Make the version that was Production before the present one Production again.

        Raises:
            NoModel: when there is none.
        """
        present = self.production()
        promoted = {
            version.tags["promoted_at"]: str(version.version)
            for version in self.versions()
            if "promoted_at" in version.tags
        }
        earlier = [at for at in promoted if present and at < present.tags.get("promoted_at", "")]
        if not earlier:
            raise NoModel(f"no version of {self.name} was Production before the present one")
        chosen = promoted[max(earlier)]
        self._point_production_at(chosen)
        return chosen

    def fetch_production(self) -> tuple[Bundle, str, bool]:
        """The Production bundle, through the cache in ml_downloads/.

        Returns:
            The bundle, its version, and whether it is the cached one because the registry did not
            answer.

        Raises:
            NoModel: when none was promoted, or the registry is down and nothing is cached.
            BundleRefused: when the bytes are not those that were registered.
        """
        cache = self.settings.ml_downloads
        pointer = cache / CACHE_POINTER
        try:
            version = self.production()
            if version is None:
                raise NoModel(f"no version of {self.name} is Production: run `impress promote`")
            known = {"version": str(version.version), "sha256": version.tags["bundle_sha256"]}
            folder = cache / f"{self.name}-{known['version']}"
            if not folder.is_dir():
                self._download(version, folder)
        except RegistryUnavailable as error:
            if not pointer.is_file():
                raise NoModel(f"{error}, and {cache} holds no bundle: try again later") from error
            known = json.loads(pointer.read_text(encoding="utf-8"))
            logger.warning("%s; version %s from %s serves", error, known["version"], cache)
            folder = cache / f"{self.name}-{known['version']}"
            return predictor.load(folder, known["sha256"]), known["version"], True
        bundle = predictor.load(folder, known["sha256"])
        pointer.write_text(json.dumps(known), encoding="utf-8")
        return bundle, known["version"], False

    def _download(self, version: ModelVersion, folder: Path) -> None:
        from mlflow.artifacts import download_artifacts  # pylint: disable=import-outside-toplevel

        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, _reachable(self.settings):
            fetched = download_artifacts(
                artifact_uri=version.source,
                dst_path=scratch,
                tracking_uri=self.settings.registry_uri,
            )
            predictor.verify(Path(fetched), version.tags["bundle_sha256"])
            shutil.move(fetched, folder)
        logger.info("fetched version %s into %s", version.version, folder)

    def _versions_exist(self) -> bool:
        return bool(self.client.search_registered_models(f"name='{self.name}'"))

    def _point_production_at(self, version: str) -> None:
        from mlflow.exceptions import MlflowException  # pylint: disable=import-outside-toplevel

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


@contextmanager
def _reachable(settings: Settings) -> Iterator[None]:
    """Tell a registry that does not answer from one that refuses."""
    from mlflow.exceptions import MlflowException  # pylint: disable=import-outside-toplevel

    where = settings.registry_uri.split("@")[-1]
    try:
        yield
    except requests.RequestException as error:
        raise RegistryUnavailable(f"MLflow at {where} does not answer") from error
    except MlflowException as error:
        text = str(error).split("\n", maxsplit=1)[0]
        if "Max retries exceeded" in text or "API request to" in text or "Connection" in text:
            raise RegistryUnavailable(f"MLflow at {where} does not answer") from error
        if (
            "401" in text
            or "403" in text
            or error.error_code
            in (
                "UNAUTHENTICATED",
                "PERMISSION_DENIED",
            )
        ):
            raise NoModel(
                f"MLflow at {where} refuses: check MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD"
            ) from error
        raise
