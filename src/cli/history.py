"""What `impress backfill` and `impress monitor --history` take and print."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import typer

from src.cli.console import show_json, show_line, show_preview, show_table
from src.components.backfill.comparison import Comparison, compare
from src.components.backfill.order import Summary
from src.components.backfill.results import Results
from src.components.backfill.units import Share
from src.errors import DataError
from src.files import S3
from src.process import cores
from src.settings import Settings
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    from src.components.drift_reporter.report import Report

SHOWN = 20  # lines of a list


def address(text: str) -> str:
    """A folder for results, absolute or on S3."""
    if text.startswith(S3):
        return text.rstrip("/")
    if "://" in text:
        raise typer.BadParameter(f"{text!r} is neither a folder nor {S3}..., where results can be")
    return os.path.abspath(os.path.expanduser(text))


def share(text: str) -> Share:
    """A share such as 3/16."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"{text!r} is not a share such as 3/16: the third of sixteen")
    return Share(int(match[1]), int(match[2]))


def spark_settings(texts: list[str]) -> dict[str, str]:
    """Settings of Spark as NAME=VALUE."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [name for name, sign, _ in pairs if not (name and sign)]:
        raise typer.BadParameter(f"{wrong[0]!r} is not a setting such as spark.executor.memory=2g")
    return {name: value for name, _, value in pairs}


def compared(old: str | None, new: str | None, spec: SoftSensor) -> Comparison | None:
    """Results against those of another model, if a user has named any."""
    return None if old is None or new is None else compare(Results(old), Results(new), spec)


def figures(summary: Summary, comparison: Comparison | None) -> dict[str, Any]:
    """For other programs."""
    if comparison is None:
        return {**summary.figures(), "comparison": None}
    verdicts = comparison.verdicts.reset_index().to_dict("records")
    moves = comparison.moves.to_dict("records")
    return {
        **summary.figures(),
        "comparison": {
            **vars(comparison),
            "changed": comparison.changed,
            "verdicts": verdicts,
            "moves": moves,
        },
    }


def show(summary: Summary, comparison: Comparison | None) -> None:
    """Print what became of a history."""
    history = summary.history
    for fault in history.unreadable:
        show_line(f"{'skipped' if summary.skipped else 'cannot be read'}: {fault}")
    for damaged in summary.counts.damaged:
        show_line(f"skipped: {damaged}")
    for failure in summary.failures:
        show_line(f"not done: {failure}")
    if history.without_experiment:
        show_line(f"{history.without_experiment:,} rows name no experiment and were left out")
    show_line(f"this run: {summary.counts}")
    if summary.counts.refused:
        reasons = ", ".join(f"{count} {code}" for code, count in summary.counts.refused.items())
        show_line(f"phases refused: {reasons}")
    there = summary.units - summary.missing
    show_line(f"{there} of {summary.units} units of {len(history.files)} files are there")
    if comparison is not None:
        _show_comparison(comparison)


def report_on_history(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # options
    settings: Settings,
    spec: SoftSensor,
    history: str,
    since: str | None,
    until: str | None,
    rig: str | None,
    as_json: bool,
) -> None:
    """Report on a window of what was scored: of all rigs, of one of them, or of the only one.

    Args:
        history: what `address` gives.
        rig: None for all of them.

    Raises:
        DataError: when it cannot be told what to compare with what.
    """
    from src.pipelines import monitor_history_pipeline as pipeline

    if spec.columns.rig is None:
        if rig is not None:
            raise DataError("params.yaml names no column of the rig: set columns.rig")
        _show_report(pipeline.monitor_history(settings, history, since, until), as_json)
        return
    if since is None:
        raise DataError("a rig is compared with what it did before --since: name a time")
    if rig is not None:
        _show_report(pipeline.monitor_rig(settings, history, rig, since, until), as_json)
        return
    report, page = pipeline.monitor_rigs(settings, history, since, until, cores())
    if as_json:
        show_json(report.figures())
        return
    show_table(
        report.headline,
        ["rig", "result"],
        [[each.rig, report.outcome(each)] for each in report.rigs[:SHOWN]],
    )
    show_line(f"the report on all {len(report.rigs):,} rigs is {page}")


def _show_report(written: Report, as_json: bool) -> None:
    show_preview(written.summary, as_json)
    if not as_json:
        show_line(f"the report is {written.page}")


def _show_comparison(comparison: Comparison) -> None:
    old, new = comparison.versions
    verdicts = comparison.verdicts
    show_table(
        f"verdicts of version {old} (rows) and version {new} (columns): "
        f"{comparison.changed:,} changed",
        ["", *verdicts.columns],
        [[str(name), *(f"{count:,}" for count in row)] for name, *row in verdicts.itertuples()],
    )
    show_table(
        f"{comparison.phases:,} phases are in both, {comparison.only_old:,} in the old results "
        f"only, {comparison.only_new:,} in the new ones only",
        ["target", "phase", "phases", "mean change", "mean absolute change"],
        [
            [
                move["target"],
                move["phase"],
                f"{move['phases']:,}",
                f"{move['mean_change']:+.3g}",
                f"{move['mean_absolute_change']:.3g}",
            ]
            for move in comparison.moves.to_dict("records")
        ],
    )
