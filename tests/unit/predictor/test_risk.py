"""Thresholds that keep their promise, and what is known of a laboratory row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.components.predictor import risk
from src.components.predictor.bundle import Bundle
from src.components.predictor.intervals import group_weights
from src.components.predictor.judgement import Judgement, verdicts
from src.components.transformation.training_table import GROUP
from src.soft_sensor import Budget, SoftSensor
from tests.builders.training import limited_to, made_from, phase_table

# Few distinct scores, so that many of them are tied.
ROW = st.tuples(st.integers(-5, 5).map(float) | st.floats(-50, 0), st.booleans())
GROUPS = st.lists(st.lists(ROW, min_size=1, max_size=3), min_size=3, max_size=60)


def _threshold(groups: list[list[tuple[float, bool]]], budget: float) -> float:
    rows = [row for group in groups for row in group]
    names = pd.Series([number for number, group in enumerate(groups) for _ in group])
    score, wrong = (np.array(column) for column in zip(*rows))
    return risk.threshold(score, wrong.astype(bool), group_weights(names), budget)


@given(GROUPS, st.floats(0.02, 0.49))
def test_a_new_group_is_judged_wrongly_no_more_often_than_promised(
    groups: list[list[tuple[float, bool]]], budget: float
) -> None:
    """Exchangeable groups: each of them is as likely as any other to be the new one."""
    losses = []
    for number, group in enumerate(groups):
        bound = _threshold(groups[:number] + groups[number + 1 :], budget)
        losses.append(np.mean([score > bound and wrong for score, wrong in group]))
    assert np.mean(losses) <= budget + 1e-6


@given(GROUPS, st.floats(0.02, 0.49), st.floats(0.02, 0.49))
def test_a_larger_budget_decides_no_less(
    groups: list[list[tuple[float, bool]]], one: float, other: float
) -> None:
    small, large = sorted((one, other))
    strict, generous = _threshold(groups, small), _threshold(groups, large)
    assert math.isnan(strict) or generous <= strict


@pytest.mark.parametrize(("budget", "needed"), [(0.03, 33), (0.05, 19), (0.1, 9), (0.25, 3)])
def test_a_promise_needs_enough_groups(budget: float, needed: int) -> None:
    assert risk.groups_needed(budget) == needed
    right = [[(0.0, False)]]
    assert math.isnan(_threshold(right * (needed - 1), budget))
    assert _threshold(right * needed, budget) == -math.inf
    # A group with many rows is one group.
    assert math.isnan(_threshold([right[0] * 9] * (needed - 1), budget))


def test_rows_of_the_same_score_are_on_the_same_side() -> None:
    tied = [[(1.0, True)], [(1.0, False)], [(2.0, False)], *[[(0.0, False)]] * 40]
    assert _threshold(tied, 0.03) == 1.0  # no row of score 1 is above
    thrice = [*[[(1.0, True)]] * 3, *[[(0.0, False)]] * 60]
    assert _threshold(thrice, 0.05) == 1.0  # two of 63 are allowed, but these are all or none
    assert _threshold([[(0.5, True)], *thrice[1:]], 0.05) == 0.5


def _known(score: list[float], clean: list[bool]) -> pd.DataFrame:
    clean_rows = np.array(clean)
    columns = {risk.SCORE: score, risk.CLEAN: clean_rows, risk.NOT_CLEAN: ~clean_rows}
    return pd.DataFrame({**columns, risk.WEIGHT: 1.0})


@pytest.mark.parametrize("clean", [True, False])
def test_with_one_kind_only_no_verdict_goes_against_the_prediction(
    clean: bool, spec: SoftSensor
) -> None:
    only = _known(np.linspace(-9, -0.01, 40).tolist(), [clean] * 40)
    upper, lower = risk.thresholds(only, spec)
    assert upper >= risk.EVEN >= lower
    assert upper == (risk.EVEN if clean else -0.01)
    assert lower == (-9 if clean else risk.EVEN)


def test_rows_that_are_told_apart_leave_nothing_uncertain(spec: SoftSensor) -> None:
    apart = _known([-0.1] * 20 + [-5.0] * 20, [True] * 20 + [False] * 20)
    assert risk.thresholds(apart, spec) == (risk.EVEN, risk.EVEN)


def test_too_few_rows_promise_nothing(spec: SoftSensor) -> None:
    few = _known([-0.1] * 10, [True] * 10)
    assert np.isnan(risk.thresholds(few, spec)).all()
    generous = spec.model_copy(update={"verdict": Budget(wrong_clean=0.1)})
    upper, lower = risk.thresholds(few, generous)
    assert upper == risk.EVEN and math.isnan(lower)


def _laboratory(spec: SoftSensor, **values: tuple[float, str]) -> pd.DataFrame:
    """One row of the reference: by default all limits are kept."""
    cells: dict[str, Any] = {}
    for target, value in zip(spec.targets, (70.0, 1.0, 1.0)):
        measured, mark = values.get(target.name, (value, ""))
        cells |= {target.measured: measured, target.censored: mark}
    return pd.DataFrame([cells])


@pytest.mark.parametrize(
    ("target", "value", "mark", "kept", "broken"),
    [
        ("anionischetenside", 10.0, "", True, False),
        ("anionischetenside", 10.1, "", False, True),
        ("anionischetenside", 10.0, "<", True, False),
        ("anionischetenside", 20.0, "<", False, False),
        ("anionischetenside", 5.0, ">", False, False),
        ("anionischetenside", 10.0, ">", False, True),
        ("anionischetenside", 50.0, ">", False, True),
        ("anionischetenside", math.nan, "", False, False),
        ("oberflaechenspannung", 60.0, "", True, False),
        ("oberflaechenspannung", 59.9, "", False, True),
        ("oberflaechenspannung", 60.0, "<", False, True),
        ("oberflaechenspannung", 65.0, "<", False, False),
        ("oberflaechenspannung", 60.0, ">", True, False),
        ("oberflaechenspannung", 50.0, ">", False, False),
    ],
)
def test_what_a_laboratory_value_shows(
    target: str, value: float, mark: str, kept: bool, broken: bool, spec: SoftSensor
) -> None:
    row = _laboratory(spec, **{target: (value, mark)})
    assert risk.kept(row, spec).item() is kept
    assert risk.broken(row, spec).item() is broken


def test_one_broken_limit_is_enough_whatever_else_was_measured(spec: SoftSensor) -> None:
    row = _laboratory(spec, anionischetenside=(50.0, ""), nichtionischentenside=(math.nan, ""))
    assert risk.broken(row, spec).item() and not risk.kept(row, spec).item()


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(spec: SoftSensor) -> Bundle:
    """A small bundle, some of whose rinses were clean."""
    table = phase_table(60, spec, noise=0.05)
    return made_from(table, limited_to(spec, 54.5))


def test_rows_of_unknown_truth_and_other_phases_do_not_calibrate(
    bundle: Bundle, spec: SoftSensor
) -> None:
    spec = limited_to(spec, 54.5)
    reference = bundle.reference
    law = risk.error_law(reference, spec)
    known = risk.known_rows(reference, law, spec)
    assert (reference.loc[known.index, "waschen"] == 0).all()
    assert known[risk.WEIGHT].groupby(known[GROUP]).sum().eq(1).all()
    without = reference.copy()
    without.loc[known.index[:7], "oberflaechenspannung_measured"] = np.nan
    assert len(risk.known_rows(without, law, spec)) == len(known) - 7


def test_a_phase_further_from_its_limit_has_the_better_chance(
    bundle: Bundle, spec: SoftSensor
) -> None:
    spec = limited_to(spec, 54.5)
    law = risk.error_law(bundle.reference, spec)
    rows = pd.DataFrame({"waschen": 0, "oberflaechenspannung": [72.0, 58.0, 54.5, 50.0, 21.0]})
    chances = risk.log_chances(rows.assign(oberflaechenspannung_spread=1.0), law, spec)
    score = risk.scores(chances)
    assert score.is_monotonic_decreasing and score.is_unique and (score < 0).all()
    unknown = rows.assign(oberflaechenspannung_spread=1.0, waschen=1)
    assert risk.scores(risk.log_chances(unknown, law, spec)).isna().all()


def test_verdicts_follow_the_budget(bundle: Bundle, spec: SoftSensor) -> None:
    """Budgets and limits of params.yaml count at once, without a training."""
    spec = limited_to(spec, 54.5)
    fresh = phase_table(200, spec, seed=1, noise=0.05, first=1000)
    judged = fresh["waschen"] == 0
    truth = fresh.loc[judged, "oberflaechenspannung"] >= 54.5
    decided = []
    for share in (0.001, 0.03, 0.1):
        budget = Budget(wrong_clean=share, wrong_not_clean=share)
        found = bundle.predict(fresh, spec.model_copy(update={"verdict": budget}))["verdict"]
        assert (found[~judged] == "").all()
        verdict = found[judged]
        assert ((verdict == Judgement.CLEAN) & ~truth).mean() <= 0.1
        assert ((verdict == Judgement.NOT_CLEAN) & truth).mean() <= 0.1
        decided.append((verdict != Judgement.UNCERTAIN).mean())
    assert decided[0] < decided[1] <= decided[2]


def test_without_limits_or_judged_phases_nothing_is_judged(
    bundle: Bundle, spec: SoftSensor
) -> None:
    free = [target.model_copy(update={"limit": None}) for target in spec.targets]
    unlimited = spec.model_copy(update={"targets": tuple(free)})
    rows = bundle.reference
    assert verdicts(rows, rows["waschen"], rows, unlimited).eq("").all()
