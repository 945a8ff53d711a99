"""Why a phase has its verdict."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement, by_intervals
from src.components.trainer.verdict_reasons import VerdictReasons
from src.soft_sensor import SoftSensor
from tests.builders.training import limited_to, made_from, phase_table


@pytest.fixture(name="limited", scope="module")
def fixture_limited(spec: SoftSensor) -> SoftSensor:
    """Only the surface tension has a limit, which about half of the rinses keep."""
    return limited_to(spec, 54.5)


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(limited: SoftSensor) -> Bundle:
    """A small bundle that is sometimes wrong."""
    return made_from(phase_table(100, limited, noise=0.1), limited)


@pytest.fixture(name="ledger", scope="module")
def fixture_ledger(bundle: Bundle, limited: SoftSensor) -> pd.DataFrame:
    """Predicted rinses as the ledger has them."""
    fresh = phase_table(200, limited, seed=1, noise=0.1, first=1000)
    rinses = fresh[fresh["waschen"] == 0].reset_index(drop=True)
    features = rinses[[*limited.columns.keys, *limited.features, "last_timestamp"]]
    return features.join(bundle.predict(rinses, limited))


def _first(ledger: pd.DataFrame, chosen: pd.Series) -> pd.DataFrame:
    return ledger[chosen].head(1).reset_index(drop=True)


def test_an_uncertain_verdict_names_the_target_that_is_in_the_way(
    ledger: pd.DataFrame, bundle: Bundle, limited: SoftSensor
) -> None:
    row = _first(ledger, ledger["verdict"] == Judgement.UNCERTAIN)
    sentence = VerdictReasons(bundle, limited).explained(row)[0]
    figures = re.findall(r"([\d.]+)%", sentence)
    chance, clean, not_clean = map(float, figures)
    assert not_clean <= chance <= clean
    value = f"{row['oberflaechenspannung'][0]:.1f}"
    assert f"held back by surface tension (at least 54.5 mN/m), predicted {value}" in sentence


def test_a_verdict_against_its_interval_says_how_often_such_verdicts_were_wrong(
    ledger: pd.DataFrame, bundle: Bundle, limited: SoftSensor
) -> None:
    kept, broken = by_intervals(ledger, limited)
    for verdict, crosses, other in (
        (Judgement.CLEAN, ~kept, "not clean"),
        (Judgement.NOT_CLEAN, ~broken, "clean"),
    ):
        row = _first(ledger, (ledger["verdict"] == verdict) & crosses)
        sentences = VerdictReasons(bundle, limited).explained(row)
        assert len(sentences) == 2
        assert re.fullmatch(
            r"its interval contains the limit: surface tension 54\.5 mN/m; of \d+ such training "
            rf"phases \d+ were {other}",
            sentences[1],
        )


def test_a_verdict_that_its_interval_confirms_needs_no_such_sentence(
    ledger: pd.DataFrame, bundle: Bundle, limited: SoftSensor
) -> None:
    kept, _ = by_intervals(ledger, limited)
    row = _first(ledger, (ledger["verdict"] == Judgement.CLEAN) & kept)
    (sentence,) = VerdictReasons(bundle, limited).explained(row)
    assert sentence.startswith("chance that it keeps all limits") and "held back" not in sentence


def test_a_flag_that_leaves_no_verdict_is_the_reason(
    ledger: pd.DataFrame, bundle: Bundle, limited: SoftSensor
) -> None:
    row = ledger.head(1).assign(flags="ph_missing,few_samples", verdict=Judgement.UNCERTAIN)
    reason = VerdictReasons(bundle, limited).explained(row.reset_index(drop=True))
    assert reason == ["always uncertain with the flag few_samples, ph_missing"]


def test_a_verdict_by_other_limits_is_compared_with_those_of_today(
    ledger: pd.DataFrame, bundle: Bundle, limited: SoftSensor
) -> None:
    row = _first(ledger, ledger["verdict"] == Judgement.CLEAN)
    strict = limited_to(limited, 72.7)
    sentence = VerdictReasons(bundle, strict).explained(row)[0]
    assert sentence.startswith("with the limits and shares that params.yaml has now: ")
    unjudged = tuple(phase.model_copy(update={"judged": False}) for phase in limited.phases)
    reason = VerdictReasons(bundle, limited.model_copy(update={"phases": unjudged})).explained(row)
    assert reason == ["params.yaml no longer judges this phase"]
