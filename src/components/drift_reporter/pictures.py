"""The pictures of a report: the month of a sensor at fault, and all sensors in the last reports."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from src.components.adaptation.replay import DATE, ERROR, PHASE, SHIFT, TARGET, State
from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.indicators import SENSOR_INDICATORS
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import COLOURS, GREY
from src.components.drift_reporter.verdict import Verdict
from src.soft_sensor import Sensor, SoftSensor

SHOWN = 2  # sensors at fault that get a picture of their month
CONTROL_LIMIT = 3.0  # SD, of a Shewhart chart
BLUE = "#1f4e79"
QUANTILES = {0.05: ":", 0.5: "-", 0.95: ":"}  # of the reference, and their line styles


def draw(verdict: Verdict, evidence: Evidence, spec: SoftSensor, folder: Path) -> dict[Path, str]:
    """Draw the pictures of a report into `folder`. Returns files and their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    drifted = [name for name in verdict.onsets if name in verdict.sensors]
    for name in drifted[:SHOWN]:
        file = folder / f"{name}.png"
        draw_month(spec.sensor(name), verdict.onsets[name], evidence, spec, file)
        pictures[file] = (
            f"{name}: phases of the month, with median and 5 to 95 % range of the reference; red: "
            "begin of the drift, if it began in this month"
        )
    this_report = verdict.tests.assign(until=evidence.period.until)
    earlier = evidence.earlier.tests
    history = pd.concat([earlier, this_report]) if len(earlier) else this_report
    if history["until"].nunique() > 1:
        file = folder / "history.png"
        draw_history(history, spec, file)
        pictures[file] = (
            "Shift of each sensor in the last reports: green no drift, amber watch, red alarm; the "
            "horizontal lines mark the smallest shift that counts"
        )
    adaptation = evidence.laboratory.adaptation
    if adaptation is not None and len(adaptation.steps):
        file = folder / "adaptation.png"
        draw_adaptation(adaptation, spec, file)
        pictures[file] = (
            "Laboratory minus model alone, in SD of the usual error: median of each day (points), "
            "and the bias that corrects predictions (line); the horizontal lines mark 3 SD"
        )
    return pictures


def draw_adaptation(state: State, spec: SoftSensor, file: Path) -> None:
    """Draw one control chart for each target and phase: errors by day, and the bias."""
    from matplotlib.figure import Figure

    rows, columns = len(spec.targets), len(spec.phases)
    figure = Figure(figsize=(9, 1.5 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for row, column in product(range(rows), range(columns)):
        axis, phase, target = axes[row][column], spec.phases[column], spec.targets[row]
        of_phase = state.steps[state.steps[PHASE] == phase.value]
        steps = of_phase[of_phase[TARGET] == target.name]
        axis.plot(steps[DATE], steps[ERROR], ".", color=GREY, ms=4)
        axis.step(steps[DATE], steps[SHIFT], where="post", color=BLUE, lw=1.5)
        for limit in (-CONTROL_LIMIT, 0.0, CONTROL_LIMIT):
            axis.axhline(limit, color=GREY, lw=0.5)
        if row == 0:
            axis.set_title(phase.name, fontsize="medium")
        if column == 0:
            axis.set_ylabel(f"{target.title}\n[SD]")
    figure.autofmt_xdate()
    figure.savefig(file, dpi=100)


def draw_history(history: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw one control chart per sensor: its shift in each report, and the status.

    Args:
        history: see `Earlier.tests`, this report included.
    """
    from matplotlib.figure import Figure

    drifts = history[history["kind"] == Kind.DRIFT]
    figure = Figure(figsize=(9, 1.5 * len(spec.sensors) + 0.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(spec.sensors), 1, sharex=True))
    for axis, sensor in zip(axes, spec.sensors):
        own = drifts[drifts["part"] == sensor.name]
        for indicator in SENSOR_INDICATORS:
            if not indicator.line:
                continue
            rows = own[own["indicator"] == indicator.name]
            line = {"color": GREY, "lw": 1, "label": indicator.name}
            axis.plot(rows["until"], rows["shift"], indicator.line, **line)
            for status, colour in COLOURS.items():
                points = rows[rows["status"] == status.value]
                axis.plot(points["until"], points["shift"], "o", color=colour, ms=4)
        for limit in (-spec.monitoring.min_shift, spec.monitoring.min_shift):
            axis.axhline(limit, color=GREY, lw=0.5, ls="-")
        axis.set_ylabel(f"{sensor.title}\n[SD]")
    axes[0].legend(ncols=3, fontsize="small", loc="upper left")
    figure.autofmt_xdate()
    figure.savefig(file, dpi=100)


def draw_month(
    sensor: Sensor,
    onset: pd.Timestamp | None,
    evidence: Evidence,
    spec: SoftSensor,
    file: Path,
) -> None:
    """Draw the levels of a sensor over the month and the range of the reference, phase by phase.

    Args:
        onset: begin of the drift, None when before the month.
    """
    from matplotlib.figure import Figure

    phase_column = spec.columns.phase
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(spec.phases)))
    for axis, phase in zip(axes, spec.phases):
        dated = evidence.month.dropna(subset="last_timestamp")
        month = dated[dated[phase_column] == phase.value]
        reference = evidence.reference[evidence.reference[phase_column] == phase.value]
        times = pd.to_datetime(month["last_timestamp"], unit="s", utc=True)
        axis.plot(times, month[sensor.level], ".", color=BLUE, ms=4)
        for share, style in QUANTILES.items():
            axis.axhline(reference[sensor.level].quantile(share), color=GREY, lw=1, ls=style)
        if onset is not None:
            axis.axvline(onset, color=COLOURS[Status.ALARM], lw=1)
        axis.set_title(phase.name, fontsize="medium")
    axes[0].set_ylabel(f"{sensor.title} [{sensor.unit}]")
    figure.autofmt_xdate()
    figure.savefig(file, dpi=100)
