"""A bundle on disk: it comes back the same, or it is refused."""

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


@pytest.fixture(name="saved", scope="module")
def fixture_saved(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the saved bundle, and the hash of its manifest."""
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    return folder, bundle_files.save(bundle.with_origin(data_version="x"), folder)


@pytest.fixture(name="folder")
def fixture_folder(saved: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the saved bundle that a test may spoil."""
    return Path(shutil.copytree(saved[0], tmp_path / "bundle"))


def test_a_saved_bundle_predicts_the_same(
    bundle: Bundle, saved: tuple[Path, str], table: pd.DataFrame, spec: SoftSensor
) -> None:
    loaded = bundle_files.load(*saved)
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


def test_no_file_of_a_bundle_is_a_pickle(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "random_forest.skops",
        "extra_trees.skops",
        "xgboost.npz",
        "contract.json",
        "manifest.json",
        "reference.csv",
        "holdout.csv",
    }
    with np.load(folder / "xgboost.npz", allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype("uint8")}


@pytest.mark.parametrize(
    "name", ["contract.json", "reference.csv", "holdout.csv", "xgboost.npz", "manifest.json"]
)
def test_a_changed_byte_is_refused(saved: tuple[Path, str], folder: Path, name: str) -> None:
    file = folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleRefused, match="fetch it again"):
        bundle_files.load(folder, saved[1])


def test_a_missing_and_an_added_file_are_refused(folder: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(folder, tmp_path / "more"))
    (more / "extra.json").write_text("{}")
    (folder / "xgboost.npz").unlink()
    for changed in (folder, more):
        with pytest.raises(BundleRefused, match="changed since it was made"):
            bundle_files.load(changed)


def test_a_type_outside_the_allow_list_is_refused(folder: Path) -> None:
    """Even where every hash is right: whoever can write a manifest cannot widen the list."""
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


def test_a_pickle_among_the_boosted_trees_is_not_loaded(folder: Path) -> None:
    boosting = folder / "xgboost.npz"
    harmful = np.array([{"pickled": True}], dtype=object)
    np.savez(boosting, allow_pickle=True, **{"0-oberflaechenspannung": harmful})
    _rehash(folder, boosting)
    with pytest.raises(BundleRefused, match="allow_pickle=False"):
        bundle_files.load(folder)


def test_a_bundle_of_an_older_version_is_refused(folder: Path) -> None:
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
