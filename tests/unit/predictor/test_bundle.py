"""What a prediction may be, and which bundles are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from src.components.predictor.bundle import Bundle
from src.components.predictor.judgement import Judgement, moved_to_bounds, reject_reasons, verdicts
from src.components.registry import bundle_files
from src.components.trainer import fitting
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, MEMBERS, phase_table


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """Phases whose targets follow conductivity, on the scales of the real ones."""
    return phase_table(40, spec).assign(holdout=False)


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


def test_a_little_beyond_the_bound_is_the_bound_and_far_beyond_is_refused(
    spec: SoftSensor,
) -> None:
    values = pd.DataFrame({name: [40.0, 40.0, 40.0] for name in spec.target_names})
    tension = spec.targets[0]
    raw = pd.Series([73.5, 75.0, 19.0])
    values[tension.name] = moved_to_bounds(raw, tension)
    assert values[tension.name].tolist() == [72.8, 75.0, 20.0]
    around = {f"{name}_{end}": values[name] for name in values for end in ("lower", "upper")}
    reasons = reject_reasons(values.assign(**around), spec)
    assert reasons.tolist() == ["", "impossible_prediction", ""]


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
    alone = pd.concat([bundle.predict(table.iloc[[row]], spec) for row in range(20)])
    pd.testing.assert_frame_equal(together.head(20), alone, rtol=1e-12)


def test_verdicts_need_the_whole_interval(spec: SoftSensor) -> None:
    tension, anionic, nonionic = spec.target_names

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
    found = verdicts(predicted, pd.Series([0, 0, 0, 0, 1]), spec)
    assert found.tolist() == [
        Judgement.CLEAN,
        Judgement.UNCERTAIN,
        Judgement.NOT_CLEAN,
        Judgement.NOT_CLEAN,
        "",
    ]


def test_a_saved_bundle_predicts_the_same(
    bundle: Bundle, table: pd.DataFrame, spec: SoftSensor, tmp_path: Path
) -> None:
    sha256 = bundle_files.save(bundle.with_origin(data_version="x"), tmp_path / "bundle")
    loaded = bundle_files.load(tmp_path / "bundle", sha256)
    before, after = bundle.predict(table, spec), loaded.predict(table, spec)
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    pd.testing.assert_frame_equal(bundle.reference, loaded.reference, check_exact=True)
    for name in ("weights", "floors"):
        pd.testing.assert_frame_equal(
            getattr(bundle, name), getattr(loaded, name), check_exact=True, check_names=False
        )
    assert loaded.origin == bundle.with_origin(data_version="x").origin


def test_the_hold_out_is_saved_with_the_bundle(spec: SoftSensor, tmp_path: Path) -> None:
    table = phase_table(40, spec)
    bundle = fitting.assemble(table, FOREST, spec)
    assert len(bundle.holdout) == table["holdout"].sum() > 0
    bundle_files.save(bundle, tmp_path / "bundle")
    loaded = bundle_files.load(tmp_path / "bundle")
    pd.testing.assert_frame_equal(bundle.holdout, loaded.holdout, check_exact=True)


def test_names_of_digits_are_still_names_after_saving(spec: SoftSensor, tmp_path: Path) -> None:
    """As numbers they would match no phase and no experiment any more."""
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    phases = tuple(p.model_copy(update={"value": str(p.value)}) for p in spec.phases)
    named = spec.model_copy(update={"columns": columns, "phases": phases})
    table = phase_table(40, named)
    numbers = table["experimentnummer"].astype(str).str.zfill(3)
    keys = {"experimentnummer": numbers, "group": numbers, "waschen": table["waschen"].astype(str)}
    bundle = fitting.assemble(table.assign(**keys), FOREST, named)
    bundle_files.save(bundle, tmp_path / "bundle")
    loaded = bundle_files.load(tmp_path / "bundle")
    for part in ("reference", "holdout"):
        saved, kept = (getattr(one, part)[list(keys)] for one in (bundle, loaded))
        assert kept.to_numpy().tolist() == saved.to_numpy().tolist()
    rows = bundle.holdout
    pd.testing.assert_frame_equal(loaded.estimate(rows, named), bundle.estimate(rows, named))


def test_no_file_of_a_bundle_is_a_pickle(bundle: Bundle, tmp_path: Path) -> None:
    bundle_files.save(bundle, tmp_path / "bundle")
    names = {file.name for file in (tmp_path / "bundle").iterdir()}
    assert names == {
        "random_forest.skops",
        "extra_trees.skops",
        "xgboost.npz",
        "contract.json",
        "manifest.json",
        "reference.csv",
        "holdout.csv",
    }
    with np.load(tmp_path / "bundle" / "xgboost.npz", allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype("uint8")}


@pytest.mark.parametrize(
    "name", ["contract.json", "reference.csv", "holdout.csv", "xgboost.npz", "manifest.json"]
)
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
    (tmp_path / "bundle" / "xgboost.npz").unlink()
    for folder in ("bundle", "more"):
        with pytest.raises(BundleRefused, match="changed since it was made"):
            bundle_files.load(tmp_path / folder)


def test_a_type_outside_the_allow_list_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    """Even where every hash is right: whoever can write a manifest cannot widen the list."""
    folder = tmp_path / "bundle"
    bundle_files.save(bundle, folder)
    forests = folder / "random_forest.skops"
    for content, complaint in (
        (pd.Series([1.0]), "types that are not allowed"),
        ({"0-oberflaechenspannung": SVR()}, "holds something other than forests"),
        (RandomForestRegressor(), "holds something other than forests"),
    ):
        skops.io.dump(content, forests)
        _rehash(folder, forests)
        with pytest.raises(BundleRefused, match=complaint):
            bundle_files.load(folder)


def test_a_pickle_among_the_boosted_trees_is_not_loaded(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    bundle_files.save(bundle, folder)
    boosting = folder / "xgboost.npz"
    harmful = np.array([{"pickled": True}], dtype=object)
    np.savez(boosting, allow_pickle=True, **{"0-oberflaechenspannung": harmful})
    _rehash(folder, boosting)
    with pytest.raises(BundleRefused, match="allow_pickle=False"):
        bundle_files.load(folder)


def test_a_bundle_of_an_older_version_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    bundle_files.save(bundle, folder)
    contract = folder / "contract.json"
    old = {k: v for k, v in json.loads(contract.read_text()).items() if k != "definition"}
    contract.write_text(json.dumps(old), encoding="utf-8")
    _rehash(folder, contract)
    with pytest.raises(BundleRefused, match="older version: train and promote a new model"):
        bundle_files.load(folder)


def _rehash(folder: Path, file: Path) -> None:
    manifest = folder / "manifest.json"
    hashes = json.loads(manifest.read_text())
    hashes[file.name] = bundle_files.sha256_of(file)
    manifest.write_text(json.dumps(hashes))


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
