"""A month of many rigs: each is compared with itself, and all share one rate of false alarms.

Rigs differ more from each other than from one month to the next, so the reference of a rig is what
it did before. With R rigs, each is tested at 1 / R of the rates in params.yaml (Bonferroni): the
chance that any healthy rig is in alarm is then at most `monitoring.alarm`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, parent_process

import pandas as pd

from src.components.drift_reporter import performance
from src.components.drift_reporter.evidence import (
    NO_TESTS,
    Earlier,
    Evidence,
    LaboratoryEvidence,
    Past,
    Period,
    reference_flags,
)
from src.components.drift_reporter.findings import Finding, findings, title
from src.components.drift_reporter.precedents import ACCEPTED_ALARM
from src.components.drift_reporter.status import Status
from src.components.drift_reporter.verdict import LEAST_REFERENCE, judge
from src.components.predictor.flags import has_flag
from src.components.predictor.judgement import Judgement
from src.progress import step
from src.soft_sensor import Confirmation, SoftSensor, rig_of

REFERENCE_DAYS = 365  # so long before a month is what its rigs are compared with
AT_A_TIME = 10  # rigs; starting a process costs as much as some 20
Job = tuple[str, pd.DataFrame, pd.DataFrame]  # a rig, its month, and what it did before
NEED = (Status.ALARM, Status.WATCH, Status.TOO_FEW, Status.NO_DRIFT)


@dataclass(frozen=True)
class RigMonth:  # pylint: disable=too-many-instance-attributes  # a row of the page
    """A rig in a month.

    Attributes:
        findings: what has changed, alarms first.
        sensors: titles of the sensors at fault.
        phases: how many there were; 0 for a rig that has fallen silent.
        before: how many it is compared with.
        judged, not_clean, uncertain: phases with a verdict, and some of them by verdict.
        p: chance of the strongest finding in a month in which all rigs are healthy; 1 without any.
    """

    rig: str
    status: Status
    findings: tuple[Finding, ...]
    sensors: tuple[str, ...]
    phases: int
    before: int
    judged: int
    not_clean: int
    uncertain: int
    p: float

    @property
    def is_silent(self) -> bool:
        """Whether it has done nothing, and did before."""
        return self.phases == 0

    @property
    def need(self) -> tuple[int, float, str]:
        """What rigs are sorted by: who needs somebody most comes first."""
        silent_is_watched = 1 if self.is_silent else NEED.index(self.status)
        return silent_is_watched, self.p, self.rig


def columns_needed(spec: SoftSensor) -> list[str]:
    """Columns of scored phases that `judge_rigs` looks at."""
    times = ["first_timestamp", "last_timestamp"]
    return [*spec.columns.keys, *times, "n_samples", *spec.features, "flags", "verdict"]


def before(period: Period) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Begin and end of what the rigs of a period are compared with."""
    end = period.until if period.since is None else period.since
    return end - pd.Timedelta(days=REFERENCE_DAYS), end


def of_rig(phases: pd.DataFrame, rig: str, spec: SoftSensor) -> pd.DataFrame:
    """The phases of one rig."""
    return phases[phases[spec.columns.experiment].map(rig_of) == rig].reset_index(drop=True)


def judge_rigs(
    month: pd.DataFrame, reference: pd.DataFrame, period: Period, spec: SoftSensor, jobs: int = 1
) -> list[RigMonth]:
    """Judge the month of each rig, those that need somebody first.

    Args:
        month, reference: scored phases of any number of rigs, in the period and in the time that
            `before` gives; see `columns_needed`.
        jobs: processes.
    """
    months, references = _by_rig(month, spec), _by_rig(reference, spec)
    rigs = sorted(names(month, reference, spec=spec))
    strict = without_targets(sharing_rates(spec, len(rigs)))
    judged = partial(_judge, period=period, spec=strict, rigs=len(rigs))
    pairs = [(rig, months.get(rig, month[:0]), references.get(rig, reference[:0])) for rig in rigs]
    return sorted(_mapped(judged, pairs, jobs), key=lambda rig: rig.need)


def names(*phases: pd.DataFrame, spec: SoftSensor) -> set[str]:
    """The rigs that phases are of."""
    return {rig for each in phases for rig in each[spec.columns.experiment].map(rig_of)}


