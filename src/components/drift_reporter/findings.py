"""What a verdict means in words: which sensor, since when, how sure, and what to do now."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from src.components.drift_reporter.drift_tests import ALARM, OK, PREDICTION, WATCH
from src.components.drift_reporter.verdict import DRIFT, LABORATORY, Verdict
from src.soft_sensor import Quantity, SoftSensor

# The runbook: what to do about each kind of finding.
ADVICE = {
    "level": "Compare the probe with a hand-held meter or a calibration solution, then clean, "
    "calibrate or replace it. Let the laboratory check rinses that were called clean since then.",
    "noise": "Check plug, cable and grounding, and the probe for air bubbles and deposits.",
    "scatter": "Look at the probe's readings from one experiment to the next: a loose contact or "
    "deposits that come and go? If programmes changed, it may be them.",
    "peer": "Compare the probe with a hand-held meter or a calibration solution, then clean, "
    "calibrate or replace it: the process does not explain its readings.",
    "process": "Several sensors moved together and agree with each other: ask what has changed in "
    "recipes, textiles or water before cleaning probes. If the change is wanted, take laboratory "
    "samples of it and retrain; if all is well, `impress monitor --accept`.",
    PREDICTION: "Predictions follow the sensors: look at those first. Without a sensor at fault, "
    "ask what has changed in recipes, textiles or water.",
    "missing": "Check that the probe is connected and its logger runs.",
    "stuck": "The probe repeats one value: restart its transmitter, then check cable and logger.",
    "out of bounds": "Readings are beyond what the instrument can report: check wiring and scaling "
    "of the transmitter.",
    "mix": "Not sensor drift: washing and rinsing are dealt otherwise than before. Check that all "
    "phases are logged.",
    "outside training": "The model answers for inputs that it never saw: analyse such phases "
    "(`impress next-sample`) and retrain.",
    "experiments": "Check that all experiments reach the database (`impress status`).",
    "uncertain": "More rinses than before need the laboratory: see which flags they carry in "
    "`archived_data`, and collect values for the next training (`impress next-sample`).",
    "loss": "The model has become worse: `impress collect`, `impress train --retrain` and "
    "`impress promote`, which compares the new version with this one before it replaces it.",
}
# Against its peers less than this share of a level's shift is left when the process moved related
# sensors, and more after a fault (tests/unit/drift_reporter/test_findings.py tries both).
EXPLAINED = 0.96
WORDS = {
    "level": "level {shift:+.2f} SD",
    "noise": "noise {shift:+.2f} SD",
    "scatter": "scatter between phases {shift:+.2f} SD",
    "peer": "out of line with its peers by {shift:+.2f} SD",
    PREDICTION: "predictions moved by {shift:+.2f} SD",
    "missing": "{points:.0f} points more phases without values than usual",
    "stuck": "{points:.0f} points more phases without any spread than usual",
    "out of bounds": "{points:.0f} points more phases with readings that the instrument cannot "
    "report",
    "mix": "the share of {first} has changed by {points:+.0f} points",
    "outside training": "{points:.0f} points more phases than usual are beyond what the model "
    "has seen",
    "experiments": "{fewer:.0f} % fewer experiments a day than before",
    "uncertain": "{points:.0f} points more verdicts are left open than before",
    "bias": "laboratory values are off the predictions by {shift:+.2f} SD of the usual error",
    "error": "errors against the laboratory are larger than usual ({shift:+.2f} SD)",
    "coverage": "intervals hold {fewer:.0f} points fewer laboratory values than promised",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        status: `alarm` or `watch`.
        what: who and what, since when.
        sure: how often chance alone would say so in a healthy month.
        advice: what to do now.
    """

    status: str
    what: str
    sure: str
    advice: str


