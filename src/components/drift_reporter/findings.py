"""What a verdict means in words: which sensor, since when, how certain, and what to do now.

Everything that one cause explains is one finding: all tests of a sensor at fault, or the process
with the sensors that moved and the predictions that followed them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from src.components.drift_reporter.checks import CHECKS
from src.components.drift_reporter.evidence import Evidence
from src.components.drift_reporter.indicators import (
    LEVEL,
    PROCESS,
    SENSOR_INDICATORS,
    TARGET_INDICATORS,
    Indicator,
)
from src.components.drift_reporter.joint_test import PEER
from src.components.drift_reporter.kinds import Entry, Kind
from src.components.drift_reporter.performance import LOSSES
from src.components.drift_reporter.sizes import sizes
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import Verdict
from src.language import Language
from src.soft_sensor import Quantity, SoftSensor

_TABLES: list[tuple[Entry, ...]] = [
    SENSOR_INDICATORS,
    TARGET_INDICATORS,
    (PROCESS,),
    CHECKS,
    LOSSES,
]
ENTRIES = {entry.name: entry for table in _TABLES for entry in table}
# Of several things that a sensor shows, these explain the others.
FIRST = ("stuck", "missing", "out of bounds")
# A level, outside training and the predictions follow what is at fault or has moved. A sensor
# whose level moves in the month also scatters.
FOLLOW = (LEVEL, "outside training", *(entry.name for entry in TARGET_INDICATORS))
LAST = ("scatter", *FOLLOW)
ONE_OF = "The readings do not show which of them is at fault: check both."
REPAIR_FIRST = (
    "Repair the sensor first and do not retrain on its readings: `impress collect` leaves out the "
    "phases in which it was at fault. If the errors are as large with the repaired sensor, retrain."
)
AS_BEFORE = ", as in an accepted month or in the same season of an earlier year"
MOVED = 0.05  # p of a level that is listed as moved


@dataclass(frozen=True)
class Finding:
    """One thing that has changed.

    Attributes:
        status: `alarm` or `watch`.
        what: which sensor or target, what has changed, and since when.
        certainty: how often chance alone would lead to it in a healthy month.
        advice: what to do now.
        sizes: what a sensor differs by from what is expected: phase, in its unit, and as a share.
        culprit: title of the sensor that reads wrongly; empty where none is accused.
    """

    status: Status
    what: str
    certainty: str
    advice: str
    sizes: tuple[tuple[str, str, str], ...] = ()
    culprit: str = ""

    @property
    def words(self) -> dict[str, str]:
        """What the journal keeps; the sizes, if there are any, are also in `what`."""
        sizes_of = "; ".join(
            f"{phase} {', '.join(filter(None, amounts))}" for phase, *amounts in self.sizes
        )
        sized = f" ({sizes_of})" if sizes_of else ""
        return {
            "status": self.status.value,
            "what": self.what + sized,
            "advice": self.advice,
            "sizes": sizes_of,
            "culprit": self.culprit,
        }


def findings(verdict: Verdict, evidence: Evidence, spec: SoftSensor) -> list[Finding]:
    """All that a verdict has found, alarms first, in the language of params.yaml."""
    language = Language(spec.language)
    tests = verdict.tests
    reported = tests[tests["status"] != Status.NO_DRIFT.value]
    listed = []
    for cause in _causes(verdict, reported):
        rows = _ordered(reported.loc[cause])
        strongest = rows.iloc[0]
        alarm = Status.ALARM.value in set(rows["status"])
        if strongest["indicator"] == PROCESS.name:
            what = _process(strongest, tests, spec)
        else:
            what = _what(rows, verdict, spec)
        listed.append(
            Finding(
                status=Status.ALARM if alarm else Status.WATCH,
                what=what,
                certainty=certainty(strongest["p_holm"], language),
                advice=_advice(strongest, verdict, spec),
                sizes=_sizes(rows, verdict, evidence, spec),
                culprit=_culprit(rows, verdict, spec),
            )
        )
    return sorted(listed, key=lambda finding: finding.status != Status.ALARM)


def _causes(verdict: Verdict, reported: pd.DataFrame) -> list[pd.Index]:
    """The rows of `reported` that belong to each cause, the main ones first."""
    causes = []
    left = reported
    sensors = reported["kind"].isin([Kind.DRIFT.value, Kind.CHECK.value])
    suspects = [*verdict.faults, *((name,) for name in verdict.unconfirmed)]
    for fault in suspects:
        rows = left[sensors.loc[left.index] & left["part"].isin(fault)]
        if len(rows):
            causes.append(rows.index)
            left = left.drop(rows.index)
    process = left[left["indicator"] == PROCESS.name].index
    if len(process):
        causes.append(process)
    if causes:
        follows = left[left["indicator"].isin(FOLLOW)].index
        causes[0] = causes[0].append(follows)
        left = left.drop(follows)
    left = left.drop(process)
    causes += [rows.index for _, rows in left.groupby(["kind", "part"], sort=False)]
    return causes


def _ordered(rows: pd.DataFrame) -> pd.DataFrame:
    """The tests of one cause, what explains the others first."""
    place = rows["indicator"].map({name: place for place, name in enumerate(FIRST)})
    order = rows.assign(_place=place.fillna(len(FIRST)), _follows=rows["indicator"].isin(LAST))
    return order.sort_values(["_place", "_follows", "p_holm"], kind="stable")


def _what(rows: pd.DataFrame, verdict: Verdict, spec: SoftSensor) -> str:
    """Which sensor, target or check, and all that has changed."""
    part = str(rows["part"].iloc[0])
    fault = next((fault for fault in verdict.faults if part in fault), (part,))
    own = rows[rows["part"].isin(fault)]
    if len(fault) > 1:
        own = own[own["part"] == fault[0]]
    changes = [_change(test, spec) for _, test in own.iterrows()]
    followers = rows[~rows["part"].isin(fault) & (rows["indicator"] != LEVEL)]
    subject = f"{title(fault, spec)}: " if fault[0] else ""
    what = subject + ", ".join(changes) + _since(fault[0], set(own["kind"]), verdict, spec)
    stands = own["stands"].fillna(True).astype(bool) if "stands" in own else pd.Series([True])
    return what + ("" if stands.all() else _as_before(spec)) + _following(followers, spec)


def title(fault: tuple[str, ...], spec: SoftSensor) -> str:
    """The titles of the sensors, or of the target, one of which is meant."""
    quantities: list[Quantity] = [*spec.sensors, *spec.targets]
    titles = {quantity.name: quantity.title for quantity in quantities}
    return Language(spec.language).either([titles[name] for name in fault])


def _following(rows: pd.DataFrame, spec: SoftSensor) -> str:
    """The predictions that follow."""
    language = Language(spec.language)
    titles = [spec.target(name).title for name in rows["part"] if name in spec.target_names]
    if not titles:
        return ""
    return language.say("; predictions of {targets} follow", targets=language.listed(titles))


def _process(test: pd.Series, tests: pd.DataFrame, spec: SoftSensor) -> str:
    """That the process moved, and which sensors show it in which direction."""
    language = Language(spec.language)
    levels = tests[tests["indicator"] == LEVEL].sort_values("p", kind="stable")
    moved = levels[levels["p"] <= MOVED]
    moved = moved if len(moved) else levels.head(1)
    words = [
        f"{spec.sensor(name).title} {language.number(shift, '+.2f')} SD"
        for name, shift in zip(moved["part"], moved["shift"])
    ]
    what = language.say("the process moved: {sensors}", sensors=", ".join(words))
    return what + ("" if test["stands"] else _as_before(spec))


def _as_before(spec: SoftSensor) -> str:
    return Language(spec.language).say(AS_BEFORE)


def _change(test: pd.Series, spec: SoftSensor) -> str:
    """What has changed, and by how much."""
    entry, shift = ENTRIES[test["indicator"]], float(test["shift"])
    return Language(spec.language).say(
        entry.words,
        shift=shift,
        points=100 * shift,
        fewer=-100 * shift,
        first=spec.phases[0].shown,
    )


def _sizes(
    rows: pd.DataFrame, verdict: Verdict, evidence: Evidence, spec: SoftSensor
) -> tuple[tuple[str, str, str], ...]:
    """By how much the level of the first sensor is off, if that is what was found."""
    name = str(rows["part"].iloc[0])
    found = [ENTRIES[test] for test in rows.loc[rows["part"] == name, "indicator"]]
    levels = [entry for entry in found if isinstance(entry, Indicator) and entry.in_units]
    if not levels:
        return ()
    others = [each for each in spec.sensors if each.name not in (name, *verdict.sensors)]
    found_sizes = sizes(
        spec.sensor(name),
        evidence.month,
        evidence.reference,
        spec,
        peers=others if any(entry.uses_peers for entry in levels) else (),
        since=verdict.onsets.get(name),
    )
    language, unit = Language(spec.language), spec.sensor(name).unit
    return tuple(
        (
            size.phase.shown,
            language.quantity(size.shift, unit, sign=True),
            "" if pd.isna(size.share) else language.percent(size.share, sign=True),
        )
        for size in found_sizes
    )


def _culprit(rows: pd.DataFrame, verdict: Verdict, spec: SoftSensor) -> str:
    part = rows["part"].iloc[0]
    fault = next((fault for fault in verdict.faults if part in fault), ())
    return title(fault, spec) if fault else ""


def _since(name: str, kinds: set[str], verdict: Verdict, spec: SoftSensor) -> str:
    """Since when, and whether it awaits confirmation."""
    language, since = Language(spec.language), ""
    if Kind.DRIFT.value in kinds and name in verdict.onsets:
        onset = verdict.onsets[name]
        since = language.say(", since before this month")
        if onset is not None:
            since = language.say(", since {day}", day=language.day(onset))
    if name in verdict.unconfirmed:
        since += language.say("; awaiting confirmation by another month")
    return since


def _advice(test: pd.Series, verdict: Verdict, spec: SoftSensor) -> str:
    """What to do about the strongest evidence of a cause."""
    say = Language(spec.language).say
    advice = ENTRIES[test["indicator"]].advice
    if test["kind"] == Kind.LABORATORY and verdict.faults:
        return say(REPAIR_FIRST)
    ambiguous = any(test["part"] in fault and len(fault) > 1 for fault in verdict.faults)
    both = f"{say(ONE_OF)} " if ambiguous and test["indicator"] == PEER else ""
    wording = {name: say(words) for name, words in spec.wording.model_dump().items()}
    return both + say(advice, **wording)


def certainty(p: float, language: Language) -> str:
    """How often chance alone leads to something that is found with `p`, in words."""
    if pd.isna(p):
        return language.say("a fixed rule, not a statistical test")
    if p >= 0.001:
        return language.say("occurs by chance in about {p:.1%} of healthy months", p=p)
    if p >= 1e-6:
        return language.say("occurs by chance in fewer than one in 1,000 healthy months")
    return language.say("occurs by chance in fewer than one in a million healthy months")
