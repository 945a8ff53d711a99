"""What a verdict means in words: which sensor, since when, how certain, and what to do now."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from src.components.drift_reporter.checks import CHECKS
from src.components.drift_reporter.indicators import (
    LEVEL,
    NOISE,
    SENSOR_INDICATORS,
    TARGET_INDICATORS,
    Indicator,
)
from src.components.drift_reporter.kinds import Entry, Kind
from src.components.drift_reporter.performance import LOSSES
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict
from src.soft_sensor import Quantity, SoftSensor

_TABLES: list[tuple[Entry, ...]] = [SENSOR_INDICATORS, TARGET_INDICATORS, CHECKS, LOSSES]
ENTRIES = {entry.name: entry for table in _TABLES for entry in table}
# In place of the advice of single sensors that have moved together.
PROCESS = (
    "Several sensors moved together and are consistent with each other: before cleaning them, find "
    "out what has changed in {influences}. If the change is intended, take laboratory samples of "
    "it and retrain; if all is well, `impress monitor --accept`."
)
# When the process moves related sensors, less than this share of a level's shift is left against
# the other sensors; after a fault, more (tests/unit/drift_reporter/test_findings.py tries both).
EXPLAINED = 0.96


@dataclass(frozen=True)
class Finding:
    """One thing that has changed.

    Attributes:
        status: `alarm` or `watch`.
        what: which sensor or target, what has changed, and since when.
        certainty: how often chance alone would lead to it in a healthy month.
        advice: what to do now.
    """

    status: Status
    what: str
    certainty: str
    advice: str


def findings(verdict: Verdict, reference: pd.DataFrame, spec: SoftSensor) -> list[Finding]:
    """All that a verdict has found, alarms first."""
    reported = verdict.tests[verdict.tests["status"] != Status.NO_DRIFT.value]
    together = _moved_together(verdict)
    listed = []
    for _, tests in reported.groupby(["kind", "part"], sort=False):
        kind, part = str(tests["kind"].iloc[0]), str(tests["part"].iloc[0])
        changes = [_change(test, reference, spec) for _, test in tests.iterrows()]
        strongest = tests.sort_values("p_holm").iloc[0]
        advice = PROCESS if part in together else ENTRIES[strongest["indicator"]].advice
        alarm = Status.ALARM.value in set(tests["status"])
        listed.append(
            Finding(
                status=Status.ALARM if alarm else Status.WATCH,
                what=_title(part, spec) + ", ".join(changes) + _since(kind, part, verdict),
                certainty=_certainty(strongest["p_holm"]),
                advice=advice.format(**spec.wording.model_dump()),
            )
        )
    return sorted(listed, key=lambda finding: finding.status != Status.ALARM)


def _title(part: str, spec: SoftSensor) -> str:
    """The sensor or target; empty for the month as a whole."""
    quantities: list[Quantity] = [*spec.sensors, *spec.targets]
    titles = {quantity.name: quantity.title for quantity in quantities}
    return f"{titles[part]} ({part}): " if part else ""


def _change(test: pd.Series, reference: pd.DataFrame, spec: SoftSensor) -> str:
    """What has changed, and by how much."""
    entry = ENTRIES[test["indicator"]]
    shift = float(test["shift"])
    words = entry.words.format(
        shift=shift, points=100 * shift, fewer=-100 * shift, first=spec.phases[0].name
    )
    if not (isinstance(entry, Indicator) and entry.in_units):
        return words
    # Shifts are in standard deviations within a phase.
    sensor = spec.sensor(test["part"])
    level = reference[sensor.level]
    deviation = level - level.groupby(reference[spec.columns.phase]).transform("mean")
    unit = "" if sensor.unit == "1" else f" {sensor.unit}"
    return f"{words} (about {shift * deviation.std():+.3g}{unit})"


def _since(kind: str, part: str, verdict: Verdict) -> str:
    """Since when, and whether it awaits confirmation."""
    since = ""
    if kind == Kind.DRIFT and part in verdict.onsets:
        onset = verdict.onsets[part]
        since = f", since {onset:%-d %B %Y}" if onset else ", since before this month"
    if part in verdict.unconfirmed:
        since += "; awaiting confirmation by another month"
    return since


def _certainty(p: float) -> str:
    if pd.isna(p):
        return "a fixed rule, not a statistical test"
    if p >= 0.001:
        return f"occurs by chance in about {p:.1%} of healthy months"
    rarity = "1,000" if p >= 1e-6 else "a million"
    return f"occurs by chance in fewer than one in {rarity} healthy months"


def _moved_together(verdict: Verdict) -> set[str]:
    """Sensors whose shift of level is partly explained by the others, if there are several.

    A fault of one sensor stands out more against its peers than in its level, because they take the
    movements of the process out of it. A change of the process, which moves related sensors, stands
    out less.
    """
    tests = verdict.tests
    drifted = tests[(tests["kind"] == Kind.DRIFT) & (tests["status"] == Status.ALARM.value)]
    levels = drifted[drifted["indicator"] == LEVEL]
    if levels.empty:
        return set()
    noisy = set(drifted.loc[drifted["indicator"] == NOISE, "part"])
    explained = levels["apart"].abs() < EXPLAINED * levels["shift"].abs()
    together = set(levels.loc[explained, "part"]) - noisy
    return together if len(together) > 1 else set()
