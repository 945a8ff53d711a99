"""The state: inbox, rows that were set aside, last runs, and how old everything is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from src.components.database.journal import BAD, LOAD, Journal
from src.components.inbox.rejected import summary
from src.components.inbox.states import Inbox, State
from src.components.inbox.stock import N_ROWS
from src.components.page.source import Source
from src.components.predictor.reasons import Reason

RUNS = 8  # of each kind
PIPELINES = (LOAD, "predict", "monitor")
COUNTS = ("scored", "kept", "waiting", "rejected", "purged")


@dataclass(frozen=True)
class SetAside:
    """Rows that have no result, for one reason.

    Attributes:
        experiments: some of them.
        remedy: what to do about it; empty for a reason of another version.
    """

    reason: str
    rows: int
    phases: int
    experiments: tuple[str, ...]
    remedy: str


@dataclass(frozen=True)
class Run:
    """A line of the journal; `counts` are those of COUNTS, empty where there are none."""

    number: int
    pipeline: str
    at: datetime | None
    version: str
    outcome: str
    counts: tuple[str, ...]
    error: str

    @property
    def good(self) -> bool:
        """Whether it did its work."""
        return self.outcome not in BAD


@dataclass(frozen=True)
class Installation:  # pylint: disable=too-many-instance-attributes  # all that its page shows
    """What the page of the state shows.

    Attributes:
        phases: of the inbox by state; states in which rows are rejected are summed.
        rows: of the inbox by state, and of the ledger.
        ages: how long ago each of PIPELINES last did its work; None: never.
        model_error: why no model can predict; empty when one can.
    """

    phases: dict[str, int]
    rows: dict[str, int]
    set_aside: tuple[SetAside, ...]
    doubtful_clocks: int
    runs: tuple[Run, ...]
    ages: dict[str, timedelta | None]
    version: str
    cached: bool
    model_error: str


def read_state(source: Source) -> Installation:
    """Read it from the database; the registry is asked for the model."""
    spec = source.spec
    with source.engine.connect() as connection:
        inbox = Inbox(connection, spec)
        phases, rows = inbox.phase_counts(), inbox.counts()
        rejected = summary(inbox)
        clocks = len(inbox.doubtful_clocks())
    journal = Journal(source.engine, spec)
    runs = [run for pipeline in PIPELINES for run in journal.newest(pipeline, RUNS)]
    model = source.model
    return Installation(
        phases={state: phases.get(state, 0) for state in (State.DUE, State.WAITING, State.KEPT)},
        rows=rows,
        set_aside=_set_aside(rejected, spec.columns.experiment),
        doubtful_clocks=clocks,
        runs=tuple(_run(run) for run in sorted(runs, key=lambda run: -run["id"])),
        ages={pipeline: journal.age_of_last_good(pipeline) for pipeline in PIPELINES},
        version=model.version if model else "",
        cached=bool(model and model.cached),
        model_error="" if model else str(source.fetched),
    )


def _set_aside(rejected: list[dict[str, Any]], experiment: str) -> tuple[SetAside, ...]:
    remedies: dict[str, str] = {reason: reason.remedy for reason in Reason}
    by_reason = dict[str, list[dict[str, Any]]]()
    for phase in rejected:
        by_reason.setdefault(phase["reason"], []).append(phase)
    return tuple(
        SetAside(
            reason=reason,
            rows=sum(int(phase[N_ROWS]) for phase in own),
            phases=len(own),
            experiments=tuple(dict.fromkeys(_named(phase[experiment]) for phase in own[:10])),
            remedy=remedies.get(reason, ""),
        )
        for reason, own in by_reason.items()
    )


def _named(experiment: int | str | None) -> str:
    return "–" if experiment is None else str(experiment)


def _run(run: dict[str, Any]) -> Run:
    details = run["details"]
    return Run(
        number=run["id"],
        pipeline=run["pipeline"],
        at=run["started_at"],
        version=run["model_version"] or "",
        outcome=run["outcome"] or "",
        counts=tuple(str(details.get(name, "")) for name in COUNTS),
        error=str(details.get("error", "")),
    )
