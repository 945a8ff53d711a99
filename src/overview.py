"""The state of an installation as tables on the console."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def show_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose rows stay on one line each."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(f"[bold]{title}[/]")
    console.print(table)


def show_models(registry: Registry) -> None:
    """Registered versions, newest first."""
    production = registry.production()
    rows = []
    for version in registry.versions():
        state = PRODUCTION if production and version.version == production.version else ""
        registered = pd.Timestamp(version.creation_timestamp, unit="ms")
        data, code = (version.tags.get(f"{kind}_version", "")[:12] for kind in ("data", "code"))
        date = f"{registered:%Y-%m-%d %H:%M}"
        rows.append([str(version.version), date, data, code, state])
    show_table(registry.name, ["version", "registered (UTC)", "data", "code", "state"], rows)


def show_status(engine: Engine, settings: Settings, sensor: SoftSensor) -> None:
    """Model, inbox, last runs, and where reports and mail are."""
    _show_model(settings, sensor)
    journal = Journal(engine, sensor)
    counts = journal.inbox()
    known = ["due", "kept", "waiting", "rejected", "predictions"]
    odd = sum(rows for state, rows in counts.items() if state not in known)
    cells = [*(counts.get(state, 0) for state in known), odd]
    headers = [*known[:3], "rejected so far", "predictions", "to reject"]
    show_table("inbox now (rows)", headers, [[str(cell) for cell in cells]])
    _show_predictions(journal.newest("predict"))
    _show_reports(journal.newest("monitor"))
    console.print(f"reports: {settings.artifacts / 'reports'}", soft_wrap=True)
    console.print(f"mail without a server: {settings.artifacts / 'outbox'}", soft_wrap=True)
    console.print(f"logs: {settings.logs}", soft_wrap=True)


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
    rows = []
    for target in sensor.targets:
        mae, median, bias, coverage = (
            metrics.get(f"{target.name}_{ALL_PHASES}_{measure}", float("nan"))
            for measure in ("mae", "median_mae", "bias", "coverage")
        )
        numbers = [f"{mae:.2f}", f"{median:.2f}", f"{bias:+.2f}", f"{coverage:.0%}"]
        rows.append([target.title, target.unit, *numbers])
    show_table(
        f"{sensor.name} version {production.version} is Production; errors on the hold-out",
        ["target", "unit", "mean absolute", "of the median", "bias", "coverage"],
        rows,
    )


def _show_predictions(runs: list[dict[str, Any]]) -> None:
    fields = ["rows", "scored", "kept", "waiting", "rejected"]
    rows = []
    for run in runs:
        counts = [str(run["details"][field]) for field in fields]
        rows.append([_time(run["ended_at"]), run["model_version"] or "", *counts, run["outcome"]])
    show_table("last predictions (rows)", ["at (UTC)", "model", *fields, "outcome"], rows)


def _show_reports(runs: list[dict[str, Any]]) -> None:
    rows = []
    for run in runs:
        details = run["details"]
        report = (details["report"] or "").rsplit("/", maxsplit=1)[-1]
        sensors = ", ".join(details["sensors"])
        until = _time(pd.Timestamp(details["until"]))
        rows.append([until, str(details["rows"]), run["outcome"], sensors, report])
    show_table("last reports", ["until (UTC)", "phases", "verdict", "sensors", "report"], rows)


def _time(moment: pd.Timestamp) -> str:
    return f"{moment:%m-%d %H:%M}"
