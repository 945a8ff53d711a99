"""What a prediction may be, and for which contract a bundle may serve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement
from src.components.trainer import fitting
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, phase_table


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """Phases whose targets follow conductivity, on the scales of the real ones."""
    return phase_table(40, spec)


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(table: pd.DataFrame, spec: SoftSensor) -> Bundle:
    """A small bundle of all members."""
    return fitting.assemble(table, MEMBERS, spec)


def test_the_ensemble_lies_between_its_members(
    bundle: Bundle, table: pd.DataFrame, spec: SoftSensor
) -> None:
    """Guards against members that are scaled back one by one and summed."""
    members = bundle.member_votes(table, spec)
    assert list(members) == list(MEMBERS)
    predicted = bundle.predict(table, spec)
    for target in spec.target_names:
        all_of_them = pd.DataFrame({name: values[target] for name, values in members.items()})
        assert (predicted[target] >= all_of_them.min(axis=1) - 1e-9).all()
        assert (predicted[target] <= all_of_them.max(axis=1) + 1e-9).all()
    bias = (predicted["oberflaechenspannung"] - table["oberflaechenspannung"]).mean()
    assert abs(bias) < 1


def test_predictions_keep_to_what_is_physically_possible(
    bundle: Bundle, table: pd.DataFrame, spec: SoftSensor
) -> None:
    random = np.random.default_rng(0)
    wild = [table.assign(**dict.fromkeys(spec.features, value)) for value in (1e12, -1e12, np.nan)]
    mixed = random.choice([-1e6, 0.0, 1e-9, 1e6, np.nan], (len(table), len(spec.features)))
    wild.append(table.assign(**dict(zip(spec.features, mixed.T))))
    predicted = bundle.predict(pd.concat([table, *wild], ignore_index=True), spec)
    for target in spec.targets:
        columns = predicted[[f"{target.name}_lower", target.name, f"{target.name}_upper"]]
        assert columns.to_numpy().min() >= target.low
        assert columns.to_numpy().max() <= target.high
        assert (columns.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_a_missing_sensor_is_flagged_and_still_predicted(
    bundle: Bundle, table: pd.DataFrame, spec: SoftSensor
) -> None:
    one = table.head(1).copy()
    one[[name for name in spec.features if name.startswith("ph_")]] = np.nan
    one["truebung_mean"] = 1e6
    one["n_samples"] = 3
    one["druck1_out_of_bounds"] = 1
    one["last_timestamp"] = 3600
    predicted = bundle.predict(one, spec)
    assert predicted[spec.target_names].notna().all(axis=None)
    assert predicted["flags"][0].split(",") == [
        "few_samples",
        "clock_jump",
        "truebung_outside_training",
        "druck1_out_of_bounds",
        "ph_missing",
    ]
    assert predicted["verdict"][0] == Judgement.UNCERTAIN
    assert bundle.predict(table, spec)["flags"].eq("").all()


def test_a_row_is_predicted_alike_alone_and_in_company(
    bundle: Bundle, table: pd.DataFrame, spec: SoftSensor
) -> None:
    together = bundle.predict(table, spec)
    alone = pd.concat([bundle.predict(table.iloc[[row]], spec) for row in range(4)])
    pd.testing.assert_frame_equal(together.head(4), alone, rtol=1e-12)


def test_another_contract_is_refused(bundle: Bundle, table: pd.DataFrame, spec: SoftSensor) -> None:
    fewer = spec.model_copy(update={"sensors": spec.sensors[1:]})
    with pytest.raises(BundleRefused, match="truebung_mean.*train and promote"):
        bundle.predict(table, fewer)


def test_a_sensor_range_that_has_changed_is_refused(bundle: Bundle, spec: SoftSensor) -> None:
    first, *others = spec.sensors
    wider = first.model_copy(update={"high": first.high + 1})
    _refused(bundle, spec.model_copy(update={"sensors": (wider, *others)}))


def test_another_rule_for_valid_rows_is_refused(bundle: Bundle, spec: SoftSensor) -> None:
    assert spec.valid_rows is not None
    stricter = spec.valid_rows.model_copy(update={"min": 1})
    _refused(bundle, spec.model_copy(update={"valid_rows": stricter}))
    _refused(bundle, spec.model_copy(update={"valid_rows": None}))


def test_another_scale_of_a_target_is_refused(bundle: Bundle, spec: SoftSensor) -> None:
    *others, last = spec.targets
    linear = last.model_copy(update={"scale": "linear"})
    _refused(bundle, spec.model_copy(update={"targets": (*others, linear)}))


def _refused(bundle: Bundle, changed: SoftSensor) -> None:
    with pytest.raises(BundleRefused, match="has since redefined.*train and promote") as error:
        bundle.check_contract(changed)
    assert "\n" not in str(error.value)


def test_another_price_limit_or_title_is_no_other_contract(
    bundle: Bundle, spec: SoftSensor
) -> None:
    first, *others = spec.sensors
    dearer = first.model_copy(update={"price": 1e6, "title": "another"})
    targets = tuple(target.model_copy(update={"limit": None}) for target in spec.targets)
    bundle.check_contract(
        spec.model_copy(update={"sensors": (dearer, *others), "targets": targets})
    )


def test_forests_accept_missing_features_they_never_saw() -> None:
    """Prediction relies on it: a sensor that fails for the first time must not stop the week."""
    features = np.random.default_rng(0).normal(size=(50, 3))
    forest = RandomForestRegressor(10, random_state=0).fit(features, features[:, 0])
    assert np.isfinite(forest.predict([[np.nan, np.nan, np.nan]])).all()
