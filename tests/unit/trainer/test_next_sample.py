"""Which experiments the laboratory is sent for."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.components.trainer.next_sample import (
    DISTANCE,
    VERDICTS,
    WHY,
    WIDTH,
    worth_analysing,
)
from src.components.trainer.verdict_gain import CHANCE, GAIN, SIMILAR, verdict_gain
from src.soft_sensor import SoftSensor
from tests.builders.training import limited_to, made_from, phase_table


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A small bundle."""
    return made_from(phase_table(40, spec), spec)


@pytest.fixture(name="waiting")
def fixture_waiting(bundle: Bundle, spec: SoftSensor) -> pd.DataFrame:
    """Predicted phases of the training rows' own kind, which are usual in all respects."""
    rows = bundle.reference[[*spec.columns.keys, *spec.features]].head(40)
    predicted = pd.DataFrame({"flags": "", "last_timestamp": 1500.0}, index=rows.index)
    for target in spec.targets:
        predicted[target.lower], predicted[target.upper] = 30.0, 40.0
    return rows.join(predicted)


def test_the_widest_interval_comes_first_and_says_why(
    waiting: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    row = waiting.index[11]
    waiting.loc[row, "anionischetenside_upper"] = 130.0
    found = worth_analysing(waiting, bundle, spec, 3)
    assert len(found) == 3
    assert found["experimentnummer"].iloc[0] == waiting.loc[row, "experimentnummer"]
    assert found[WIDTH].iloc[0] == pytest.approx(10)
    assert "anionic surfactant 30.0 to 130 mg/L, 10.0 x the usual width" in found[WHY].iloc[0]


def test_what_lies_far_outside_the_training_range_comes_first_and_says_why(
    waiting: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    row = waiting.index[7]
    waiting.loc[row, "ph_mean"] = 200.0
    first = worth_analysing(waiting, bundle, spec, 5).iloc[0]
    assert first["experimentnummer"] == waiting.loc[row, "experimentnummer"]
    assert first[DISTANCE] > 3
    assert "pH" in first[WHY] and "beyond the training range" in first[WHY]


def test_nothing_waits_and_nothing_is_listed(
    waiting: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    assert worth_analysing(waiting.head(0), bundle, spec, 5).empty


@pytest.fixture(name="limited", scope="module")
def fixture_limited(spec: SoftSensor) -> SoftSensor:
    """Only the surface tension has a limit, which about half of the rinses keep."""
    return limited_to(spec, 54.5)


@pytest.fixture(name="judge", scope="module")
def fixture_judge(limited: SoftSensor) -> Bundle:
    """A small bundle that leaves some verdicts open."""
    return made_from(phase_table(100, limited, noise=0.1), limited)


@pytest.fixture(name="ledger", scope="module")
def fixture_ledger(judge: Bundle, limited: SoftSensor) -> pd.DataFrame:
    """Newest predictions; one of the open rinses came a second time, and a third time."""
    fresh = phase_table(200, limited, seed=1, noise=0.1, first=1000)
    predicted = fresh.drop(columns=limited.target_names).join(judge.predict(fresh, limited))
    open_rinse = predicted[predicted["verdict"] == Judgement.UNCERTAIN].iloc[[0]]
    again = [open_rinse.assign(experimentnummer=number) for number in (2000, 2001)]
    return pd.concat([predicted, *again], ignore_index=True)


def test_only_open_verdicts_have_a_gain(
    ledger: pd.DataFrame, judge: Bundle, limited: SoftSensor
) -> None:
    gain = verdict_gain(ledger, judge, limited)
    uncertain = ledger["verdict"] == Judgement.UNCERTAIN
    assert sorted(gain.index) == ledger.index[uncertain].tolist()
    assert (gain[GAIN] >= 0).all() and gain[CHANCE].between(0, 1).all()
    flagged = ledger.assign(flags="ph_missing")
    assert verdict_gain(flagged, judge, limited).empty
    assert verdict_gain(ledger.head(0), judge, limited).empty


def test_similar_phases_add_up(ledger: pd.DataFrame, judge: Bundle, limited: SoftSensor) -> None:
    gain = verdict_gain(ledger, judge, limited)
    thrice = gain.loc[ledger.index[-2:]]
    assert (thrice[SIMILAR] >= 2).all()
    alone = verdict_gain(ledger.drop(index=ledger.index[-2:]), judge, limited)
    row = ledger.index[ledger["verdict"] == Judgement.UNCERTAIN][0]
    assert thrice[GAIN].iloc[0] == pytest.approx(gain.loc[row, GAIN])
    assert gain.loc[row, SIMILAR] == alone.loc[row, SIMILAR] + 2
    assert gain.loc[row, GAIN] >= alone.loc[row, GAIN]


def test_what_could_decide_most_verdicts_comes_first_and_says_why(
    ledger: pd.DataFrame, judge: Bundle, limited: SoftSensor
) -> None:
    found = worth_analysing(ledger, judge, limited, len(ledger))
    assert found[VERDICTS].is_monotonic_decreasing
    gain = verdict_gain(ledger, judge, limited)
    (best,) = ledger.loc[[gain[GAIN].idxmax()], "experimentnummer"]
    assert found[VERDICTS].iloc[0] == gain[GAIN].max()
    assert best in found.loc[found[VERDICTS] == gain[GAIN].max(), "experimentnummer"].tolist()
    assert re.search(
        r"rinsing: uncertain with a chance of \d+% to keep all limits "
        r"\((clean above|not clean below) \d+%\)",
        found[WHY].iloc[0],
    )
    rest = found[found[VERDICTS] == 0]
    assert len(rest) and not rest[WHY].str.contains("uncertain with").any()


def test_phases_far_from_each_other_are_not_similar(
    ledger: pd.DataFrame, judge: Bundle, limited: SoftSensor
) -> None:
    scattered = ledger.copy()
    random = np.random.default_rng(0)
    idle = [name for name in limited.features if not name.startswith("leitfaehigkeit")]
    scattered[idle] += 1e4 * random.normal(size=(len(ledger), len(idle)))
    assert (verdict_gain(scattered, judge, limited)[SIMILAR] == 0).all()
