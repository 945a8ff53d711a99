"""The state of an installation: its model, inbox, last runs, and where reports and mail are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from src.cli import console
from src.cli.adaptation import status_line
from src.components.database.journal import Journal
from src.components.inbox.states import Inbox
from src.components.registry.production import production
from src.components.registry.versions import Registry, Version
from src.errors import RegistryUnavailable
from src.settings import Settings
from src.soft_sensor import SoftSensor


@dataclass(frozen=True)
class State:  # pylint: disable=too-many-instance-attributes  # all that a person asks for
    """The state of an installation.

    Attributes:
        production: the version in production, None when there is none or the registry is silent.
        metrics: its out-of-fold errors, named as by `evaluation.flat_metrics`.
        trouble: why nothing is in production.
        inbox: rows by state, see `Inbox.counts`.
        doubtful_clocks: see `Inbox.doubtful_clocks`.
        predictions, reports: the last runs, newest first, as rows of the table `runs`.
        last_good: how long ago each pipeline last did its work, None when it never did.
        adaptation: how laboratory values correct predictions, see `adaptation.status_line`.
        places: folders of reports, mail and logs.
        unsent_mail: letters that the next report sends.
    """

    production: Version | None
    metrics: dict[str, float]
    trouble: str | None
    inbox: dict[str, int]
    doubtful_clocks: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    reports: list[dict[str, Any]]
    last_good: dict[str, timedelta | None]
    adaptation: str
    places: dict[str, Path]
    unsent_mail: int


def read_state(engine: Engine, settings: Settings, spec: SoftSensor) -> State:
    """Read it all, also while the registry does not answer."""
    version, metrics, trouble = _model(Registry(settings, spec.name), spec)
    with engine.connect() as connection:
        inbox = Inbox(connection, spec)
        counts, clocks = inbox.counts(), inbox.doubtful_clocks()
    journal = Journal(engine, spec)
    outbox = settings.artifacts / "outbox"
    return State(
        production=version,
        metrics=metrics,
        trouble=trouble,
        inbox=counts,
        doubtful_clocks=clocks,
        predictions=journal.newest("predict"),
        reports=journal.newest("monitor"),
        last_good={name: journal.age_of_last_good(name) for name in ("predict", "monitor")},
        adaptation=status_line(engine, spec),
        places={
            "reports": settings.artifacts / "reports",
            "mail without a server": outbox,
            "logs": settings.logs,
        },
        unsent_mail=len(list(outbox.glob("unsent/*.eml"))),
    )


def _model(
    registry: Registry, spec: SoftSensor
) -> tuple[Version | None, dict[str, float], str | None]:
    """The version in production, its errors, and what is wrong if there is none."""
    try:
        version = production(registry)
        if version is None:
            return None, {}, f"no version of {spec.name} is Production: run `impress promote`"
        return version, registry.run_metrics(version), None
    except RegistryUnavailable as error:
        return None, {}, str(error)


def show_state(state: State, spec: SoftSensor) -> None:
    """Print it all."""
    if state.production:
        console.show_production(state.production, state.metrics, spec)
    else:
        console.show_line(state.trouble or "")
    console.show_inbox(state.inbox)
    console.show_doubtful_clocks(state.doubtful_clocks, spec)
    console.show_predictions(state.predictions)
    console.show_reports(state.reports)
    for pipeline, age in state.last_good.items():
        console.show_line(console.last_good_run(pipeline, age))
    console.show_line(state.adaptation)
    for what, place in state.places.items():
        console.show_line(f"{what}: {place}")
    if state.unsent_mail:
        console.show_line(f"unsent mail: {state.unsent_mail}; the next report sends it")