def evidence_of_rig(  # pylint: disable=too-many-arguments,too-many-positional-arguments  # facts
    rig: str,
    month: pd.DataFrame,
    reference: pd.DataFrame,
    period: Period,
    version: str,
    spec: SoftSensor,
) -> Evidence:
    """The month of one rig beside what it did before, both scored by one version."""
    flagged = {
        flag: has_flag(reference["flags"], flag).astype(float) for flag in reference_flags(spec)
    }
    nothing = performance.errors(reference[:0], reference[:0], spec)
    return Evidence(
        period=period,
        version=version,
        month=month,
        reference=pd.concat([reference, pd.DataFrame({**flagged, ACCEPTED_ALARM: 0})], axis=1),
        past=_past(reference, spec),
        laboratory=LaboratoryEvidence(recent=nothing, expected=nothing),
        earlier=Earlier(accepted=[], tests=NO_TESTS),
        rig=rig,
    )


def sharing_rates(spec: SoftSensor, rigs: int) -> SoftSensor:
    """The soft sensor of one of some rigs, by the rates at which it is tested."""
    rules = spec.monitoring
    update = {
        "alarm": rules.alarm / rigs,
        "watch": rules.watch / rigs,
        "confirm": Confirmation(need=1, of=1),
    }
    return spec.model_copy(update={"monitoring": rules.model_copy(update=update)})


def without_targets(spec: SoftSensor) -> SoftSensor:
    """The soft sensor by which the months of rigs are judged: their sensors alone are compared."""
    return spec.model_copy(update={"targets": ()})


def _by_rig(rows: pd.DataFrame, spec: SoftSensor) -> dict[str, pd.DataFrame]:
    by_rig = rows.groupby(rows[spec.columns.experiment].map(rig_of))
    return {str(rig): own.reset_index(drop=True) for rig, own in by_rig}


def _judge(job: Job, period: Period, spec: SoftSensor, rigs: int) -> RigMonth:
    rig, month, reference = job
    verdicts = month["verdict"].fillna("")
    counts = {
        "phases": len(month),
        "before": len(reference),
        "judged": int((verdicts != "").sum()),
        "not_clean": int((verdicts == Judgement.NOT_CLEAN).sum()),
        "uncertain": int((verdicts == Judgement.UNCERTAIN).sum()),
    }
    if month.empty or len(reference) < LEAST_REFERENCE:
        return RigMonth(rig, Status.TOO_FEW, (), (), p=1.0, **counts)
    evidence = evidence_of_rig(rig, month, reference, period, "", spec)
    verdict = judge(evidence, spec)
    of_all = (rigs * verdict.tests["p_holm"]).clip(upper=1.0)  # in which all rigs are tested
    verdict = replace(verdict, tests=verdict.tests.assign(p_holm=of_all))
    reported = verdict.tests["status"] != Status.NO_DRIFT.value
    return RigMonth(
        rig=rig,
        status=verdict.status,
        findings=tuple(findings(verdict, evidence, spec)),
        sensors=tuple(title(fault, spec) for fault in verdict.faults),
        p=float(of_all[reported].min()) if of_all[reported].notna().any() else 1.0,
        **counts,
    )


def _past(reference: pd.DataFrame, spec: SoftSensor) -> Past:
    verdicts = reference["verdict"].fillna("")
    first, last = reference["first_timestamp"].min(), reference["last_timestamp"].max()
    return Past(
        experiments=reference[spec.columns.experiment].nunique(),
        days=(last - first) / 86_400,
        last_timestamp=last,
        judged=int((verdicts != "").sum()),
        uncertain=int((verdicts == Judgement.UNCERTAIN).sum()),
    )


def _mapped(judged: Callable[[Job], RigMonth], pairs: list[Job], jobs: int) -> Iterator[RigMonth]:
    processes = min(jobs, len(pairs) // (2 * AT_A_TIME))
    with ExitStack() as stack:
        found: Iterable[RigMonth] = map(judged, pairs)
        if processes > 1:
            # Not forked: threads of this process may hold a lock.
            spawn = get_context("spawn")
            pool = ProcessPoolExecutor(processes, spawn, initializer=_end_with_parent)
            found = stack.enter_context(pool).map(judged, pairs, chunksize=AT_A_TIME)
        advance = stack.enter_context(step("judging rigs", len(pairs)))
        for rig in found:
            yield rig
            advance(1)


def _end_with_parent() -> None:
    """Do not outlive the process that has started this one."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
