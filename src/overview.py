"""The state of an installation as tables on the console."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from src.components.archive import Outcome
from src.components.evaluation import ALL_PHASES
from src.components.journal import Journal
from src.components.registry import PRODUCTION, Registry
from src.errors import RegistryUnavailable
from src.settings import Settings
from src.soft_sensor import SoftSensor

console = Console()


def show_models(registry: Registry) -> None:
    """Registered versions, newest first."""
    production = registry.production()
    table = Table("version", "registered", "data", "code", "state", title=registry.name)
    for version in registry.versions():
        state = PRODUCTION if production and version.version == production.version else ""
        registered = pd.Timestamp(version.creation_timestamp, unit="ms")
        tags = version.tags
        table.add_row(
            str(version.version),
            f"{registered:%Y-%m-%d %H:%M}",
            tags.get("data_version", "")[:12],
            tags.get("code_version", "")[:12],
            state,
        )
    console.print(table)


def show_status(engine: Engine, settings: Settings, sensor: SoftSensor) -> None:
    """Model, inbox, last runs, and where reports and mail are."""
    _show_model(settings, sensor)
    journal = Journal(engine, sensor)
    counts = journal.inbox()
    inbox = Table("rows due", "kept", "waiting", "to reject", "rejected", "predictions")
    inbox.title = "inbox now"
    known = ("due", "kept", "waiting", "rejected", "predictions")
    odd = sum(rows for state, rows in counts.items() if state not in known)
    cells = [counts.get(state, 0) for state in known]
    inbox.add_row(*map(str, [*cells[:3], odd, *cells[3:]]))
    console.print(inbox)
    runs = journal.newest()
    _show_predictions(runs[runs["pipeline"] == "predict"])
    _show_reports(runs[runs["pipeline"] == "monitor"])
    console.print(f"reports: {settings.artifacts / 'reports'}")
    console.print(f"mail without a server: {settings.artifacts / 'outbox'}")
    console.print(f"logs: {settings.logs}")


def _show_model(settings: Settings, sensor: SoftSensor) -> None:
    registry = Registry(settings, sensor.name)
    try:
        production = registry.production()
    except RegistryUnavailable as error:
        console.print(f"[bold]{error}[/]")
        return
    if production is None:
        console.print(f"no version of {sensor.name} is Production: run `impress promote`")
        return
    metrics = registry.run_metrics(production)
    table = Table("target", "unit", "hold-out error", "median predictor", "bias", "coverage")
    table.title = f"{sensor.name} version {production.version} is Production"
    for target in sensor.targets:
        measures = [
            metrics.get(f"{target.name}_{ALL_PHASES}_{measure}", float("nan"))
            for measure in ("mae", "median_mae", "bias", "coverage")
        ]
        error, median, bias, coverage = measures
        numbers = [f"{error:.2f}", f"{median:.2f}", f"{bias:+.2f}", f"{coverage:.0%}"]
        table.add_row(target.title, target.unit, *numbers)
    console.print(table)


def _show_predictions(runs: pd.DataFrame) -> None:
    table = Table("at", "model", *Outcome.__annotations__, "outcome", title="predict: last runs")
    for run in runs.to_dict("records"):
        counts = [str(run["details"].get(field, "")) for field in Outcome.__annotations__]
        table.add_row(_time(run["ended_at"]), run["model_version"] or "", *counts, run["outcome"])
    console.print(table)


def _show_reports(runs: pd.DataFrame) -> None:
    table = Table("until", "phases", "verdict", "sensors", "report", title="monitor: last runs")
    for run in runs.to_dict("records"):
        details: dict[str, Any] = run["details"]
        report = (details["report"] or "").rsplit("/", maxsplit=1)[-1]
        table.add_row(
            _time(pd.Timestamp(details["until"])),
            str(details["rows"]),
            run["outcome"],
            ", ".join(details["sensors"]),
            report,
        )
    console.print(table)


def _time(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
