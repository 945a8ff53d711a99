"""The state of an installation: its model, inbox, last runs, and where reports and mail are."""

from __future__ import annotations

from sqlalchemy import Engine

from src.cli import console
from src.cli.adaptation import status_line
from src.components.database.journal import Journal
from src.components.inbox.states import Inbox
from src.components.registry.production import production
from src.components.registry.versions import Registry
from src.errors import RegistryUnavailable
from src.settings import Settings
from src.soft_sensor import SoftSensor


def show_status(engine: Engine, settings: Settings, spec: SoftSensor) -> None:
    """Print it all, also while the registry does not answer."""
    _show_model(Registry(settings, spec.name), spec)
    with engine.connect() as connection:
        inbox = Inbox(connection, spec)
        console.show_inbox(inbox.counts())
        console.show_doubtful_clocks(inbox.doubtful_clocks(), spec)
    journal = Journal(engine, spec)
    console.show_predictions(journal.newest("predict"))
    console.show_reports(journal.newest("monitor"))
    for pipeline in ("predict", "monitor"):
        age = journal.age_of_last_good(pipeline)
        console.show_line(console.last_good_run(pipeline, age))
    console.show_line(status_line(engine, spec))
    _show_places(settings)


def _show_model(registry: Registry, spec: SoftSensor) -> None:
    try:
        version = production(registry)
        if version is None:
            console.show_line(f"no version of {spec.name} is Production: run `impress promote`")
            return
        console.show_production(version, registry.run_metrics(version), spec)
    except RegistryUnavailable as error:
        console.show_line(str(error))


def _show_places(settings: Settings) -> None:
    outbox = settings.artifacts / "outbox"
    console.show_line(f"reports: {settings.artifacts / 'reports'}")
    console.show_line(f"mail without a server: {outbox}")
    unsent = len(list(outbox.glob("unsent/*.eml")))
    if unsent:
        console.show_line(f"unsent mail: {unsent}; the next report sends it")
    console.show_line(f"logs: {settings.logs}")
