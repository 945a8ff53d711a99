"""Why a phase has its verdict, in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.flags import has_flag, unreliable_codes
from src.components.predictor.judgement import (
    Judgement,
    by_intervals,
    decide,
    keep_and_break,
)
from src.components.predictor.track_record import BY_INTERVALS, TRUTH, VERDICT, track_record
from src.language import Language, shown_unit
from src.soft_sensor import SoftSensor, Target


@dataclass(frozen=True)
class VerdictReasons:
    """What led to the verdicts of one model, with figures.

    Attributes:
        bundle: the model that predicted.
    """

    bundle: Bundle
    spec: SoftSensor
    language: Language = Language("en")

    @cached_property
    def _law(self) -> risk.ErrorLaw:
        return risk.error_law(self.bundle.reference, self.spec)

    @cached_property
    def _thresholds(self) -> risk.Thresholds:
        known = risk.known_rows(self.bundle.reference, self._law, self.spec)
        return risk.thresholds(known, self.spec)

    @cached_property
    def _record(self) -> pd.DataFrame:
        return track_record(self.bundle, self.spec)

    def explained(self, row: pd.DataFrame, estimated: pd.DataFrame | None = None) -> list[str]:
        """What led to the verdict on a judged phase.

        Args:
            row: its row of the ledger, a frame of one row.
            estimated: what `Bundle.estimate_recorded` gives for it, if that is known.
        """
        say, spec = self.language.say, self.spec
        codes = [code for code in unreliable_codes(spec) if has_flag(row["flags"], code).iloc[0]]
        if codes:
            return [say("always uncertain with the flag {flags}", flags=", ".join(codes))]
        phase = row[spec.columns.phase]
        if not risk.judged(phase, spec).iloc[0]:
            return [say("params.yaml no longer judges this phase")]
        values = self.bundle.estimate_recorded(row, spec) if estimated is None else estimated
        values = values.assign(**{spec.columns.phase: phase})
        chances = risk.log_chances(values, self._law, spec)
        score = risk.scores(chances)
        verdict = decide(score, *self._thresholds, *by_intervals(values, spec)).iloc[0]
        lines = []
        if verdict != row["verdict"].iloc[0]:
            now = say(str(Judgement(verdict)))
            lines.append(
                say("with the limits and shares that params.yaml has now: {verdict}", verdict=now)
            )
        lines.append(self._chance(values, verdict, chances))
        intervals = self._by_intervals(values)
        if verdict != intervals:
            lines.append(self._contradiction(values, verdict, intervals))
        return lines

    def _chance(self, values: pd.DataFrame, verdict: str, chances: pd.DataFrame) -> str:
        """The estimated chance of keeping all limits, the thresholds, and what is in the way."""
        say = self.language.say
        clean, not_clean = self._thresholds
        words = say(
            "chance that it keeps all limits {chance:.1%}: clean {above}, not clean {below}",
            chance=math.exp(risk.scores(chances).iloc[0]),
            above=self._bound(clean, above=True),
            below=self._bound(not_clean, above=False),
        )
        if verdict != Judgement.UNCERTAIN:
            return words
        target = self.spec.target(str(chances.idxmin(axis=1).iloc[0]))
        return say(
            "{sentence}; held back by {target}, predicted {value}",
            sentence=words,
            target=self._limited(target),
            value=self.language.figure(values[target.name].iloc[0]),
        )

    def _bound(self, threshold: float, above: bool) -> str:
        say = self.language.say
        if math.isnan(threshold):
            return say("by the intervals")
        chance = math.exp(threshold)
        return say("above {chance:.1%}" if above else "below {chance:.1%}", chance=chance)

    def _limited(self, target: Target) -> str:
        """A target and its limit, for example `turbidity (at most 5 NTU)`."""
        assert target.limit is not None
        return self.language.say(
            (
                "{target} (at most {limit:,g} {unit})"
                if target.limit.side > 0
                else "{target} (at least {limit:,g} {unit})"
            ),
            target=target.title,
            limit=target.limit.bound,
            unit=shown_unit(target.unit),
        )

    def _by_intervals(self, values: pd.DataFrame) -> str:
        """The verdict if the intervals decided."""
        nothing = pd.Series(math.nan, index=values.index)
        return str(decide(nothing, math.nan, math.nan, *by_intervals(values, self.spec)).iloc[0])

    def _contradiction(self, values: pd.DataFrame, verdict: str, intervals: str) -> str:
        """How often training phases with the same verdict against their intervals were wrong."""
        record = self._record
        same = record[(record[VERDICT] == verdict) & (record[BY_INTERVALS] == intervals)]
        known = same[same[TRUTH] != ""]
        decided = intervals if verdict == Judgement.UNCERTAIN else verdict
        other = Judgement.NOT_CLEAN if decided == Judgement.CLEAN else Judgement.CLEAN
        return self.language.say(
            (
                "{sentence}; of {n} such training phases {wrong} were clean"
                if other == Judgement.CLEAN
                else "{sentence}; of {n} such training phases {wrong} were not clean"
            ),
            sentence=self._crossing(values, intervals),
            n=len(known),
            wrong=int((known[TRUTH] == other).sum()),
        )

    def _crossing(self, values: pd.DataFrame, intervals: str) -> str:
        """Which intervals cross their limits, or what they say together."""
        say, crossing = self.language.say, []
        for target, limit in risk.limited(self.spec):
            keeps, breaks = keep_and_break(values, target, limit)
            if not (keeps | breaks).iloc[0]:
                words = say(
                    "{target} {limit:,g} {unit}",
                    target=target.title,
                    limit=limit.bound,
                    unit=shown_unit(target.unit),
                )
                crossing.append(words.rstrip())
        if intervals != Judgement.UNCERTAIN or not crossing:
            return say("its intervals alone would say {verdict}", verdict=say(intervals))
        return say("its interval contains the limit: {limits}", limits=", ".join(crossing))
