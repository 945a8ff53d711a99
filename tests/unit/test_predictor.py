"""What a prediction may be, and which bundles are refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from src.components import bundle_files, predictor, trainer
from src.components.predictor import CLEAN, NOT_CLEAN, UNCERTAIN, Bundle
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor

PARAMS = {
    "random_forest": {"n_estimators": 20, "max_depth": 4},
    "xgboost": {"n_estimators": 20, "max_depth": 2},
}


@pytest.fixture(name="table", scope="module")
def fixture_table(sensor: SoftSensor) -> pd.DataFrame:
    """Phases whose targets follow conductivity, on the scales of the real ones."""
    random = np.random.default_rng(0)
    rows = 80
    table = pd.DataFrame({"experimentnummer": np.arange(rows) // 2, "waschen": np.arange(rows) % 2})
    table[sensor.features] = random.normal(100, 10, (rows, len(sensor.features)))
    strength = (table["leitfaehigkeit_mean"] - 70) / 60
    table["oberflaechenspannung"] = 72 - 35 * strength.clip(0, 1)
    table["anionischetenside"] = 300 * strength.clip(0, 1)
    table["nichtionischentenside"] = 100 * strength.clip(0, 1)
    table[[f"{part.name}_out_of_bounds" for part in sensor.sensors]] = 0
    table = table.assign(n_samples=1000, first_timestamp=0.0, last_timestamp=1500.0)
    return table.assign(group=table["experimentnummer"], holdout=False)


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(table: pd.DataFrame, sensor: SoftSensor) -> Bundle:
    """A small bundle, made as the trainer makes it but without a search."""
    return trainer.assemble(table, PARAMS, sensor)


def test_the_ensemble_lies_between_its_members(
    bundle: Bundle, table: pd.DataFrame, sensor: SoftSensor
) -> None:
    """Guards against members that are scaled back one by one and summed."""
    members = predictor.predict_members(bundle.members, table, sensor)
    predicted = bundle.predict(table, sensor)
    for target in sensor.target_names:
        both = pd.DataFrame({name: values[target] for name, values in members.items()})
        assert (predicted[target] >= both.min(axis=1) - 1e-9).all()
        assert (predicted[target] <= both.max(axis=1) + 1e-9).all()
    bias = (predicted["oberflaechenspannung"] - table["oberflaechenspannung"]).mean()
    assert abs(bias) < 1


def test_predictions_keep_to_what_is_physically_possible(
    bundle: Bundle, table: pd.DataFrame, sensor: SoftSensor
) -> None:
    wild = table.assign(**dict.fromkeys(sensor.features, 1e12))
    predicted = bundle.predict(pd.concat([table, wild], ignore_index=True), sensor)
    for target in sensor.targets:
        columns = predicted[[f"{target.name}_lower", target.name, f"{target.name}_upper"]]
        assert columns.to_numpy().min() >= target.low
        assert columns.to_numpy().max() <= target.high
        assert (columns.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_a_little_beyond_the_bound_is_the_bound_and_far_beyond_is_refused(
    sensor: SoftSensor,
) -> None:
    raw = pd.DataFrame({name: [40.0, 40.0, 40.0] for name in sensor.target_names})
    raw["oberflaechenspannung"] = [73.5, 75.0, 19.0]
    weights = pd.DataFrame(1.0, ["only"], sensor.target_names)
    values = predictor.combine({"only": raw}, weights, sensor)
    assert values["oberflaechenspannung"].tolist() == [72.8, 75.0, 20.0]
    around = {f"{name}_{end}": values[name] for name in values for end in ("lower", "upper")}
    reasons = predictor.impossible(values.assign(**around), sensor)
    assert reasons.tolist() == ["", "impossible_prediction", ""]


def test_a_missing_sensor_is_flagged_and_still_predicted(
    bundle: Bundle, table: pd.DataFrame, sensor: SoftSensor
) -> None:
    one = table.head(1).copy()
    one[[name for name in sensor.features if name.startswith("ph_")]] = np.nan
    one["truebung_mean"] = 1e6
    one["n_samples"] = 3
    one["druck1_out_of_bounds"] = 1
    one["last_timestamp"] = 3600
    predicted = bundle.predict(one, sensor)
    assert predicted[sensor.target_names].notna().all(axis=None)
    assert predicted["flags"][0].split(",") == [
        "few_samples",
        "clock_jump",
        "truebung_outside_training",
        "druck1_out_of_bounds",
        "ph_missing",
    ]
    assert predicted["verdict"][0] == UNCERTAIN
    assert bundle.predict(table, sensor)["flags"].eq("").all()


def test_a_row_is_predicted_alike_alone_and_in_company(
    bundle: Bundle, table: pd.DataFrame, sensor: SoftSensor
) -> None:
    together = bundle.predict(table, sensor)
    alone = pd.concat([bundle.predict(table.iloc[[row]], sensor) for row in range(20)])
    pd.testing.assert_frame_equal(together.head(20), alone, rtol=1e-12)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200),
    st.floats(0.55, 0.99),
)
def test_half_widths_cover_their_share_of_the_errors(errors: list[float], coverage: float) -> None:
    frame = pd.DataFrame({"y": errors})
    widths = predictor.interval_half_widths(frame, pd.Series(0, index=frame.index), coverage)
    covered = (frame["y"].abs() <= widths.loc[0, "y"]).sum()
    assert covered >= min(math.ceil((len(errors) + 1) * coverage), len(errors))


def test_verdicts_need_the_whole_interval(sensor: SoftSensor) -> None:
    tension, anionic, nonionic = sensor.target_names

    def row(tension_at: float, anionic_at: float, width: float) -> dict[str, float]:
        values = {tension: tension_at, anionic: anionic_at, nonionic: 2.0}
        return {
            f"{name}_{end}": value + sign * width
            for name, value in values.items()
            for end, sign in (("lower", -1), ("upper", 1))
        }

    predicted = pd.DataFrame(
        [row(70, 2, 1), row(70, 9.5, 1), row(70, 30, 1), row(40, 2, 1), row(70, 2, 1)]
    )
    verdicts = predictor.verdicts(predicted, pd.Series([0, 0, 0, 0, 1]), sensor)
    assert verdicts.tolist() == [CLEAN, UNCERTAIN, NOT_CLEAN, NOT_CLEAN, ""]


def test_a_saved_bundle_predicts_the_same(
    bundle: Bundle, table: pd.DataFrame, sensor: SoftSensor, tmp_path: Path
) -> None:
    sha256 = bundle_files.save(bundle.with_metadata(note="x"), tmp_path / "bundle")
    loaded = bundle_files.load(tmp_path / "bundle", sha256)
    pd.testing.assert_frame_equal(bundle.predict(table, sensor), loaded.predict(table, sensor))
    pd.testing.assert_frame_equal(bundle.reference, loaded.reference, check_exact=True)
    assert loaded.metadata == {"note": "x"}


def test_no_file_of_a_bundle_is_a_pickle(bundle: Bundle, tmp_path: Path) -> None:
    bundle_files.save(bundle, tmp_path / "bundle")
    endings = {file.suffix for file in (tmp_path / "bundle").iterdir()}
    assert endings == {".skops", ".ubj", ".json", ".csv"}


@pytest.mark.parametrize("name", ["contract.json", "reference.csv", "manifest.json"])
def test_a_changed_byte_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    sha256 = bundle_files.save(bundle, tmp_path / "bundle")
    file = tmp_path / "bundle" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleRefused, match="fetch it again"):
        bundle_files.load(tmp_path / "bundle", sha256)


def test_a_missing_and_an_added_file_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    bundle_files.save(bundle, tmp_path / "bundle")
    shutil.copytree(tmp_path / "bundle", tmp_path / "more")
    (tmp_path / "more" / "extra.json").write_text("{}")
    (tmp_path / "bundle" / "xgboost-oberflaechenspannung.ubj").unlink()
    for folder in ("bundle", "more"):
        with pytest.raises(BundleRefused, match="changed since it was made"):
            bundle_files.load(tmp_path / folder)


def test_a_type_outside_the_allow_list_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Even where every hash is right: whoever can write a manifest cannot widen the list."""
    folder = tmp_path / "bundle"
    bundle_files.save(bundle, folder)
    forest = folder / "random_forest-oberflaechenspannung.skops"
    skops.io.dump(pd.Series([1.0]), forest)
    _rehash(folder, forest)
    with pytest.raises(BundleRefused, match="types that are not allowed"):
        bundle_files.load(folder)
    skops.io.dump(SVR(), forest)
    _rehash(folder, forest)
    with pytest.raises(BundleRefused, match="holds a SVR, not a forest"):
        bundle_files.load(folder)


def _rehash(folder: Path, file: Path) -> None:
    manifest = folder / "manifest.json"
    hashes = json.loads(manifest.read_text())
    hashes[file.name] = bundle_files.sha256_of(file)
    manifest.write_text(json.dumps(hashes))


def test_another_contract_is_refused(
    bundle: Bundle, table: pd.DataFrame, sensor: SoftSensor
) -> None:
    fewer = sensor.model_copy(update={"sensors": sensor.sensors[1:]})
    with pytest.raises(BundleRefused, match="truebung_mean.*train and promote"):
        bundle.predict(table, fewer)


def test_forests_accept_missing_features_they_never_saw() -> None:
    """Prediction relies on it: a sensor that fails for the first time must not stop the week."""
    features = np.random.default_rng(0).normal(size=(50, 3))
    forest = RandomForestRegressor(10, random_state=0).fit(features, features[:, 0])
    assert np.isfinite(forest.predict([[np.nan, np.nan, np.nan]])).all()
