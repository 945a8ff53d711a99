"""What a training says about its verdicts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from src.components.predictor.bundle import Bundle
from src.components.trainer.verdict_figures import VerdictFigures, verdict_figures
from src.soft_sensor import SoftSensor
from tests.builders.training import limited_to, made_from, phase_table


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A small bundle."""
    return made_from(phase_table(100, spec, noise=0.1), spec)


def _figures(bundle: Bundle, spec: SoftSensor) -> VerdictFigures:
    figures = verdict_figures(bundle, spec)
    assert figures is not None
    return figures


def test_the_counts_are_those_of_the_judged_training_phases(
    bundle: Bundle, spec: SoftSensor
) -> None:
    counts, sentences = _figures(bundle, limited_to(spec, 54.5))
    rinses = bundle.reference[bundle.reference["waschen"] == 0]
    clean = (rinses["oberflaechenspannung_measured"] >= 54.5).sum()
    assert counts.sum(axis=1).tolist() == [clean, len(rinses) - clean, 0]
    text = "\n".join(sentences)
    wrong, called = counts["clean"]["not clean"], counts["clean"].sum()
    share = called / len(rinses)
    assert f"of {len(rinses)} training phases" in text
    assert f"clean {share:.0%} ({wrong} of {called} wrongly)" in text
    assert "at most 3.0% of the judged phases are called clean and are not clean" in text
    uncertain = counts["uncertain"].sum()
    assert f"by what holds them back: surface tension {uncertain}" in text
    assert "unreachable" not in text


def test_too_few_groups_are_said_with_the_number_that_is_needed(spec: SoftSensor) -> None:
    few = made_from(phase_table(30, spec), spec)
    judged = few.reference["impress_group"].nunique()
    sentences = _figures(few, limited_to(spec, 54.5)).sentences
    for verdict, sentence in zip(("clean", "not clean"), sentences):
        assert sentence.startswith(f"`{verdict}` follows the intervals: the laboratory has judged")
        assert f"{judged} groups, at least 33 are needed" in sentence


def test_a_clean_that_is_never_said_is_named_with_what_would_help(
    bundle: Bundle, spec: SoftSensor
) -> None:
    """The rinses that seemed cleanest were not clean: no other one can be called so."""
    reference = bundle.reference.copy()
    rinses = reference.index[reference["waschen"] == 0]
    surest = reference.loc[rinses, "oberflaechenspannung"].nlargest(4).index
    reference.loc[surest, "oberflaechenspannung_measured"] = 30.0
    figures = verdict_figures(replace(bundle, reference=reference), limited_to(spec, 54.5))
    assert figures is not None
    last = figures.sentences[-1]
    assert re.match(r"`clean` is practically unreachable with these limits: [0-4] of \d+ ", last)
    assert "surface tension (at least 54.5 mN/m)" in last and "`impress study`" in last


def test_a_limit_that_no_training_phase_keeps_is_named(bundle: Bundle, spec: SoftSensor) -> None:
    last = _figures(bundle, limited_to(spec, 72.7)).sentences[-1]
    assert "no training phase keeps all limits" in last


def test_a_rig_without_judged_phases_has_no_such_figures(bundle: Bundle, spec: SoftSensor) -> None:
    phases = tuple(phase.model_copy(update={"judged": False}) for phase in spec.phases)
    assert verdict_figures(bundle, spec.model_copy(update={"phases": phases})) is None
