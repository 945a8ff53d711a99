"""Model versions in MLflow: log a training run, register its bundle, look versions up."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from src.components.registry import bundle_files, mlflow_model, server, signing
from src.errors import NoModel, RegistryFault
from src.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from src.components.predictor.bundle import Bundle

DEFINITION = "feature_definition"  # tag of a version
LAST_MOMENT = 253_402_300_799_999  # Unix milliseconds: the end of the year 9999


@dataclass(frozen=True)
class Version:
    """As much of a registered version as we use.

    Its texts come from the registry: none of them may become a path, or be printed, unchecked.

    Attributes:
        number: its number in the registry, as text of digits.
        source: address of its bundle.
        run_id: id of the training run.
    """

    number: str
    source: str
    run_id: str
    registered_at: datetime
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9]{1,18}", self.number):
            raise RegistryFault(
                f"the registry names a version {self.number[:50]!r}, which is not a number: check "
                "MLFLOW_TRACKING_URI"
            )


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

            if server.is_server(self.settings.registry_uri):
                # The client would end in a traceback if something other than MLflow answers there.
                server.ask(self.settings, "registered-models/search", {"max_results": "1"})
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
            The number of the new version.
        """
        from mlflow.entities import Metric, Param

        with reachable(self.settings):
            run = self.client.create_run(self._experiment(), tags=tags, run_name="train")
            run_id = run.info.run_id
            now = int(run.info.start_time)
            measured = [Metric(key, value, now, 0) for key, value in metrics.items()]
            chosen = [
                Param(f"{member}_{key}", str(value))
                for member, params in bundle.origin.params.items()
                for key, value in params.items()
            ]
            self.client.log_batch(run_id, measured, chosen)
            self.client.log_artifacts(run_id, str(pages), "evaluation")
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "bundle"
                mlflow_model.write(bundle, folder)
                sha256 = bundle_files.save(bundle.with_origin(mlflow_run=run_id), folder)
                self.client.log_artifacts(run_id, str(folder), "bundle")
            self.client.set_terminated(run_id)
            if not self.is_registered():
                self.client.create_registered_model(self.name)
            version = self.client.create_model_version(
                self.name,
                source=f"{run.info.artifact_uri}/bundle",
                run_id=run_id,
                description=mlflow_model.described(bundle.spec),
                tags={
                    **tags,
                    signing.BUNDLE_SHA256: sha256,
                    DEFINITION: bundle.definition,
                    **signing.signed(self.settings, self.name, sha256),
                },
            )
        return str(version.version)

    def versions(self) -> list[Version]:
        """All versions, newest first."""
        with reachable(self.settings):
            found = self.client.search_model_versions(f"name='{self.name}'")
        return sorted(map(as_version, found), key=lambda version: -int(version.number))

    def version(self, number: str) -> Version:
        """A version by its number.

        Raises:
            NoModel: when the registry has no such version.
        """
        from mlflow.exceptions import MlflowException

        with reachable(self.settings):
            try:
                return as_version(self.client.get_model_version(self.name, number))
            except MlflowException as error:
                if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise
                raise NoModel(f"registry has no version {number} of {self.name}") from error

    def existing(self, number: str | None = None) -> str:
        """The number of a version that exists, the newest by default.

        Raises:
            NoModel: when there is no such version.
        """
        known = [version.number for version in self.versions()]
        if not known or (number and number not in known):
            raise NoModel(
                f"registry has no version {number or ''} of {self.name}: "
                f"{'it has ' + ', '.join(known) if known else 'run `impress train` first'}"
            )
        return number or known[0]

    def definitions(self) -> dict[str, str]:
        """Feature definition by the number of a version."""
        return {version.number: version.tags.get(DEFINITION, "") for version in self.versions()}

    def run_metrics(self, version: Version) -> dict[str, float]:
        """What was measured when a version was made."""
        with reachable(self.settings):
            return dict(self.client.get_run(version.run_id).data.metrics)

    def is_registered(self) -> bool:
        """Whether the registry knows the model at all."""
        with reachable(self.settings):
            return bool(self.client.search_registered_models(f"name='{self.name}'"))

    def _experiment(self) -> str:
        # A server decides where artifacts go; the embedded registry keeps them beside its database.
        embedded = self.settings.mlflow_tracking_uri is None
        location = self.settings.mlflow_artifacts.as_uri() if embedded else None
        experiment = self.client.get_experiment_by_name(self.name)
        if experiment and location in (None, experiment.artifact_location):
            return str(experiment.experiment_id)
        if experiment:
            # The home was moved, and an experiment keeps the place of its artifacts for ever.
            moved = f"{self.name} until {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
            self.client.rename_experiment(experiment.experiment_id, moved)
        return str(self.client.create_experiment(self.name, artifact_location=location))


def moment(milliseconds: int) -> datetime:
    """A time as registries record it, in Unix milliseconds.

    Raises:
        RegistryFault: for a time that no calendar has.
    """
    if not 0 <= milliseconds <= LAST_MOMENT:
        raise RegistryFault(
            f"the registry says that a version was registered at {milliseconds} ms, which no "
            "calendar has: check MLFLOW_TRACKING_URI"
        )
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def as_version(version: ModelVersion) -> Version:
    """MLflow's record of a version as ours."""
    return Version(
        number=str(version.version),
        source=version.source,
        run_id=version.run_id,
        registered_at=moment(version.creation_timestamp),
        tags=dict(version.tags),
    )


@contextmanager
def reachable(settings: Settings) -> Iterator[None]:
    """Put what MLflow's client says about a registry into words; its own may hold a password.

    Raises:
        RegistryUnavailable: when the registry does not answer.
        RegistryFault: when it rejects the login, or cannot be reached for a reason that stays.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (requests.RequestException, MlflowException) as error:
        if _is_refusal(error):
            raise server.login_refused(settings) from None
        causes = [error, error.__cause__, error.__context__]
        for cause in causes:
            if isinstance(cause, requests.RequestException):
                raise server.fault(cause, settings) from None
        # What MLflow's client makes of an answer that is none, and of an error without a code.
        text = str(error)
        without_code = text.startswith("INTERNAL_ERROR: Response:")
        if without_code or "response body was not in a valid JSON format" in text:
            raise server.no_mlflow(settings) from None
        # MLflow begins every message about the way to its server with these words.
        if "API request to" in text:
            raise server.unavailable(settings) from None
        raise


def _is_refusal(error: Exception) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    code = getattr(error, "error_code", None)
    return status in (401, 403) or code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
