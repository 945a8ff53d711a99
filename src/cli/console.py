"""What commands print: tables and lines on the console."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from src.components.inbox.stock import N_ROWS, STATE
from src.components.predictor.reasons import Reason
from src.components.registry import signing
from src.components.trainer.evaluation import ALL_PHASES
from src.progress import Advance
from src.safe_text import safe, short
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    from src.cli.check import Finding
    from src.components.drift_reporter.summary import Summary
    from src.components.registry.production import Change
    from src.components.registry.versions import Version
    from src.pipelines.promote_pipeline import Decision

SHOWN = 40  # lines of a long list
KEYS = ["experiment", "phase"]
IN_A_FILE = 100_000  # characters: nothing that is written to a file or a log is cut
RULE = 100  # characters, at most


class _SafeConsole(Console):
    """A console that takes no text for markup, and makes each one safe."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Rich calls this for each text that it prints, also those in a table."""
        return super().render_str(safe(text), **options)


def _console() -> Console:
    """The console, which cuts nothing that goes to a file."""
    width = None if sys.stdout.isatty() else IN_A_FILE
    return _SafeConsole(markup=False, emoji=False, width=width)


def show_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose rows stay on one line each."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    show_heading(title)
    _show_padded(table)


def _show_padded(table: Table) -> None:
    """Print a table; to a file without the blanks that fill its lines."""
    console = _console()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        show_line(line.rstrip())


def show_heading(heading: str) -> None:
    """Print a heading."""
    _console().print(heading, style="bold", highlight=False)


def show_line(line: str) -> None:
    """Print one line as it is, however long."""
    _console().print(line, soft_wrap=True)


def show_rule(title: str) -> None:
    """Print a line across the console with a title in it."""
    console = _console()
    console.print(Rule(title, style="bold"), width=min(RULE, console.width))


