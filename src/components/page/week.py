"""The week: which phases are clean, which are not, whether to believe it, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from src.components.adaptation import known
from src.components.inbox.rejected import summary
from src.components.inbox.states import Inbox, State
from src.components.inbox.stock import N_ROWS
from src.components.page.reports import Report, newest_report
from src.components.page.results import (
    DAY,
    Estimate,
    Result,
    counted,
    moment,
    newest_end,
    read_results,
)
from src.components.page.source import Source
from src.components.predictor import risk
from src.components.predictor.judgement import Judgement
from src.components.trainer.next_sample import WHY, not_analysed, worth_analysing
from src.soft_sensor import SoftSensor

DAYS = 7
LISTED = 150  # results in the table; with more, the page would be too large for a telephone
SAMPLES = 3


@dataclass(frozen=True)
class Sample:
    """An experiment that is worth a laboratory analysis, and why, in words."""

    experiment: int | str
    why: str


@dataclass(frozen=True)
class Record:
    """How often laboratory values lie inside their intervals.

    Attributes:
        inside, all: number of values.
        promised: share of the intervals that should hold theirs.
    """

    inside: int
    all: int
    promised: float

    @property
    def kept(self) -> bool:
        """Whether the share is not smaller than chance explains (two standard errors)."""
        spread = math.sqrt(self.promised * (1 - self.promised) * self.all)
        return self.inside >= self.promised * self.all - 2 * spread


@dataclass(frozen=True)
class Week:  # pylint: disable=too-many-instance-attributes  # all that its page shows
    """What the page of the week shows.

    Attributes:
        until: end of the newest phase; None when there is none.
        results: phases of the DAYS before it, oldest first; those that are judged where any is.
        listed: those of them in the table, the ones to act on first.
        others: number of further phases in these days, of kinds that are not judged.
        samples: most worth an analysis first; None while there is no model.
        report: the newest one about the sensors.
        record: of laboratory values of the whole ledger.
        promised: whether the shares of wrong verdicts of params.yaml are promised; None while there
            is no model.
        cached: whether the model came from the cache, as the registry did not answer.
        waiting, rejected: phases that have no result yet, and rows that cannot have one.
    """

    until: datetime | None
    results: tuple[Result, ...]
    listed: tuple[Result, ...]
    others: int
    samples: tuple[Sample, ...] | None
    report: Report | None
    record: Record
    promised: bool | None
    cached: bool
    waiting: int
    rejected: int

    @property
    def since(self) -> datetime | None:
        """Begin of the week."""
        return self.until and self.until - timedelta(days=DAYS)

    @property
    def middle(self) -> datetime | None:
        """When half of the results had ended: what the week is named after."""
        ends = sorted(result.ended for result in self.results if result.ended)
        return ends[len(ends) // 2] if ends else self.until

    @property
    def counts(self) -> dict[Judgement, int]:
        """Results by verdict."""
        return counted(self.results)

    @property
    def judged(self) -> bool:
        """Whether params.yaml judges phases at all."""
        return any(result.verdict for result in self.results)

    def having(self, verdict: Judgement | None) -> list[Result]:
        """The results with a verdict, the worst first."""
        return sorted(
            (result for result in self.results if result.verdict == verdict),
            key=excess,
            reverse=True,
        )

    def in_order(self, results: Sequence[Result]) -> list[Result]:
        """Some of the results, oldest first."""
        wanted = set(map(id, results))
        return [result for result in self.results if id(result) in wanted]

    def result(self, experiment: int | str) -> Result | None:
        """The last result of an experiment in this week."""
        return {each.experiment: each for each in self.results}.get(experiment)

    def listed_with(self, verdict: Judgement | None) -> list[Result]:
        """Those in the table, oldest first."""
        return [result for result in self.listed if result.verdict == verdict]


def read_week(source: Source) -> Week:
    """Read it all from the database."""
    spec = source.spec
    with source.engine.connect() as connection:
        end = newest_end(connection, spec, source.now)
        recent = [] if end is None else read_results(connection, spec, end - DAYS * DAY)
        inbox = Inbox(connection, spec)
        waiting = inbox.phase_counts().get(State.WAITING, 0)
        rejected = sum(int(phase[N_ROWS]) for phase in summary(inbox))
        record = laboratory_record(read_results(connection, spec), spec)
    shown = [result for result in recent if result.verdict or result.phase.judged] or recent
    model = source.model
    return Week(
        until=None if end is None else moment(end),
        results=tuple(shown),
        listed=_listed(shown),
        others=len(recent) - len(shown),
        samples=None if end is None else _samples(source, end - DAYS * DAY),
        report=newest_report(source),
        record=record,
        promised=_promised(model.bundle.reference, spec) if model else None,
        cached=bool(model and model.cached),
        waiting=waiting,
        rejected=rejected,
    )


def _listed(results: Sequence[Result]) -> tuple[Result, ...]:
    """LISTED of them: not clean and uncertain ones before clean ones, new ones before old ones."""
    urgency = [Judgement.NOT_CLEAN, Judgement.UNCERTAIN, None, Judgement.CLEAN]
    newest_first = sorted(reversed(results), key=lambda result: urgency.index(result.verdict))
    kept = set(map(id, newest_first[:LISTED]))
    return tuple(result for result in results if id(result) in kept)


def excess(result: Result) -> float:
    """How far the worst target of a result is beyond its limit, as a share of the limit."""
    return max((_excess(estimate) for estimate in result.estimates), default=-math.inf)


def worst(result: Result) -> Estimate:
    """The target that is farthest beyond its limit, or nearest to it."""
    return max(result.estimates, key=_excess)


def _excess(estimate: Estimate) -> float:
    limit = estimate.target.limit
    if limit is None or math.isnan(estimate.value):
        return -math.inf
    return limit.side * (estimate.value - limit.bound) / (abs(limit.bound) or 1.0)


def _samples(source: Source, since: float) -> tuple[Sample, ...] | None:
    """Experiments of the week that the laboratory should analyse."""
    if source.model is None:
        return None
    spec, bundle = source.spec, source.model.bundle
    correction = None
    if spec.adaptation == "on":
        correction = known.state(source.engine, source.model, spec).correction(spec)
    phases = not_analysed(source.engine, bundle, source.dataset, since, spec)
    judged = phases[phases[spec.columns.phase].isin([p.value for p in spec.phases if p.judged])]
    ranked_rows = phases if judged.empty else judged
    if ranked_rows.empty:
        return ()
    ranked = worth_analysing(ranked_rows, bundle, spec, SAMPLES, source.language, correction)
    return tuple(
        Sample(line[spec.columns.experiment], line[WHY]) for line in ranked.to_dict("records")
    )


def _promised(reference: pd.DataFrame, spec: SoftSensor) -> bool:
    """Whether the training has enough groups for the promise about wrong verdicts."""
    if not any(phase.judged for phase in spec.phases):
        return False
    law = risk.error_law(reference, spec)
    thresholds = risk.thresholds(risk.known_rows(reference, law, spec), spec)
    return not any(map(math.isnan, thresholds))


def laboratory_record(results: Sequence[Result], spec: SoftSensor) -> Record:
    """How often the laboratory values of some results lie inside their intervals."""
    measured = [
        estimate
        for result in results
        for estimate in result.estimates
        if math.isfinite(estimate.measured)
    ]
    inside = sum(estimate.lower <= estimate.measured <= estimate.upper for estimate in measured)
    return Record(inside, len(measured), spec.training.coverage)
