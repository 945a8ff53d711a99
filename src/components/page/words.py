"""What the page of the week says in sentences."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from src.components.page.marks import KINDS, Dot, Limit, Picture, day_labels, plot, short_date
from src.components.page.results import thinned
from src.components.page.source import Source
from src.components.page.week import DAYS, Week
from src.components.predictor.judgement import Judgement
from src.components.registry.production import PROMOTED, ROLLED_BACK
from src.language import UNKNOWN, Language
from src.soft_sensor import Target

BELIEVED, DOUBTED, OPEN = "c", "n", "u"  # signs before a sentence
OLD = timedelta(days=DAYS + 3)  # without a new phase for so long, something is wrong

DRAWN = 40  # slices of a week, of which three results each are drawn

Sentence = tuple[str, str]  # sign, words


def headline(week: Week, source: Source) -> str:
    """The answer in one line."""
    say, total = source.language.say, len(week.results)
    if not week.judged:
        return say("{n} results this week", n=total)
    what = source.spec.wording.judged_phases
    what = what[:1].upper() + what[1:]
    bad, open_ = week.counts[Judgement.NOT_CLEAN], week.counts[Judgement.UNCERTAIN]
    if bad:
        return say("{what}: {bad} of {total} not clean", what=what, bad=bad, total=total)
    if open_:
        return say("{what}: {open} of {total} uncertain", what=what, open=open_, total=total)
    return say("{what}: all {total} clean", what=what, total=total)


def actions(week: Week, source: Source) -> list[Sentence]:
    """What to do, in a line each: which experiments to sample, which sensors to check."""
    say, samples = source.language.say, week.samples or ()
    sentences = []
    if samples:
        listed = ", ".join(str(sample.experiment) for sample in samples)
        sentences.append((OPEN, say("Sample next: {experiments}", experiments=listed)))
    titles = suspects(week, source)
    if titles:
        listed = source.language.either(titles)
        sentences.append((DOUBTED, say("Check: {sensors}", sensors=listed)))
    return sentences


def suspects(week: Week, source: Source) -> list[str]:
    """Titles of the sensors at fault in the newest report."""
    if week.report is None or not week.report.alarm:
        return []
    return [source.spec.sensor(name).title for name in week.report.sensors]


def belief(week: Week, source: Source) -> list[Sentence]:
    """What speaks for and against the results."""
    sentences = [
        _sensors(week, source),
        _laboratory(week, source),
        _promise(week, source),
        _age(week, source),
        _flags(week, source),
    ]
    return [sentence for sentence in sentences if sentence]


def _sensors(week: Week, source: Source) -> Sentence | None:
    say, report = source.language.say, week.report
    if report is None:
        return OPEN, say("The sensors were not checked for drift yet.")
    if report.healthy:
        return BELIEVED, say("The sensors read as they did in training.")
    if not report.alarm:
        return OPEN, say("Something has changed since training, but no alarm was raised.")
    names = suspects(week, source)
    if not names:
        return DOUBTED, say("The last report is an alarm: check before you rely on a result.")
    listed = source.language.listed(names)
    return DOUBTED, say(
        "Alarm: {sensors} may read wrongly; check before you rely on a result.", sensors=listed
    )


def _laboratory(week: Week, source: Source) -> Sentence | None:
    say, record = source.language.say, week.record
    if not record.all:
        return OPEN, say("No laboratory value has confirmed a result yet.")
    words = say(
        "{inside} of {all} laboratory values ({share}) lay inside their interval ({promised} are "
        "promised).",
        share=source.language.percent(record.inside / record.all),
        inside=record.inside,
        all=record.all,
        promised=source.language.percent(record.promised),
    )
    return (BELIEVED if record.kept else DOUBTED), words


def _promise(week: Week, source: Source) -> Sentence | None:
    if not week.judged or week.promised is None:
        return None
    if not week.promised:
        return OPEN, source.language.say(
            "There are too few laboratory values to promise how rarely a verdict is wrong."
        )
    budget, percent = source.spec.verdict, source.language.percent
    as_trained = week.report is not None and week.report.healthy
    return (BELIEVED if as_trained else OPEN), source.language.say(
        "While the sensors read as in training, of 100 results at most {clean} are called clean "
        "and are not, at most {not_clean} the reverse.",
        clean=percent(budget.wrong_clean).split()[0],
        not_clean=percent(budget.wrong_not_clean).split()[0],
    )


def _age(week: Week, source: Source) -> Sentence | None:
    say = source.language.say
    if week.cached:
        return OPEN, say("The model registry does not answer; the last known model is shown.")
    if week.until and source.now - week.until > OLD:
        return OPEN, say(
            "The newest result is {days} days old.", days=(source.now - week.until).days
        )
    return None


def _flags(week: Week, source: Source) -> Sentence | None:
    say = source.language.say
    flagged = sum(bool(result.flags) for result in week.results)
    words = []
    if flagged:
        words.append(say("{n} results have a warning flag (⚑).", n=flagged))
    if week.waiting:
        words.append(say("{n} phases wait for their last rows.", n=week.waiting))
    if week.rejected:
        words.append(say("{n} rows were set aside; see the state.", n=week.rejected))
    return (OPEN, " ".join(words)) if words else None


def week_plots(week: Week, source: Source) -> list[tuple[Target, str]]:
    """One picture of each target: the results in order, with intervals and laboratory values."""
    return [
        (target, plot(_week_picture(place, target, week, source), source.language))
        for place, target in enumerate(source.spec.targets)
    ]


def _week_picture(place: int, target: Target, week: Week, source: Source) -> Picture:
    dots, places = [], []
    for number, result in enumerate(thinned(week.results, place, DRAWN)):
        estimate = result.estimates[place]
        ends = estimate.lower, estimate.upper
        dots.append(Dot(number, estimate.value, *ends, kind=KINDS[result.verdict]))
        dots.append(Dot(number, estimate.measured, kind="k"))
        if result.ended:
            places.append((float(number), result.ended))
    return Picture(
        title=source.language.say("{target} of each result of the week", target=target.title),
        dots=dots,
        limits=limits_of(target),
        places=day_labels(places, source.language),
        log=target.scale == "log",
    )


def limits_of(target: Target) -> list[Limit]:
    """The limit of a target, if it has one."""
    return [Limit(target.limit.bound, target.limit.side)] if target.limit else []


def day(moment: date | None) -> str:
    """A day, with its time if it has one, in few characters; a dash for an unknown one."""
    if moment is None:
        return UNKNOWN
    return f"{moment:%Y-%m-%d %H:%M}" if isinstance(moment, datetime) else f"{moment:%Y-%m-%d}"


def in_week(moment: datetime | None, language: Language) -> str:
    """A day of the week's table, without the year; a dash for an unknown one."""
    return f"{short_date(moment, language)} {moment:%H:%M}" if moment else UNKNOWN


