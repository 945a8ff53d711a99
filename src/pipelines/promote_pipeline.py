"""Promote: a registered version becomes Production when it is no worse than the present one.

Run from a checkout: `python src/pipelines/promote_pipeline.py`, or `impress promote`.
"""

from __future__ import annotations

import logging

from src.cli.console import show_comparison
from src.components.database.connection import connect, database_exists
from src.components.predictor.bundle import Bundle
from src.components.registry.versions import Registry
from src.components.trainer import gate
from src.errors import BundleRefused, RegistryUnavailable
from src.logger import job
from src.orchestration import flow
from src.settings import Settings
from src.soft_sensor import SoftSensor, load_soft_sensor

logger = logging.getLogger(__name__)


@flow
def promote(version: str | None = None, force: str | None = None) -> str:
    """Make a version, the newest by default, Production. Returns it.

    Args:
        force: why it shall become Production even if it is worse; kept in the journal.

    Raises:
        BundleRefused: when it is worse and nobody insists, or when it cannot work at all.
    """
    settings = Settings()
    spec = load_soft_sensor(settings.impress_params)
    registry = Registry(settings, spec.name)
    chosen = registry.existing(version)
    challenger = registry.fetch(chosen)
    challenger.check_contract(spec)
    if database_exists(settings):
        with connect(settings) as engine:
            gate.check_database(engine, spec)
    good, why = judge(challenger, registry, spec)
    if not good and not force:
        raise BundleRefused(
            f"version {chosen} stays out: {why}. Train again, or insist: "
            f'impress promote {chosen} --force "why"'
        )
    if not good:
        logger.warning("version %s is forced: %s", chosen, why)
        why = f"forced, because {force}; {why}"
    registry.promote(chosen, why)
    return chosen


def judge(challenger: Bundle, registry: Registry, spec: SoftSensor) -> tuple[bool, str]:
    """Compare with Production: may the challenger take its place, and why?"""
    present = registry.production()
    if present is None:
        return True, "the first, so there was nothing to compare with"
    try:
        production = registry.fetch(str(present.version))
        production.check_contract(spec)
        comparison = gate.compare(challenger, production, spec)
    except (BundleRefused, RegistryUnavailable) as error:
        return False, f"it cannot be compared with version {present.version}: {error}"
    show_comparison(comparison, str(present.version), spec)
    if comparison.worse:
        return False, f"worse than version {present.version} in {', '.join(comparison.worse)}"
    return True, f"not worse than version {present.version} on the hold-out"


if __name__ == "__main__":
    with job("promote", Settings().logs):
        promote()
