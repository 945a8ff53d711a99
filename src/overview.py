"""The state of an installation as tables on the console."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from src.components.evaluation import ALL_PHASES
from src.components.journal import Journal
from src.components.registry import PRODUCTION, Registry
from src.errors import RegistryUnavailable
from src.settings import Settings
from src.soft_sensor import SoftSensor

console = Console()


def compact_table(title: str, *headers: str) -> Table:
    """A table whose rows stay on one line each."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def show_models(registry: Registry) -> None:
    """Registered versions, newest first."""
    production = registry.production()
    table = compact_table(registry.name, "version", "registered", "data", "code", "state")
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
    inbox = compact_table(
        "inbox now (rows)", "due", "kept", "waiting", "to reject", "rejected", "predictions made"
    )
    known = ("due", "kept", "waiting", "rejected", "predictions")
    odd = sum(rows for state, rows in counts.items() if state not in known)
    cells = [counts.get(state, 0) for state in known]
    inbox.add_row(*map(str, [*cells[:3], odd, *cells[3:]]))
    console.print(inbox)
    _show_predictions(journal.newest("predict"))
    _show_reports(journal.newest("monitor"))
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
    table = compact_table(
        f"{sensor.name} version {production.version} is Production; "
        "mean absolute error on the hold-out",
        *("target", "unit", "error", "of the median", "bias", "coverage"),
    )
    for target in sensor.targets:
        measures = [
            metrics.get(f"{target.name}_{ALL_PHASES}_{measure}", float("nan"))
            for measure in ("mae", "median_mae", "bias", "coverage")
        ]
        mae, median, bias, coverage = measures
        numbers = [f"{mae:.2f}", f"{median:.2f}", f"{bias:+.2f}", f"{coverage:.0%}"]
        table.add_row(target.title, target.unit, *numbers)
    console.print(table)


def _show_predictions(runs: list[dict[str, Any]]) -> None:
    fields = ("rows", "scored", "kept", "waiting", "rejected")
    table = compact_table("last predictions (rows)", "at (UTC)", "model", *fields, "outcome")
    for run in runs:
        counts = [str(run["details"][field]) for field in fields]
        table.add_row(_time(run["ended_at"]), run["model_version"] or "", *counts, run["outcome"])
    console.print(table)


def _show_reports(runs: list[dict[str, Any]]) -> None:
    table = compact_table("last reports", "until (UTC)", "phases", "verdict", "sensors", "report")
    for run in runs:
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
    return f"{moment:%m-%d %H:%M}"
