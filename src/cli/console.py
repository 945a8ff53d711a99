"""The state of an installation as tables on the console."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Engine

from src.components.database.journal import Journal
from src.components.inbox.states import Inbox
from src.components.predictor.reasons import Reason
from src.components.registry.production import PRODUCTION, history, production
from src.components.registry.versions import Registry
from src.components.trainer.evaluation import ALL_PHASES
from src.errors import RegistryUnavailable
from src.settings import Settings
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    from src.pipelines.promote_pipeline import Decision

SHOWN = 40  # phases in a list
KEYS = ["experiment", "phase"]

console = Console()


def show_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose rows stay on one line each."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(f"[bold]{title}[/]")
    console.print(table)


def show_models(registry: Registry) -> None:
    """Registered versions, newest first, and what was Production when."""
    current = production(registry)
    rows = []
    for version in registry.versions():
        state = PRODUCTION if current and version.number == current.number else ""
        registered = pd.Timestamp(version.registered_at, unit="ms")
        data, code = (version.tags.get(f"{kind}_version", "")[:12] for kind in ("data", "code"))
        date = f"{registered:%Y-%m-%d %H:%M}"
        rows.append([version.number, date, data, code, state])
    show_table(registry.name, ["version", "registered (UTC)", "data", "code", "state"], rows)
    if changes := history(registry):
        rows = [
            [f"{pd.Timestamp(e['at']):%Y-%m-%d %H:%M}", e["version"], e["event"], e["by"], e["why"]]
            for e in reversed(changes[-SHOWN:])
        ]
        console.print("[bold]what became Production when (UTC), by whom, and why[/]")
        for since, number, event, by, why in rows:
            line = f"{since}  version {number} {event} by {by}: {why}"
            console.print(escape(line), soft_wrap=True)


def show_comparison(decision: Decision, spec: SoftSensor) -> None:
    """Challenger beside Production on the hold-out."""
    comparison = decision.comparison
    assert comparison is not None
    titles = {target.name: f"{target.title} [{target.unit}]" for target in spec.targets}
    rows = []
    for line in comparison.table.to_dict("records"):
        errors = [f"{line[name]:.3g}" for name in ("production", "challenger")]
        change = f"{line['challenger'] / line['production'] - 1:+.0%}" if line["production"] else ""
        counts = [str(line["n"]), str(line["groups"])]
        verdict = "worse" if line["target"] in comparison.worse else ""
        label = titles.get(line["target"], f"{line['target']} (relative)")
        rows.append([label, *counts, *errors, change, f"{line['p_holm']:.2g}", verdict])
    headers = ["target", "phases", "groups", f"v{decision.present}", "new", "change"]
    show_table(
        "mean absolute error on the hold-out; p: that chance alone makes the new one so bad",
        [*headers, "p", ""],
        rows,
    )


def show_study(found: pd.DataFrame) -> None:
    """Sets of sensors, cheapest first; where there are many, the best for their price and all."""
    shown = found if len(found) <= SHOWN else found[found["pareto"] | (found["loss"] == 0)]
    console.print("[bold]errors of sets of sensors; * no other is both cheaper and better[/]")
    console.print("  price  error   more than all    sensors")
    for line in shown.to_dict("records"):
        mark = "*" if line["pareto"] else " "
        numbers = f"{line['price']:>7g}  {line['relative']:.3f}"
        loss = f"{line['loss']:+.3f} ± {line['loss_se']:.3f}"
        console.print(escape(f"{numbers}  {loss}  {mark} {line['set']}"), soft_wrap=True)


def show_next_samples(
    found: pd.DataFrame, experiments: int, version: str, spec: SoftSensor
) -> None:
    """Experiments that are most worth a laboratory analysis, with the reasons."""
    console.print(
        f"[bold]most worth a laboratory analysis, of {experiments} experiments that version "
        f"{version} knows no laboratory values of[/]"
    )
    for line in found.to_dict("records"):
        reasons = line["why"] or "nothing unusual"
        console.print(escape(f"{line[spec.columns.experiment]}  {reasons}"), soft_wrap=True)


def show_status(engine: Engine, settings: Settings, spec: SoftSensor) -> None:
    """Model, inbox, last runs, and where reports and mail are."""
    _show_model(settings, spec)
    with engine.connect() as connection:
        inbox = Inbox(connection, spec)
        counts, doubtful = inbox.counts(), inbox.doubtful_clocks()
    known = ["due", "kept", "waiting", "rejected", "predictions"]
    odd = sum(rows for state, rows in counts.items() if state not in known)
    cells = [*(counts.get(state, 0) for state in known), odd]
    headers = [*known[:3], "rejected so far", "predictions", "to reject"]
    show_table("inbox now (rows)", headers, [[str(cell) for cell in cells]])
    if doubtful:
        _show_clocks(doubtful, spec)
    journal = Journal(engine, spec)
    _show_predictions(journal.newest("predict"))
    _show_reports(journal.newest("monitor"))
    for pipeline in ("predict", "monitor"):
        console.print(last_good(journal, pipeline))
    console.print(f"reports: {settings.artifacts / 'reports'}", soft_wrap=True)
    outbox = settings.artifacts / "outbox"
    console.print(f"mail without a server: {outbox}", soft_wrap=True)
    if unsent := len(list(outbox.glob("unsent/*.eml"))):
        console.print(f"[bold]mail that no server took: {unsent}[/]; the next report sends it")
    console.print(f"logs: {settings.logs}", soft_wrap=True)


def last_good(journal: Journal, pipeline: str) -> str:
    """How long ago a pipeline last did its work, in words."""
    age = journal.age_of_last_good(pipeline)
    if age is None:
        return f"last good run of {pipeline}: never yet"
    hours, minutes = divmod(age.seconds // 60, 60)
    when = f"{age.days} d {hours} h" if age.days else f"{hours} h {minutes} min"
    return f"last good run of {pipeline}: {when} ago"


def _show_clocks(doubtful: list[dict[str, Any]], spec: SoftSensor) -> None:
    limit = pd.Timedelta(hours=spec.prediction.clock_limit_hours)
    rows = []
    for phase in doubtful:
        keys = [str(phase[key]) for key in spec.columns.keys]
        arrived = pd.Timestamp(phase["arrived_at"])
        until = _time(arrived + limit) if phase["state"] == "waiting" else ""
        rows.append([*keys, stamp(phase["last_timestamp"]), _time(arrived), phase["state"], until])
    headers = [*KEYS, "stamped (UTC)", "arrived (UTC)", "state", "waits until"]
    show_table("stamped later than they arrived: the clock of the rig?", headers, rows)


def show_rejected(rejected: list[dict[str, Any]], spec: SoftSensor) -> None:
    """Rejected rows by reason and by phase."""
    if not rejected:
        console.print("no rows are rejected")
        return
    remedies: dict[str, str] = {reason: reason.remedy for reason in Reason}
    totals: dict[str, int] = {}
    for phase in rejected:
        totals[phase["reason"]] = totals.get(phase["reason"], 0) + phase["n_rows"]
    for reason, count in totals.items():
        console.print(f"[bold]{reason}[/]: {count} rows; {remedies[reason]}", soft_wrap=True)
    rows = []
    for phase in rejected[:SHOWN]:
        keys = ["" if phase[key] is None else str(phase[key]) for key in spec.columns.keys]
        counts = [str(phase["n_rows"]), str(phase["run_id"]), _time(phase["rejected_at"])]
        rows.append([*keys, phase["reason"], *counts])
    headers = [*KEYS, "reason", "rows", "run", "at (UTC)"]
    more = f", the newest {SHOWN} of {len(rejected)}" if len(rejected) > SHOWN else ""
    show_table(f"rejected rows by phase{more}", headers, rows)


def _show_model(settings: Settings, spec: SoftSensor) -> None:
    registry = Registry(settings, spec.name)
    try:
        version = production(registry)
    except RegistryUnavailable as error:
        console.print(f"[bold]{error}[/]")
        return
    if version is None:
        console.print(f"no version of {spec.name} is Production: run `impress promote`")
        return
    metrics = registry.run_metrics(version)
    rows = []
    for target in spec.targets:
        mae, median, bias, coverage, width = (
            metrics.get(f"{target.name}_{ALL_PHASES}_{measure}", float("nan"))
            for measure in ("mae", "median_mae", "bias", "coverage", "width")
        )
        numbers = [f"{mae:.2f}", f"{median:.2f}", f"{bias:+.2f}", f"{coverage:.0%}", f"{width:.1f}"]
        rows.append([target.title, target.unit, *numbers])
    show_table(
        f"{spec.name} version {version.number} is Production; errors on the hold-out",
        ["target", "unit", "error", "of median", "bias", "coverage", "width"],
        rows,
    )


def _show_predictions(runs: list[dict[str, Any]]) -> None:
    fields = ["scored", "kept", "waiting", "rejected", "purged"]
    rows = []
    for run in runs:
        counts = [str(run["details"].get(field, "")) for field in fields]
        start = [str(run["id"]), _time(run["started_at"]), run["model_version"] or ""]
        rows.append([*start, *counts, run["outcome"]])
    headers = ["run", "at (UTC)", "model", *fields, "outcome"]
    show_table("last predictions (rows)", headers, rows)


def _show_reports(runs: list[dict[str, Any]]) -> None:
    rows = []
    for run in runs:
        details = run["details"]
        sensors = ", ".join(details.get("sensors", []))
        healthy = "accepted" if "accepted_at" in details else ""
        found = [str(details.get("rows", "")), run["outcome"], sensors, healthy]
        rows.append([str(run["id"]), _time(run["started_at"]), *found])
    headers = ["run", "at (UTC)", "phases", "verdict", "sensors", "as healthy"]
    show_table("last reports", headers, rows)


def stamp(seconds: float) -> str:
    """A rig's time stamp (Unix seconds) in words, also where it is no possible time."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # which one is the platform's choice
        return f"{seconds:g} s"


def _time(moment: pd.Timestamp) -> str:
    return f"{moment:%m-%d %H:%M}"
