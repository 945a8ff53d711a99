"""What the letter says: the records of the page of the week, as words and rows of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select

from src.components.database.tables import newest_predictions, tables
from src.components.page.results import Result
from src.components.page.source import Source
from src.components.page.week import Week, read_week, worst
from src.components.page.words import actions, belief, headline, suspects
from src.components.predictor.judgement import Judgement
from src.language import UNKNOWN
from src.soft_sensor import Target

ROWS = 8  # results that are not clean and listed with their values, the worst
KEYS = 120  # results that are listed with their number only
BAR = 400  # pixels of the longest bar
NARROWEST = 40  # pixels that a number and its sign need
ORDER = (Judgement.NOT_CLEAN, Judgement.UNCERTAIN, Judgement.CLEAN)
KINDS = {Judgement.NOT_CLEAN: "bad", Judgement.UNCERTAIN: "open", Judgement.CLEAN: "good"}
BELIEF = {"c": "good", "n": "bad", "u": "open"}  # kinds of the page

Bar = tuple[str, int, int]  # kind, number of results, pixels


@dataclass(frozen=True)
class Content:  # pylint: disable=too-many-instance-attributes  # all that the letter says
    """The letter in words.

    Attributes:
        subject: week and counts.
        headline: the answer in one line.
        dates: of the water.
        actions: sign and sentence for what to do, in a line each.
        bad: of the worst results that are not clean: experiment, when, what breaks the limit.
        also_bad: the experiments of the others.
        older: experiments that are not clean, older than the week, and new since the last letter.
        samples: experiments to analyse first: experiment, when, the open question.
        uncertain: the experiments without a clear verdict.
        sensors: titles of those at fault in the newest report.
        advice: by how much they are off, and what to do.
        believed: sign and sentence for what speaks for and against the results.
        days: of each day, its name and its bars.
        judged: whether params.yaml judges phases.
    """

    subject: str
    headline: str
    dates: str
    actions: list[tuple[str, str]]
    bad: list[tuple[str, str, str]]
    also_bad: str
    older: str
    samples: list[tuple[str, str, str]]
    uncertain: str
    sensors: list[str]
    advice: list[str]
    believed: list[tuple[str, str]]
    days: list[tuple[str, list[Bar]]]
    judged: bool


def content(source: Source, since: datetime | None) -> Content | None:
    """The letter of this week; None when no phase has a result.

    Args:
        since: when the last letter was sent.
    """
    week = read_week(source)
    if week.until is None or week.since is None or not week.results:
        return None
    language = source.language
    bad = week.having(Judgement.NOT_CLEAN)
    return Content(
        subject=subject(week, source),
        headline=headline(week, source),
        dates=f"{language.day(week.since)} {UNKNOWN} {language.day(week.until)}",
        actions=[(BELIEF[sign], sentence) for sign, sentence in actions(week, source)],
        bad=[_row(result, source) for result in bad[:ROWS]],
        also_bad=_keys(_experiments(week.in_order(bad[ROWS:])), source),
        older=_keys(_older(source, week, since), source),
        samples=_samples(week, source),
        uncertain=_keys(_experiments(week.in_order(week.having(Judgement.UNCERTAIN))), source),
        sensors=suspects(week, source),
        advice=_advice(week),
        believed=[(BELIEF[sign], sentence) for sign, sentence in belief(week, source)],
        days=days(week, source),
        judged=week.judged,
    )


def subject(week: Week, source: Source) -> str:
    """Name, week, counts, and the sensors to check."""
    language, say = source.language, source.language.say
    counts = [f"{week.counts[verdict]} {say(verdict.short)}" for verdict in ORDER]
    words = ", ".join(counts) if week.judged else say("{n} results", n=len(week.results))
    titles = suspects(week, source)
    if titles:
        words += say("; check {sensors}", sensors=language.either(titles))
    name = source.spec.name
    return f"{name}, {language.week(week.middle)}: {words}" if week.middle else f"{name}: {words}"


def _advice(week: Week) -> list[str]:
    """By how much sensors are off, and what to do, of the first two alarms of the newest report."""
    if week.report is None or not week.report.alarm:
        return []
    alarms = [finding for finding in week.report.findings if finding.alarm][:2]
    return [words for finding in alarms for words in (finding.sizes, finding.advice) if words]


def _row(result: Result, source: Source) -> tuple[str, str, str]:
    """A result that is not clean, and its worst target."""
    language, estimate = source.language, worst(result)
    value = language.quantity(estimate.value, estimate.target.unit)
    words = _beside_limit(estimate.target, value, source)
    return str(result.experiment), _when(result, source), words


def _beside_limit(target: Target, value: str, source: Source) -> str:
    """A value of a target, in words, and what is required of it."""
    limit, say = target.limit, source.language.say
    if limit is None:
        return f"{target.title} {value}"
    bound = source.language.figure(limit.bound, 1)
    if limit.side > 0:
        return say(
            "{target} {value} (at most {bound})", target=target.title, value=value, bound=bound
        )
    return say("{target} {value} (at least {bound})", target=target.title, value=value, bound=bound)


def _when(result: Result, source: Source) -> str:
    if result.ended is None:
        return UNKNOWN
    return f"{source.language.weekday(result.ended)} {result.ended:%H:%M}"


def _samples(week: Week, source: Source) -> list[tuple[str, str, str]]:
    """Experiments worth an analysis, when, and the interval that is in question."""
    rows = []
    for sample in week.samples or ():
        result = week.result(sample.experiment)
        known = (_when(result, source), _question(result, source)) if result else ("", "")
        rows.append((str(sample.experiment), *known))
    return rows


def _question(result: Result, source: Source) -> str:
    estimate, language = worst(result), source.language
    upper = language.quantity(estimate.upper, estimate.target.unit)
    interval = f"{language.figure(estimate.lower)} {UNKNOWN} {upper}"
    return _beside_limit(estimate.target, interval, source)


def _older(source: Source, week: Week, since: datetime | None) -> list[int | str]:
    """Experiments not clean that were scored since the last letter, and ended before the week."""
    if since is None or week.since is None:
        return []
    newest = newest_predictions(tables(source.spec).archived, source.spec).subquery()
    query = (
        select(newest.c[source.spec.columns.experiment])
        .where(newest.c.verdict == Judgement.NOT_CLEAN, newest.c.predicted_at > since)
        .where(newest.c.last_timestamp <= week.since.timestamp())
        .order_by(newest.c.last_timestamp)
    )
    with source.engine.connect() as connection:
        return list(connection.scalars(query))


def _experiments(results: Sequence[Result]) -> list[int | str]:
    """Experiments of some results, each once."""
    return list(dict.fromkeys(result.experiment for result in results))


def _keys(experiments: Sequence[int | str], source: Source) -> str:
    """Experiments one after the other; how many more where there are too many."""
    listed = ", ".join(str(experiment) for experiment in experiments[:KEYS])
    left = len(experiments) - KEYS
    return f"{listed} {source.language.say('and {n} more', n=left)}" if left > 0 else listed


def days(week: Week, source: Source) -> list[tuple[str, list[Bar]]]:
    """Of each day with results the number of each verdict, and the width of its bar."""
    counts: dict[date, Counter[str]] = {}
    for result in week.results:
        if result.ended and result.verdict:
            counts.setdefault(result.ended.date(), Counter())[KINDS[result.verdict]] += 1
    if not counts:
        return []
    most = max(day.total() for day in counts.values())
    first, last = min(counts), max(counts)
    shown = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [
        (source.language.weekday(day), _bars(counts.get(day, Counter()), most)) for day in shown
    ]


def _bars(day: Counter[str], most: int) -> list[Bar]:
    return [
        (kind, day[kind], max(NARROWEST, round(BAR * day[kind] / most)))
        for kind in KINDS.values()
        if day[kind]
    ]
