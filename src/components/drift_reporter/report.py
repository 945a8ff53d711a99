"""The report of a month: our summary in words and pictures, and Evidently's page behind it."""

from __future__ import annotations

import warnings
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from src.components.drift_reporter.drift_tests import ALARM, OK, WATCH, indicators, peer_distances
from src.components.drift_reporter.findings import Finding
from src.components.drift_reporter.verdict import DRIFT, Verdict
from src.soft_sensor import SoftSensor

COLOURS = {ALARM: "#b3261e", WATCH: "#b58900", OK: "#2e7d32"}
GREY = "#666666"
SHOWN = 2  # accused sensors that get a picture of their month


@dataclass(frozen=True)
class Summary:
    """What a report says before all else.

    Attributes:
        name: of the soft sensor.
        titles: of the sensors at fault.
        about: what was looked at, and with what it was compared, a sentence each.
        notes: lines of what else a reader should know.
        performance: what `performance.figures` gives.
    """

    name: str
    verdict: Verdict
    titles: list[str]
    findings: list[Finding]
    about: list[str]
    notes: list[str]
    performance: pd.DataFrame

    @property
    def headline(self) -> str:
        """Verdict and culprits in a line."""
        sensors = f": {', '.join(self.titles)}" if self.titles else ""
        return f"{self.name}: {self.verdict.status}{sensors}"

    def text(self) -> str:
        """The summary as plain text."""
        return _templates().get_template("verdict.txt.j2").render(**self._values()).strip() + "\n"

    def html(self, pictures: dict[Path, str], source: Callable[[Path], str]) -> str:
        """The summary as a section of HTML.

        Args:
            pictures: files and what they show.
            source: where the page finds a file.
        """
        shown = [{"source": source(file), "words": words} for file, words in pictures.items()]
        template = _templates().get_template("verdict.html.j2")
        return template.render(
            pictures=shown,
            colour=COLOURS.get(self.verdict.status, GREY),
            **self._values(),
        )

    def _values(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "status": self.verdict.status,
            "sensors": self.titles,
            "findings": self.findings,
            "about": self.about,
            "notes": self.notes,
            "performance": self.performance[self.performance["count"] > 0].to_dict("records"),
        }


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("src.components.drift_reporter"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def embedded(picture: Path) -> str:
    """A picture as an address that holds it: the page needs no other file."""
    return f"data:image/png;base64,{b64encode(picture.read_bytes()).decode()}"


def write_report(
    summary: Summary,
    pictures: dict[Path, str],
    tables: tuple[pd.DataFrame, pd.DataFrame],
    spec: SoftSensor,
    file: Path,
) -> None:
    """Write one page: the summary, then Evidently's page of the indicators.

    Evidently draws; what counts as drift is looked up in the verdict, so the two always agree.

    Args:
        tables: the month and the reference.
    """
    drifted = summary.verdict.tests[summary.verdict.tests["kind"] == DRIFT]
    known = {
        f"{test['part']} {test['indicator']}": (abs(test["shift"]), test["status"] == ALARM)
        for test in drifted.to_dict("records")
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    words = summary.html(pictures, embedded)
    if not known:
        file.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{words}", encoding="utf-8")
        return
    month, reference = (_columns(table, tables[1], spec)[list(known)] for table in tables)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Evidently's own, of the libraries that it uses
        from evidently import DataDefinition, Dataset, Report
        from evidently.legacy.calculations.stattests import StatTest, register_stattest
        from evidently.legacy.core import ColumnType
        from evidently.presets import DataDriftPreset

        rules = spec.monitoring
        register_stattest(
            StatTest(
                name="impress_shift",
                display_name=f"shift in SD, drift by Holm p <= {rules.alarm}",
                allowed_feature_types=[ColumnType.Numerical],
                default_threshold=rules.min_shift,
            ),
            default_impl=lambda reference_data, current_data, *_: known[current_data.name],
        )
        drift = DataDriftPreset(
            columns=list(known),
            method="impress_shift",
            threshold=rules.min_shift,
            drift_share=1 / len(known),
        )
        definition = DataDefinition(numerical_columns=list(known))
        current, usual = (Dataset.from_pandas(table, definition) for table in (month, reference))
        Report([drift]).run(current_data=current, reference_data=usual).save_html(str(file))
    page = file.read_text(encoding="utf-8")
    start = page.index(">", page.index("<body")) + 1
    file.write_text(page[:start] + words + page[start:], encoding="utf-8")


def _columns(table: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    values = indicators(table, reference, spec)
    if len(spec.sensors) > 1:
        peers = [sensor.name for sensor in spec.sensors]
        values |= peer_distances(peers, table, reference, spec)
    return pd.DataFrame({" ".join(name): column for name, column in values.items()})


def draw(
    verdict: Verdict,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    history: pd.DataFrame,
    spec: SoftSensor,
    folder: Path,
) -> dict[Path, str]:
    """Draw the pictures of a report into `folder`. Returns files and what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name in [name for name in verdict.onsets if name in verdict.sensors][:SHOWN]:
        file = folder / f"{name}.png"
        draw_month(name, tables, verdict.onsets[name], spec, file)
        pictures[file] = (
            f"{name}: the phases of the month, over median and 5 to 95 % of the reference; red: "
            "since when it is off, where it began in this month"
        )
    if history["until"].nunique() > 1:
        draw_history(history, spec, folder / "history.png")
        pictures[folder / "history.png"] = (
            "Shift of each sensor in the last reports: green no drift, amber watch, red alarm; the "
            "lines are the least shift that counts"
        )
    return pictures


def draw_history(history: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw a control chart a sensor: its shift in each window, and what it was called.

    Args:
        history: see `MonitoringLog.history`, the present window last.
    """
    from matplotlib.figure import Figure

    drifted = history[history["kind"] == DRIFT]
    figure = Figure(figsize=(9, 1.5 * len(spec.sensors) + 0.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(spec.sensors), 1, sharex=True))
    for axis, sensor in zip(axes, spec.sensors):
        own = drifted[drifted["part"] == sensor.name]
        for indicator, style in (("level", "-"), ("peer", "--"), ("noise", ":")):
            rows = own[own["indicator"] == indicator]
            axis.plot(rows["until"], rows["shift"], style, color=GREY, lw=1, label=indicator)
            for status, colour in COLOURS.items():
                called = rows[rows["status"] == status]
                axis.plot(called["until"], called["shift"], "o", color=colour, ms=4)
        for limit in (-spec.monitoring.min_shift, spec.monitoring.min_shift):
            axis.axhline(limit, color=GREY, lw=0.5, ls="-")
        axis.set_ylabel(f"{sensor.title}\n[SD]")
    axes[0].legend(ncols=3, fontsize="small", loc="upper left")
    figure.autofmt_xdate()
    figure.savefig(file, dpi=100)


def draw_month(
    name: str,
    tables: tuple[pd.DataFrame, pd.DataFrame],
    onset: pd.Timestamp | None,
    spec: SoftSensor,
    file: Path,
) -> None:
    """Draw a sensor's levels through the month over the range of the reference, phase by phase.

    Args:
        tables: the month and the reference.
    """
    from matplotlib.figure import Figure

    month, reference = tables
    sensor = next(each for each in spec.sensors if each.name == name)
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(spec.phases)))
    for axis, phase in zip(axes, spec.phases):
        rows, usual = (
            table.loc[table[spec.columns.phase] == phase.value, f"{name}_median"]
            for table in (month, reference)
        )
        times = pd.to_datetime(month.loc[rows.index, "last_timestamp"], unit="s", utc=True)
        axis.plot(times, rows, ".", color="#1f4e79", ms=4)
        for share, style in ((0.05, ":"), (0.5, "-"), (0.95, ":")):
            axis.axhline(usual.quantile(share), color=GREY, lw=1, ls=style)
        if onset is not None:
            axis.axvline(onset, color=COLOURS[ALARM], lw=1)
        axis.set_title(phase.name, fontsize="medium")
    axes[0].set_ylabel(f"{sensor.title} [{sensor.unit}]")
    figure.autofmt_xdate()
    figure.savefig(file, dpi=100)
