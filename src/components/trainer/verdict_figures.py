"""What a model's verdicts are worth: the track record of its training phases, in words."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.components.predictor.track_record import TRUTH, VERDICT, WEAKEST, track_record
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor, Target

SELDOM = 0.1  # share of the clean phases below which `clean` is practically unreachable

# Verdicts in the order of a table, with the words for them.
WORDS = {
    Judgement.CLEAN: "clean",
    Judgement.UNCERTAIN: "uncertain",
    Judgement.NOT_CLEAN: "not clean",
}
TRUTHS = {Judgement.CLEAN: "clean", Judgement.NOT_CLEAN: "not clean", "": "not known"}


class VerdictFigures(NamedTuple):
    """How the training phases would be judged.

    Attributes:
        counts: what the laboratory says (`clean`, `not clean`, `not known`) by verdict.
        sentences: what is promised, and what these counts mean.
    """

    counts: pd.DataFrame
    sentences: list[str]


def verdict_figures(bundle: Bundle, spec: SoftSensor) -> VerdictFigures | None:
    """The figures of a bundle's training rows; None where no phase is judged."""
    record = track_record(bundle, spec)
    if record.empty:
        return None
    lines = [
        _promise(verdict, record, bundle.reference, spec) for verdict in ("clean", "not clean")
    ]
    lines += [_shares(record), _blocked(record, spec), _unreachable(record, spec)]
    return VerdictFigures(_counts(record), [line for line in lines if line])


def _counts(record: pd.DataFrame) -> pd.DataFrame:
    table = pd.crosstab(record[TRUTH], record[VERDICT])
    table = table.reindex(index=list(TRUTHS), columns=list(WORDS), fill_value=0)
    return table.set_axis(list(TRUTHS.values())).set_axis(list(WORDS.values()), axis=1)


def _promise(verdict: str, record: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor) -> str:
    """What is promised of one verdict, or that the phases are too few for it."""
    other = "not clean" if verdict == "clean" else "clean"
    budget = spec.verdict.wrong_clean if verdict == "clean" else spec.verdict.wrong_not_clean
    groups = reference.loc[record.index[record[TRUTH] != ""], GROUP].nunique()
    needed = risk.groups_needed(budget)
    if groups < needed:
        return (
            f"`{verdict}` follows the intervals: the laboratory has judged {groups} groups, at "
            f"least {needed} are needed to promise that at most {budget:.1%} of the judged phases "
            f"are called {verdict} and are {other}"
        )
    return f"at most {budget:.1%} of the judged phases are called {verdict} and are {other}"


def _shares(record: pd.DataFrame) -> str:
    """Shares of the verdicts, and how many of them were wrong."""
    total, words = len(record), []
    for verdict, word in WORDS.items():
        own = record[record[VERDICT] == verdict]
        words.append(f"{word} {len(own) / total:.0%}{_wrong(own, verdict)}")
    return f"of {total} training phases, judged without their group: {', '.join(words)}"


def _wrong(own: pd.DataFrame, verdict: Judgement) -> str:
    if verdict == Judgement.UNCERTAIN:
        return ""
    wrong = ((own[TRUTH] != "") & (own[TRUTH] != verdict)).sum()
    return f" ({wrong} of {len(own)} wrongly)"


def _blocked(record: pd.DataFrame, spec: SoftSensor) -> str:
    """Which target holds back how many of the uncertain phases."""
    uncertain = record.loc[record[VERDICT] == Judgement.UNCERTAIN, WEAKEST]
    parts = [
        f"{spec.target(str(name)).title} {count}"
        for name, count in uncertain.value_counts().items()
    ]
    return f"uncertain phases by what holds them back: {', '.join(parts)}" if parts else ""


def _unreachable(record: pd.DataFrame, spec: SoftSensor) -> str:
    """That `clean` is practically never said, and what would help; empty if it is said."""
    clean = record[record[TRUTH] == Judgement.CLEAN]
    if clean.empty:
        return "`clean` cannot be learned: no training phase keeps all limits in the laboratory"
    called = (clean[VERDICT] == Judgement.CLEAN).sum()
    if called >= SELDOM * len(clean):
        return ""
    name = clean[WEAKEST].mode().iloc[0]
    return (
        f"`clean` is practically unreachable with these limits: {called} of {len(clean)} clean "
        f"phases were called so; {limit_words(spec.target(name))} holds most of them back: more "
        "laboratory values of judged phases, a wider limit or another sensor (`impress study`) "
        "would help"
    )


def limit_words(target: Target) -> str:
    """A limited target and its limit, for example `turbidity (at most 5 NTU)`."""
    assert target.limit is not None
    side = "at most" if target.limit.side > 0 else "at least"
    return f"{target.title} ({side} {target.limit.bound:g} {target.unit})"