def findings(verdict: Verdict, reference: pd.DataFrame, spec: SoftSensor) -> list[Finding]:
    """All that a verdict has found, alarms first."""
    quantities: dict[str, Quantity] = {q.name: q for q in (*spec.sensors, *spec.targets)}
    found = verdict.tests[verdict.tests["status"] != OK]
    together = _moved_together(verdict)
    words = []
    for kind, part in found[["kind", "part"]].drop_duplicates().itertuples(index=False):
        tests = found[(found["kind"] == kind) & (found["part"] == part)]
        surest = tests.sort_values("p_holm").iloc[0]
        told = [_words(test, part, reference, spec) for _, test in tests.iterrows()]
        name = f"{quantities[part].title} ({part}): " if part else ""
        since = ""
        if kind == DRIFT and part in verdict.onsets:
            onset = verdict.onsets[part]
            since = f", since {onset:%-d %B %Y}" if onset else ", since before this month"
        if part in verdict.unconfirmed:
            since += "; waits for another month to confirm it"
        indicator = "loss" if kind == LABORATORY else str(surest["indicator"])
        advice = ADVICE["process" if part in together else indicator]
        status = ALARM if (tests["status"] == ALARM).any() else WATCH
        words.append(Finding(status, name + ", ".join(told) + since, _sure(surest), advice))
    return sorted(words, key=lambda finding: finding.status != ALARM)


def notes(
    month: pd.DataFrame, verdict: Verdict, tried: pd.DataFrame, spec: SoftSensor
) -> list[str]:
    """What a reader should know to weigh a verdict: how much was seen, and what could not be.

    Args:
        tried: see `verdict.backtest`.
    """
    phase = month[spec.columns.phase]
    counts = [f"{(phase == each.value).sum()} {each.name}" for each in spec.phases]
    experiments = month[spec.columns.experiment].nunique()
    lines = [f"Looked at {' and '.join(counts)} phases of {experiments} experiments."]
    for name, (now, usual) in verdict.short.items():
        lines.append(
            f"Of {name} there are {now} phases in the month and {usual} in the reference, "
            f"{spec.monitoring.min_rows} are needed in both: nothing can be said of it."
        )
    if pd.notna(verdict.smallest_shift):
        lines.append(
            f"A level shifted by {verdict.smallest_shift:.2f} SD or more would have shown with a "
            "chance of 80 %; less may have gone unseen."
        )
    if tried.empty:
        lines.append("The reference covers one month only: no backtest of false alarms.")
    else:
        called = tried["status"].value_counts()
        lines.append(
            f"Backtest: of {len(tried)} months of the reference, each against the others, "
            f"{called.get(ALARM, 0)} would have been an alarm and {called.get(WATCH, 0)} a watch."
        )
    return lines


def _words(test: pd.Series, part: str, reference: pd.DataFrame, spec: SoftSensor) -> str:
    shift = float(test["shift"])
    values = {"points": 100 * shift, "fewer": -100 * shift, "first": spec.phases[0].name}
    words = WORDS[test["indicator"]].format(shift=shift, **values)
    if test["indicator"] != "level":
        return words
    # In the sensor's unit, as far as the spread within the phases tells.
    level = reference[f"{part}_median"]
    within = (level - level.groupby(reference[spec.columns.phase]).transform("mean")).std()
    unit = next(each.unit for each in spec.sensors if each.name == part)
    return f"{words} (about {shift * within:+.3g}{'' if unit == '1' else f' {unit}'})"


def _sure(test: pd.Series) -> str:
    if pd.isna(test["p_holm"]):
        return "a rule, not a test"
    chance = float(test["p_holm"])
    if chance >= 0.001:
        return f"chance alone says so in about {chance:.1%} of healthy months"
    often = "1,000" if chance >= 1e-6 else "a million"
    return f"chance alone says so in fewer than one of {often} healthy months"


def _moved_together(verdict: Verdict) -> set[str]:
    """Sensors whose level moved in a way that the others explain in part, when there are several.

    A fault of one probe stands out more against its peers than in its level: they take the
    process's own movements out of it. What moves related sensors stands out less.
    """
    found = verdict.tests[(verdict.tests["kind"] == DRIFT) & (verdict.tests["status"] == ALARM)]
    levels = found[found["indicator"] == "level"]
    if levels.empty:
        return set()
    noisy = set(found.loc[found["indicator"] == "noise", "part"])
    explained = levels["apart"].abs() < EXPLAINED * levels["shift"].abs()
    together = set(levels.loc[explained, "part"]) - noisy
    return together if len(together) > 1 else set()
