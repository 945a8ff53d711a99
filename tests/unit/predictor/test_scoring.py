"""Features in, rows of the ledger out, without a database."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components.database.tables import tables
from src.components.predictor.bundle import Bundle
from src.components.predictor.correction import FROM, MODE, TO, VALUES, Correction, Slopes
from src.components.predictor.ensemble import from_scale, to_scale
from src.components.predictor.reasons import Reason
from src.components.predictor.scoring import CLOCK_AHEAD, Served, score
from src.components.trainer import fitting
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, phase_table


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """Phases that a model was trained on."""
    return phase_table(30, spec)


@pytest.fixture(name="model", scope="module")
def fixture_model(table: pd.DataFrame, spec: SoftSensor) -> Served:
    """A model in production."""
    return Served(fitting.assemble(table, FOREST, spec), version="7")


def _keys(rows: pd.DataFrame, spec: SoftSensor) -> set[tuple[object, ...]]:
    return set(rows[spec.columns.keys].itertuples(index=False, name=None))


@settings(max_examples=20, deadline=None)
@given(empty=st.sets(st.integers(0, 59)), impossible=st.sets(st.integers(0, 59)))
def test_every_phase_is_in_the_ledger_or_refused(
    empty: set[int], impossible: set[int], table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    features = table.copy()
    features.loc[sorted(empty), spec.features] = np.nan

    class Defect(Bundle):
        """Predicts impossible values for some phases."""

        def predict(
            self, features: pd.DataFrame, spec: SoftSensor, correction: Correction | None = None
        ) -> pd.DataFrame:
            predicted = super().predict(features, spec, correction)
            chosen = features["row"].isin(impossible)
            return predicted.assign(
                oberflaechenspannung=predicted["oberflaechenspannung"].mask(chosen, 99.0)
            )

    defect = replace(model, bundle=Defect(**vars(model.bundle)))
    scored = score(features.assign(row=range(60)), defect, spec)
    assert len(scored.ledger) + len(scored.refused) == 60
    assert _keys(scored.ledger, spec) | _keys(scored.refused, spec) == _keys(features, spec)
    reasons = scored.refused["reason"].value_counts().to_dict()
    assert reasons.get(Reason.NO_SENSOR_VALUES, 0) == len(empty)
    assert reasons.get(Reason.IMPOSSIBLE_PREDICTION, 0) == len(impossible - empty)


NUMBERS = [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e39, 5e-324, -5e-324, -0.0, 0.0, 7.0]


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.sampled_from(NUMBERS) | st.floats(), min_size=25, max_size=25))
def test_no_feature_of_one_phase_keeps_the_others_from_being_scored(
    values: list[float], table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    features = table.copy()
    features.loc[7, spec.features] = values
    scored = score(features, model, spec)
    others = table.drop(index=7)
    assert _keys(scored.ledger, spec) >= _keys(others, spec)
    assert np.isfinite(scored.ledger.select_dtypes("number").fillna(0)).all(axis=None)
    if any(map(math.isinf, values)):
        assert scored.refused["reason"].tolist() == [Reason.INFINITE_FEATURES]


def _correction(spec: SoftSensor) -> Correction:
    """Every target is corrected, and its intervals are wider."""
    phases = [phase.value for phase in spec.phases]
    day = pd.Timestamp("2026-02-01", tz="UTC")
    return Correction(
        bias=pd.DataFrame(0.5, phases, spec.target_names),
        widening=pd.DataFrame(1.5, phases, spec.target_names),
        evidence=pd.DataFrame({VALUES: 7, FROM: day, TO: day}, phases),
    )


def test_a_correction_moves_predictions_and_intervals_and_keeps_what_the_model_alone_says(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    alone = score(table, model, spec).ledger
    served = score(table, model, spec, _correction(spec)).ledger
    for target in spec.targets:
        assert served[target.alone].tolist() == alone[target.name].tolist()
        assert served[target.adapted].tolist() == served[target.name].tolist()
        moved = from_scale(to_scale(alone[target.name], target).to_numpy() + 0.5, target)
        expected = moved.clip(target.low, target.high)
        assert served[target.name].to_numpy() == pytest.approx(expected)
        width, before = served[target.upper] - served[target.lower], alone[target.upper]
        assert (width > before - alone[target.lower]).mean() > 0.5
    assert (served[VALUES] == 7).all() and (served[MODE] == "on").all()


def _sloping(spec: SoftSensor) -> Correction:
    """The bias grows with the prediction."""
    plain = _correction(spec)
    frames = [plain.bias * 0 + value for value in (0.3, 4.0, 0.0, 60.0)]
    return replace(plain, slopes=Slopes(*frames))


def test_a_bias_may_grow_with_the_prediction(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    served = score(table, model, spec, _sloping(spec)).ledger
    for target in spec.targets:
        alone = to_scale(served[target.alone], target)
        bias = 0.5 + 0.3 * (alone.clip(0, 60) - 4)
        assert served[target.bias].to_numpy() == pytest.approx(bias)
        moved = pd.Series(from_scale((alone + bias).to_numpy(), target))
        assert served[target.name].to_numpy() == pytest.approx(
            moved.clip(target.low, target.high).to_numpy()
        )


def test_a_prediction_is_the_same_again_from_what_the_ledger_records_of_it(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    served = score(table, model, spec, _sloping(spec)).ledger.head(6)
    again = model.bundle.estimate_recorded(served, spec)
    for target in spec.targets:
        for column in (target.name, target.lower, target.upper):
            assert again[column].to_numpy() == pytest.approx(served[column].to_numpy())


def test_in_shadow_a_correction_is_recorded_and_changes_nothing(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    shadow = spec.model_copy(update={"adaptation": "shadow"})
    alone = score(table, model, shadow).ledger
    recorded = score(table, model, shadow, _correction(spec)).ledger
    pd.testing.assert_frame_equal(recorded[alone.columns], alone)
    on = score(table, model, spec, _correction(spec)).ledger
    for target in spec.targets:
        assert recorded[target.adapted].tolist() == on[target.name].tolist()
    assert (recorded[MODE] == "shadow").all()


def test_the_columns_are_those_of_the_ledger(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    scored = score(table.assign(**{CLOCK_AHEAD: None}), model, spec, _correction(spec))
    stamped_by_the_run = {"run_id", "predicted_at", "purged_at"}
    ledger = {column.name for column in tables(spec).archived.columns}
    assert set(scored.ledger) == ledger - stamped_by_the_run
    assert scored.model_version == "7" and set(scored.ledger["model_version"]) == {"7"}


def test_features_stay_as_they_were(table: pd.DataFrame, model: Served, spec: SoftSensor) -> None:
    before = table.copy()
    first = score(table, model, spec).ledger
    pd.testing.assert_frame_equal(table, before)
    pd.testing.assert_frame_equal(score(table, model, spec).ledger, first)


def test_what_the_features_do_not_show_is_flagged_too(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    three = table.head(3).assign(
        **{CLOCK_AHEAD: pd.Series([True, False, None], dtype=object)}, n_samples=[3, 1000, 1000]
    )
    flags = score(three, replace(model, cached=True), spec).ledger["flags"]
    assert flags.tolist() == [
        "few_samples,cached_model,clock_ahead",
        "cached_model",
        "cached_model",
    ]


def test_phases_without_any_value_ask_no_model(table: pd.DataFrame, spec: SoftSensor) -> None:
    empty = table.head(2).assign(**dict.fromkeys(spec.features, np.nan))
    scored = score(empty, Served(bundle=None, version="7"), spec)  # type: ignore[arg-type]  # unused
    assert scored.ledger.empty and len(scored.refused) == 2


def test_a_model_of_another_contract_is_refused(
    table: pd.DataFrame, model: Served, spec: SoftSensor
) -> None:
    fewer = spec.model_copy(update={"targets": spec.targets[:2]})
    with pytest.raises(BundleRefused):
        score(table, model, fewer)
