"""How the training phases would have been judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.components.predictor.track_record import (
    BY_INTERVALS,
    TRUTH,
    VERDICT,
    WEAKEST,
    track_record,
)
from src.soft_sensor import Budget, SoftSensor
from tests.builders.training import limited_to, made_from, phase_table


@pytest.fixture(name="limited", scope="module")
def fixture_limited(spec: SoftSensor) -> SoftSensor:
    """Only the surface tension has a limit, which about half of the rinses keep."""
    return limited_to(spec, 54.5)


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(limited: SoftSensor) -> Bundle:
    """A small bundle that is sometimes wrong."""
    return made_from(phase_table(100, limited, noise=0.1), limited)


def test_each_judged_row_has_its_verdict_and_what_the_laboratory_says(
    bundle: Bundle, limited: SoftSensor
) -> None:
    reference = bundle.reference
    record = track_record(replace(bundle, reference=reference), limited)
    rinses = reference[reference["waschen"] == 0]
    assert record.index.tolist() == rinses.index.tolist()
    clean = rinses["oberflaechenspannung_measured"] >= 54.5
    assert ((record[TRUTH] == Judgement.CLEAN) == clean).all()
    assert (record[WEAKEST] == "oberflaechenspannung").all()
    by_intervals = record[BY_INTERVALS] == Judgement.UNCERTAIN
    assert by_intervals.any() and (record[VERDICT] != Judgement.UNCERTAIN).any()


def test_the_own_laboratory_value_of_a_row_does_not_move_its_verdict(
    bundle: Bundle, limited: SoftSensor
) -> None:
    """A row that seems clean beyond doubt, and is not, would otherwise raise its own threshold."""
    reference = bundle.reference.copy()
    rinses = reference.index[reference["waschen"] == 0]
    surest = reference.loc[rinses, "oberflaechenspannung"].idxmax()
    reference.loc[surest, "oberflaechenspannung_measured"] = 50.0
    none_wrong = Budget(wrong_clean=0.015)  # fewer than 1 of the groups
    record = track_record(
        replace(bundle, reference=reference), limited.model_copy(update={"verdict": none_wrong})
    )
    assert record.loc[surest, VERDICT] == Judgement.CLEAN
    assert record.loc[surest, TRUTH] == Judgement.NOT_CLEAN
    others = record.drop(surest)
    assert not (others[VERDICT] == Judgement.CLEAN).any()


def test_too_few_groups_are_judged_by_their_intervals(bundle: Bundle, limited: SoftSensor) -> None:
    strict = limited.model_copy(
        update={"verdict": Budget(wrong_clean=0.001, wrong_not_clean=0.001)}
    )
    record = track_record(bundle, strict)
    assert (record[VERDICT] == record[BY_INTERVALS]).all()


def test_a_row_without_laboratory_values_is_judged_and_its_truth_is_open(
    bundle: Bundle, limited: SoftSensor
) -> None:
    reference = bundle.reference.copy()
    first = reference.index[reference["waschen"] == 0][0]
    reference.loc[first, "oberflaechenspannung_measured"] = np.nan
    record = track_record(replace(bundle, reference=reference), limited)
    assert record.loc[first, TRUTH] == "" and record.loc[first, VERDICT] != ""


def test_where_nothing_is_judged_there_is_no_record(bundle: Bundle, spec: SoftSensor) -> None:
    free = tuple(target.model_copy(update={"limit": None}) for target in spec.targets)
    record = track_record(bundle, spec.model_copy(update={"targets": free}))
    assert isinstance(record, pd.DataFrame) and record.empty
