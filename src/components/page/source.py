"""What pages are made from: a database that is only read, the registry, and the contract."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import Engine

from src.components.database.schema import misfits, missing
from src.components.predictor.bundle import Bundle
from src.components.predictor.scoring import Served
from src.components.registry.cache import fetch, fetch_production
from src.components.registry.versions import Registry
from src.errors import ImpressError, NoModel
from src.language import Language
from src.settings import Settings
from src.soft_sensor import SoftSensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Everything that pages are made from.

    Attributes:
        engine: as `connection.connect` gives it with `read_only`.
        dataset: data set folder, whose laboratory file names what is analysed.
        report_pages: names of the reports on drift that lie beside the pages.
    """

    engine: Engine
    settings: Settings
    spec: SoftSensor
    dataset: Path = Path("Dataset")
    report_pages: frozenset[str] = frozenset()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def language(self) -> Language:
        """What the pages are written in."""
        return Language(self.spec.language)

    @cached_property
    def registry(self) -> Registry:
        """The model's versions."""
        return Registry(self.settings, self.spec.name)

    @cached_property
    def fetched(self) -> Served | ImpressError:
        """The model in production, or why it cannot be used."""
        try:
            served = fetch_production(self.registry)
            served.bundle.check_contract(self.spec)
        except ImpressError as error:
            return error
        return served

    @property
    def model(self) -> Served | None:
        """The model in production; None when there is none, or it cannot be used."""
        return self.fetched if isinstance(self.fetched, Served) else None

    @cached_property
    def _bundles(self) -> dict[str, Bundle | None]:
        return {}

    def bundle(self, version: str) -> Bundle | None:
        """The model of a version, None when it cannot be used; each is fetched once."""
        if self.model and self.model.version == version:
            return self.model.bundle
        if version not in self._bundles:
            self._bundles[version] = self._fetch(version)
        return self._bundles[version]

    def _fetch(self, version: str) -> Bundle | None:
        try:
            bundle = fetch(self.registry, version)
            bundle.check_contract(self.spec)
        except ImpressError as error:
            logger.warning("version %s: %s", version, error)
            return None
        return bundle

    @property
    def registry_answers(self) -> bool:
        """Whether a lack of a model is not the registry's fault."""
        return isinstance(self.fetched, (Served, NoModel))

    @cached_property
    def unusable(self) -> str:
        """What must be done before any table can be read; empty if all can."""
        faults = misfits(self.engine, self.spec)
        if not faults and missing(self.engine, self.spec):
            return "impress init"
        return "; ".join(faults)
