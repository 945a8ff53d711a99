"""The sensors: the verdict on each in every report, its control chart, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from sqlalchemy import select

from src.components.database.tables import read_rows, tables
from src.components.drift_reporter.status import Status
from src.components.page.history import time_labels
from src.components.page.marks import Dot, Picture, plot
from src.components.page.reports import Report, read_reports
from src.components.page.source import Source
from src.soft_sensor import Sensor

LEVEL, PEER = "level", "peer"  # indicators that the chart shows
DRIFT = "drift"  # in the column `kind`
SHAPES = {Status.ALARM: "n", Status.WATCH: "u"}


@dataclass(frozen=True)
class Line:
    """A sensor in all reports, newest first.

    Attributes:
        verdicts: `c`, `u` or `n` by report: nothing found, watch, alarm; empty where not tested.
        shifts: of its level by report, in standard deviations of the reference; NaN: not tested.
    """

    sensor: Sensor
    verdicts: tuple[str, ...]
    shifts: tuple[float, ...]
    picture: Markup


@dataclass(frozen=True)
class Sensors:
    """What the page of the sensors shows; reports newest first."""

    reports: tuple[Report, ...]
    lines: tuple[Line, ...]


def read_sensors(source: Source) -> Sensors:
    """Read it from the database."""
    reports = read_reports(source)
    table = tables(source.spec).monitoring_tests
    query = select(table).where(table.c.run_id.in_([report.run_id for report in reports]))
    with source.engine.connect() as connection:
        tests = read_rows(connection, query)
    lines = [_line(sensor, reports, tests, source) for sensor in source.spec.sensors]
    worst_first = sorted(lines, key=lambda line: "nuc".find(line.verdicts[0] or "c"))
    return Sensors(tuple(reports), tuple(worst_first))


def _line(sensor: Sensor, reports: Sequence[Report], tests: pd.DataFrame, source: Source) -> Line:
    own = tests[tests["part"] == sensor.name]
    return Line(
        sensor=sensor,
        verdicts=tuple(_verdict(sensor, report, own) for report in reports),
        shifts=tuple(_shift(LEVEL, report, own) for report in reports),
        picture=_chart(sensor, reports, own, source),
    )


def _verdict(sensor: Sensor, report: Report, own: pd.DataFrame) -> str:
    """What a report says of a sensor: that of the worst test, an alarm only for one at fault."""
    statuses = set(own.loc[own["run_id"] == report.run_id, "status"])
    if sensor.name in report.sensors:
        return "n"
    if statuses & {Status.ALARM.value, Status.WATCH.value}:
        return "u"
    return "c" if statuses else ""


def _shift(indicator: str, report: Report, own: pd.DataFrame) -> float:
    mine = own[
        (own["run_id"] == report.run_id) & (own["indicator"] == indicator) & (own["kind"] == DRIFT)
    ]
    return float(mine["shift"].iloc[0]) if len(mine) else float("nan")


def _chart(sensor: Sensor, reports: Sequence[Report], own: pd.DataFrame, source: Source) -> Markup:
    """Shift of the level, and of what the other sensors do not explain, report by report."""
    oldest_first = list(reversed(reports))
    places = [report.until.timestamp() for report in oldest_first]
    levels = [(place, _shift(LEVEL, report, own)) for place, report in zip(places, oldest_first)]
    peers = [(place, _shift(PEER, report, own)) for place, report in zip(places, oldest_first)]
    dots = [
        Dot(place, value, kind=_verdict(sensor, report, own) or "c")
        for (place, value), report in zip(levels, oldest_first)
    ]
    smallest = source.spec.monitoring.min_shift
    return plot(
        Picture(
            title=source.language.say("{sensor} in the last reports", sensor=sensor.title),
            dots=dots,
            lines=(("q", peers), ("p", levels)),
            band=(-smallest, smallest),
            include=(-1.0, 1.0),
            places=time_labels(places[0], places[-1], source.language),
        ),
        source.language,
    )
