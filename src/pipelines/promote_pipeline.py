"""Promote: a registered version becomes Production if it is not worse than the present one.

Run from a checkout: `python src/pipelines/promote_pipeline.py`, or `impress promote`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from src.components.database.connection import connect, database_exists
from src.components.predictor.bundle import Bundle
from src.components.registry import cache, production
from src.components.registry.versions import Registry
from src.components.trainer import gate
from src.components.trainer.gate import Comparison
from src.errors import BundleRefused, RegistryUnavailable, VersionLost
from src.logger import job
from src.orchestration import flow
from src.safe_text import safe
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decision:
    """Whether a version may become Production.

    Attributes:
        version: its number.
        good: whether the gate lets it pass.
        why: the reason for that, in words.
        present: number of the version that was Production before, None when there was none.
        comparison: of the two, None when they could not be compared.
        promoted: whether it is Production now; also against the gate, when forced.
    """

    version: str
    good: bool
    why: str
    present: str | None = None
    comparison: Comparison | None = None
    promoted: bool = False

    def require_promoted(self) -> None:
        """Raise BundleRefused when the version is not Production now."""
        if not self.promoted:
            raise BundleRefused(
                f"version {self.version} stays out: {self.why}. Train again, or insist: "
                f'impress promote {self.version} --force "why"'
            )


@flow
def promote(settings: Settings, version: str | None = None, force: str | None = None) -> Decision:
    """Make a version, the newest by default, Production if the gate lets it pass.

    Args:
        force: why it should become Production against the gate; kept in the history.

    Raises:
        BundleRefused: when the version cannot work at all, forced or not.
    """
    spec = load_soft_sensor(settings.impress_params)
    registry = Registry(settings, spec.name)
    number = registry.existing(version)
    challenger = cache.fetch(registry, number)
    challenger.check_contract(spec)
    if database_exists(settings):
        with connect(settings) as engine:
            gate.check_database(engine, spec)
    decision = decide(number, challenger, registry, spec)
    why = decision.why
    if not decision.good:
        if not force:
            return decision
        logger.warning("version %s is forced: %s", number, why)
        why = f"forced, because {force}; {why}"
    production.promote(registry, number, safe(why))
    return replace(decision, promoted=True)


def decide(number: str, challenger: Bundle, registry: Registry, spec: SoftSensor) -> Decision:
    """Compare a version with guessing, and with the one in production."""
    if useless := gate.no_better_than_guessing(challenger, spec):
        return Decision(number, False, useless)
    try:
        version = production.production(registry)
    except VersionLost as lost:
        return Decision(number, True, f"nothing to compare with: {lost}")
    if version is None:
        return Decision(number, True, "the first, so there was nothing to compare with")
    present = version.number
    try:
        bundle = cache.fetch(registry, present)
        bundle.check_contract(spec)
        comparison = gate.compare(challenger, bundle, spec)
    except (BundleRefused, RegistryUnavailable, VersionLost) as error:
        why = f"it cannot be compared with version {present}: {error}"
        return Decision(number, False, why, present)
    return Decision(number, comparison.good, comparison.in_words(present), present, comparison)


if __name__ == "__main__":
    with job("promote") as configured:
        promote(configured).require_promoted()