def ago(age: timedelta | None, language: Language) -> str:
    """How long ago something was."""
    if age is None:
        return language.say("never yet")
    hours = age // timedelta(hours=1)
    if hours < 48:
        return language.say("{n} hours ago", n=hours) if hours else language.say("just now")
    return language.say("{n} days ago", n=age.days)


def outcomes(language: Language) -> dict[str, str]:
    """What becomes of a run, in words."""
    say = language.say
    return {
        "done": say("done"),
        "running": say("running"),
        "failed": say("failed"),
        "died": say("died"),
        "skipped": say("skipped"),
        "alarm": say("alarm"),
        "watch": say("watch"),
        "no drift": say("no drift"),
        "not enough rows": say("not enough rows"),
    }


def about_sensors(language: Language) -> dict[str, str]:
    """What the signs of a sensor mean; the empty one: it was not tested."""
    say = language.say
    return {
        "n": say("at fault"),
        "u": say("changed"),
        "c": say("as in training"),
        "": say("not tested"),
    }


def pipelines(language: Language) -> dict[str, str]:
    """What the runs of the journal are about."""
    say = language.say
    return {
        "load": say("Data"),
        "predict": say("Predictions"),
        "monitor": say("Reports"),
    }


def counts(language: Language) -> list[str]:
    """Headings of `state.COUNTS`."""
    say = language.say
    return [say("scored"), say("kept"), say("waiting"), say("rejected"), say("purged")]


def events(language: Language) -> dict[str, str]:
    """How a version became Production."""
    return {PROMOTED: language.say("promoted"), ROLLED_BACK: language.say("rolled back")}


def statistic(name: str, language: Language) -> str:
    """A statistic of params.yaml in words: percentile25 is the 25 % quantile."""
    share = name.removeprefix("percentile")
    if share != name:
        return language.say("{percent} quantile", percent=language.percent(int(share) / 100))
    return {
        "mean": language.say("mean"),
        "std": language.say("standard deviation"),
        "median": language.say("median"),
    }[name]


def verdict_words(language: Language) -> dict[str, str]:
    """Verdicts of the model and of the laboratory, as `verdict_figures` has them."""
    words = {verdict.short: language.say(verdict.short) for verdict in Judgement}
    return {**words, "not known": language.say("not known")}