def show_json(value: Any) -> None:
    """Print a record, or a list of records, in one line; what is not a finite number is null."""
    _console().print(json.dumps(_plain(value)), soft_wrap=True, highlight=False)


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, pd.DataFrame):
        value = value.to_dict("records")
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, bool | int | float) else safe(str(value))


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Advance]:
    """A bar on the terminal for one step, see `progress.watched`; it goes when the step ends."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = columns if total is not None else (columns[0], columns[1], columns[4])
    with Progress(*shown, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda units: progress.advance(task, units)


def show_findings(findings: Iterable[Finding]) -> None:
    """What `impress check` found, a line each."""
    for finding in findings:
        show_line(f"{finding.grade:<8} {finding.subject}: {finding.words}")


def show_versions(name: str, versions: Iterable[Version], production: Version | None) -> None:
    """Registered versions of a model.

    Args:
        production: the one of them that is Production, if any.
    """
    rows = []
    for version in versions:
        rows.append(
            [
                version.number,
                f"{version.registered_at:%Y-%m-%d %H:%M}",
                version.tags.get("data_version", "")[:12],
                version.tags.get("code_version", "")[:12],
                signing.signer_shown(name, version.tags),
                "Production" if production and version.number == production.number else "",
            ]
        )
    show_table(name, ["version", "registered (UTC)", "data", "code", "signed by", "state"], rows)


def show_history(changes: list[Change]) -> None:
    """What became Production when, newest first.

    Args:
        changes: what `registry.production.history` returns, oldest first.
    """
    if not changes:
        return
    show_heading("what became Production when (UTC), by whom, and why")
    for change in reversed(changes[-SHOWN:]):
        when = f"{change.at:%Y-%m-%d %H:%M}"
        what = f"version {change.version} {change.event} by {change.by}"
        show_line(f"{when}  {what}: {change.why}")


def show_comparison(decision: Decision, spec: SoftSensor) -> None:
    """Errors of a challenger and of Production on the same phases, if they were compared."""
    comparison = decision.comparison
    if comparison is None:
        return
    from src.components.trainer.gate import CONFIDENCE

    present = f"v{decision.present}"
    labels = {target.name: f"{target.title} [{target.unit}]" for target in spec.targets}
    rows = []
    for line in comparison.table.to_dict("records"):
        rows.append(
            [
                labels.get(line["target"], f"{line['target']} (relative)"),
                str(line["n"]),
                str(line["groups"]),
                f"{line['production']:.3g}",
                f"{line['challenger']:.3g}",
                f"{line['change']:+.0%}",
                f"{line['low']:+.0%} to {line['high']:+.0%}",
                f"{line['detectable']:.0%}",
                "worse" if line["target"] in comparison.worse else "",
            ]
        )
    show_table(
        "mean absolute error on unseen experiments; change with its "
        f"{CONFIDENCE:.0%} interval; the smallest loss that would be found",
        ["target", "phases", "groups", present, "new", "change", "interval", "loss", ""],
        rows,
    )
    if comparison.left_out:
        show_line(
            f"{comparison.left_out} phases were left out: groups were changed since one of the "
            "versions was trained, so it may have seen them"
        )


def show_study(compared: pd.DataFrame) -> None:
    """Sets of sensors, cheapest first; of many sets, only the best for their price and all sensors.

    Args:
        compared: what `sensor_study.compare_sets` returns.
    """
    if len(compared) > SHOWN:
        compared = compared[compared["pareto"] | (compared["loss"] == 0)]
    show_heading("errors of sets of sensors; * no other is both cheaper and better")
    show_line("  price  error   more than all    sensors")
    for line in compared.to_dict("records"):
        mark = "*" if line["pareto"] else " "
        error = f"{line['price']:>7g}  {line['relative']:.3f}"
        loss = f"{line['loss']:+.3f} ± {line['loss_se']:.3f}"
        show_line(f"{error}  {loss}  {mark} {line['set']}")


def show_next_samples(
    ranked: pd.DataFrame, experiments: int, version: str, spec: SoftSensor
) -> None:
    """Experiments that are most worth a laboratory analysis, with the reasons.

    Args:
        ranked: what `next_sample.worth_analysing` returns.
        experiments: number of experiments that were ranked.
        version: of the model that ranked them.
    """
    from src.components.trainer.next_sample import WHY

    show_heading(
        f"most worth a laboratory analysis, of {experiments} experiments without laboratory "
        f"values (ranked by version {version})"
    )
    for line in ranked.to_dict("records"):
        reasons = line[WHY] or "nothing unusual"
        show_line(f"{_key(line[spec.columns.experiment])}  {reasons}")


def show_need(expected: pd.DataFrame) -> None:
    """How many analyses the next month needs, and what each would bring.

    Args:
        expected: what `need.prospects` returns.
    """
    from src.components.adaptation import need

    count = need.needed(expected)
    rows = []
    for line in expected.to_dict("records"):
        number = int(line[need.COUNT])
        if number and (number <= count or number % 5 == 0):
            share = f"{line[need.REMAINING]:.1f} SD"
            rows.append([str(number), share, f"x {line[need.WIDTH]:.2f}"])
    experiments = "experiment" if count == 1 else "experiments"
    show_table(
        f"the next month needs {count} analysed {experiments}, each of another day, to correct a "
        f"change by {need.CHANGE:g} SD of the usual error",
        ["analyses", "remains of such a change", "intervals if nothing changes"],
        rows,
    )


def show_production(version: Version, metrics: dict[str, float], spec: SoftSensor) -> None:
    """The Production version and its out-of-fold errors.

    Args:
        metrics: of its training run, named as by `evaluation.flat_metrics`.
    """
    rows = []
    for target in spec.targets:
        measured = {}
        for measure in ("mae", "median_mae", "bias", "coverage", "width"):
            name = f"{target.name}_{ALL_PHASES}_{measure}"
            measured[measure] = metrics.get(name, float("nan"))
        rows.append(
            [
                target.title,
                target.unit,
                f"{measured['mae']:.2f}",
                f"{measured['median_mae']:.2f}",
                f"{measured['bias']:+.2f}",
                f"{measured['coverage']:.0%}",
                f"{measured['width']:.1f}",
            ]
        )
    show_table(
        f"{spec.name} version {version.number} is Production; errors on unseen experiments",
        ["target", "unit", "error", "of median", "bias", "coverage", "width"],
        rows,
    )


def show_inbox(counts: dict[str, int]) -> None:
    """Rows of the inbox by what the next run will do with them.

    Args:
        counts: what `Inbox.counts` returns.
    """
    columns = {
        "due": "due",
        "kept": "kept",
        "waiting": "waiting",
        "rejected": "rejected so far",
        "predictions": "predictions",
    }
    cells = [counts.get(state, 0) for state in columns]
    to_reject = sum(counts.values()) - sum(cells)  # all other states are reasons to reject
    headers = [*columns.values(), "to reject"]
    show_table("inbox now (rows)", headers, [[str(cell) for cell in [*cells, to_reject]]])


def show_plan(counts: dict[str, int]) -> None:
    """What the next run will do with the rows of the inbox, and why it rejects some.

    Args:
        counts: what `Inbox.counts` returns.
    """
    show_inbox(counts)
    for reason in Reason:
        if reason in counts:
            show_line(f"to reject: {counts[reason]} rows: {reason}; {reason.remedy}")


def show_ledger(rows: pd.DataFrame, spec: SoftSensor) -> None:
    """Predictions with their intervals and verdicts, a line each.

    Args:
        rows: of the ledger.
    """
    lines = []
    for row in rows.to_dict("records"):
        phase = spec.phase(row[spec.columns.phase])
        cells = [_key(row[spec.columns.experiment]), phase.name, stamp(row["last_timestamp"])]
        for target in spec.targets:
            interval = f"{row[target.lower]:.3g} to {row[target.upper]:.3g}"
            cells.append(f"{row[target.name]:.3g} ({interval})")
        lines.append([*cells, row["verdict"] or "", row["flags"] or ""])
    headers = [*KEYS, "ended (UTC)", *(f"{t.title} [{t.unit}]" for t in spec.targets)]
    show_table(f"{len(lines)} predictions", [*headers, "verdict", "flags"], lines)


def show_preview(summary: Summary, as_json: bool = False) -> None:
    """What a report would say."""
    if not as_json:
        show_line(summary.headline)
        for line in summary.text().splitlines():
            show_line(line)
        return
    said = ("status", "month", "titles", "findings", "about", "notes", "performance")
    show_json({name: getattr(summary, name) for name in said})


def show_doubtful_clocks(phases: list[dict[str, Any]], spec: SoftSensor) -> None:
    """Phases whose rows are stamped later than they arrived, if any.

    Args:
        phases: what `Inbox.doubtful_clocks` returns.
    """
    if not phases:
        return
    limit = timedelta(hours=spec.prediction.clock_limit_hours)
    rows = []
    for phase in phases:
        arrived = phase["arrived_at"]
        rows.append(
            [
                *(_key(phase[key]) for key in spec.columns.keys),
                stamp(phase["last_timestamp"]),
                _time(arrived),
                phase[STATE],
                _time(arrived + limit) if phase[STATE] == "waiting" else "",
            ]
        )
    headers = [*KEYS, "stamped (UTC)", "arrived (UTC)", "state", "waits until"]
    show_table("stamped later than they arrived (is the rig's clock right?)", headers, rows)


def show_predictions(runs: list[dict[str, Any]]) -> None:
    """The last runs of the prediction.

    Args:
        runs: rows of the table `runs`.
    """
    fields = ["scored", "kept", "waiting", "rejected", "purged"]
    rows = []
    for run in runs:
        counts = [str(run["details"].get(field, "")) for field in fields]
        model = run["model_version"] or ""
        rows.append([str(run["id"]), _time(run["started_at"]), model, *counts, run["outcome"]])
    headers = ["run", "at (UTC)", "model", *fields, "outcome"]
    show_table("last predictions (rows)", headers, rows)


def show_reports(runs: list[dict[str, Any]]) -> None:
    """The last runs of the monitoring.

    Args:
        runs: rows of the table `runs`.
    """
    rows = []
    for run in runs:
        details = run["details"]
        sensors = details.get("sensors")
        rows.append(
            [
                str(run["id"]),
                _time(run["started_at"]),
                str(details.get("rows", "")),
                run["outcome"],
                ", ".join(map(str, sensors)) if isinstance(sensors, list) else "",
                "accepted" if "accepted_at" in details else "",
            ]
        )
    headers = ["run", "at (UTC)", "phases", "verdict", "sensors", "as healthy"]
    show_table("last reports", headers, rows)


def last_good_run(pipeline: str, age: timedelta | None) -> str:
    """How long ago a pipeline last did its work, as one line.

    Args:
        age: what `Journal.age_of_last_good` returns.
    """
    if age is None:
        return f"last good run of {pipeline}: never yet"
    hours, minutes = divmod(age.seconds // 60, 60)
    ago = f"{age.days} d {hours} h" if age.days else f"{hours} h {minutes} min"
    return f"last good run of {pipeline}: {ago} ago"


def show_rejected(rejected: list[dict[str, Any]], spec: SoftSensor) -> None:
    """Rejected rows by reason, with the remedies, and by phase.

    Args:
        rejected: what `inbox.rejected.summary` returns.
    """
    if not rejected:
        show_line("no rows are rejected")
        return
    totals: dict[str, int] = {}
    for phase in rejected:
        totals[phase["reason"]] = totals.get(phase["reason"], 0) + phase[N_ROWS]
    remedies: dict[str, str] = {reason: reason.remedy for reason in Reason}
    for reason, count in totals.items():
        show_line(f"{reason}: {count} rows; {remedies.get(reason, 'not a reason of this version')}")
    rows = []
    for phase in rejected[:SHOWN]:
        keys = [_key(phase[key]) for key in spec.columns.keys]
        counts = [str(phase[N_ROWS]), str(phase["run_id"]), _time(phase["rejected_at"])]
        rows.append([*keys, short(phase["reason"]), *counts])
    headers = [*KEYS, "reason", "rows", "run", "at (UTC)"]
    only = f", the newest {SHOWN} of {len(rejected)}" if len(rejected) > SHOWN else ""
    show_table(f"rejected rows by phase{only}", headers, rows)


def stamp(seconds: float) -> str:
    """A rig's time stamp (Unix seconds) as date and time in UTC; as seconds if it is impossible."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):  # which one depends on the platform
        return f"{seconds:g} s"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%m-%d %H:%M}"


def _key(value: int | str | None) -> str:
    return "" if value is None else short(str(value))
