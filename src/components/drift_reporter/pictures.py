"""The pictures of a report: the month of a sensor at fault, and all sensors in the last reports."""

from __future__ import annotations

from datetime import date
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from src.components.adaptation.replay import DATE, ERROR, PHASE, SHIFT, TARGET, State
from src.components.adaptation.shift import FARTHEST
from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.indicators import SENSOR_INDICATORS
from src.components.drift_reporter.kinds import Kind
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.summary import COLOURS
from src.components.drift_reporter.verdict import Verdict
from src.components.emailer.page import BLUE, GREY, VERMILION
from src.language import Language, headed
from src.soft_sensor import Sensor, SoftSensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

WIDTH, DPI = 7.2, 120  # in, and pixels of each: a mail shows two thirds of them
COLOURS_KEPT = 64
DATES = 5  # below an axis
SHOWN = 2  # sensors at fault that get a picture of their month
MARKERS = {Status.ALARM: "X", Status.WATCH: "D", Status.NO_DRIFT: "o"}
CONTROL_LIMIT = 3.0  # SD, of a Shewhart chart
QUANTILES = {0.05: ":", 0.5: "-", 0.95: ":"}  # of the reference, and their line styles


def draw(verdict: Verdict, evidence: Evidence, spec: SoftSensor, folder: Path) -> dict[Path, str]:
    """Draw the pictures of a report into `folder`. Returns files and their captions."""
    say = Language(spec.language).say
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    drifted = [name for name in verdict.onsets if name in verdict.sensors]
    for name in drifted[:SHOWN]:
        file = folder / f"{name}.png"
        draw_month(spec.sensor(name), verdict.onsets[name], evidence, spec, file)
        pictures[file] = say(
            "{sensor}: phases of the month, with median and 5 to 95 % range of the reference as "
            "grey lines; the dashed line marks the begin of the drift, if it began in this month",
            sensor=spec.sensor(name).title,
        )
    this_report = verdict.tests.assign(until=evidence.period.until)
    earlier = evidence.earlier.tests
    history = pd.concat([earlier, this_report]) if len(earlier) else this_report
    if history["until"].nunique() > 1:
        file = folder / "history.png"
        draw_history(history, spec, file)
        pictures[file] = say(
            "Shift of each sensor in the last reports: circle no drift, diamond watch, cross "
            "alarm; the horizontal lines mark the smallest shift that counts"
        )
    adaptation = evidence.laboratory.adaptation
    if adaptation is not None and len(adaptation.steps):
        file = folder / "adaptation.png"
        _save(control_chart(adaptation, spec), file)
        pictures[file] = say(
            "Laboratory minus model alone, in SD of the usual error: median of each day (points), "
            "and the bias that corrects predictions (line); the horizontal lines mark 3 SD"
        )
    return pictures


def control_chart(state: State, spec: SoftSensor) -> Figure:
    """One chart for each target and phase: errors by day, the bias, and its control limits.

    An error beyond the largest shift that is distinguished is drawn there.
    """
    from matplotlib.figure import Figure

    language = Language(spec.language)
    rows, columns = len(spec.targets), len(spec.phases)
    figure = Figure(figsize=(WIDTH, 1.5 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for row, column in product(range(rows), range(columns)):
        axis, phase, target = axes[row][column], spec.phases[column], spec.targets[row]
        of_phase = state.steps[state.steps[PHASE] == phase.value]
        steps = of_phase[of_phase[TARGET] == target.name]
        errors = steps[ERROR].clip(-FARTHEST, FARTHEST)
        axis.plot(steps[DATE], errors, ".", color=GREY, ms=4)
        axis.step(steps[DATE], steps[SHIFT], where="post", color=BLUE, lw=1.5)
        for limit in (-CONTROL_LIMIT, 0.0, CONTROL_LIMIT):
            axis.axhline(limit, color=GREY, lw=0.5)
        if row == 0:
            axis.set_title(phase.shown, fontsize="medium")
        if column == 0:
            axis.set_ylabel(f"{target.title}\n[SD]")
        _label_days(axis, language)
        axis.yaxis.set_major_formatter(_numbers(language))
    figure.autofmt_xdate()
    return figure


def draw_history(history: pd.DataFrame, spec: SoftSensor, file: Path) -> None:
    """Draw one control chart per sensor: its shift in each report, and the status.

    Args:
        history: see `Earlier.tests`, this report included.
    """
    from matplotlib.figure import Figure

    language = Language(spec.language)
    untils = sorted(history["until"].unique())
    drifts = history[history["kind"] == Kind.DRIFT]
    drifts = drifts.assign(report=drifts["until"].map(untils.index))
    figure = Figure(figsize=(WIDTH, 1.2 * len(spec.sensors) + 0.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(spec.sensors), 1, sharex=True))
    for axis, sensor in zip(axes, spec.sensors):
        own = drifts[drifts["part"] == sensor.name]
        for indicator in SENSOR_INDICATORS:
            if not indicator.line:
                continue
            rows = own[own["indicator"] == indicator.name]
            line = {"color": GREY, "lw": 1, "label": language.say(indicator.name)}
            axis.plot(rows["report"], rows["shift"], indicator.line, **line)
            for status, colour in COLOURS.items():
                points = rows[rows["status"] == status.value]
                marker = {"color": colour, "marker": MARKERS[status], "ls": "", "ms": 6}
                axis.plot(points["report"], points["shift"], **marker)
        for limit in (-spec.monitoring.min_shift, spec.monitoring.min_shift):
            axis.axhline(limit, color=GREY, lw=0.5, ls="-")
        axis.set_ylabel(f"{sensor.title}\n[SD]")
        axis.yaxis.set_major_formatter(_numbers(language))
    _label_reports(axes[-1], untils, language)
    axes[0].legend(ncols=3, fontsize="small", loc="upper left")
    figure.autofmt_xdate()
    _save(figure, file)


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

    language, phase_column = Language(spec.language), spec.columns.phase
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
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
            axis.axvline(onset, color=VERMILION, lw=1.5, ls="--")
        axis.set_title(phase.shown, fontsize="medium")
        _label_days(axis, language)
        axis.yaxis.set_major_formatter(_numbers(language))
    axes[0].set_ylabel(headed(sensor.title, sensor.unit))
    figure.autofmt_xdate()
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    """Write a PNG of few colours, a quarter of the size: pictures travel in mails."""
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn, dpi=DPI)
    # By coverage of all colours: by frequency, the few marks of an alarm would become grey.
    few = Image.open(drawn).convert("RGB").quantize(COLOURS_KEPT, Image.Quantize.MAXCOVERAGE)
    few.save(file, "PNG", optimize=True)


def _label_days(axis: Axes, language: Language) -> None:
    """Whole days along an axis of time, without their year."""
    from matplotlib.dates import num2date
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(DATES, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda day, _: _short(num2date(day), language)))


def _label_reports(axis: Axes, untils: list[pd.Timestamp], language: Language) -> None:
    """The day of each report, or of some of them, along an axis of their numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def day(number: float, _: int) -> str:
        known = 0 <= number < len(untils)
        return _short(untils[int(number)], language) if known else ""

    axis.xaxis.set_major_locator(MaxNLocator(DATES, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(day))


def _short(day: date, language: Language) -> str:
    """A day without its year: 3 Jun, or 3.6."""
    return language.weekday(day).partition(" ")[2]


def _numbers(language: Language) -> FuncFormatter:
    """Numbers of an axis, written as in the language."""
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: language.number(value, ",g"))
