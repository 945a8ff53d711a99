"""A bundle on disk: it comes back the same, or it is refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import FOLD, Bundle
from src.components.registry import bundle_files
from src.components.trainer import fitting
from src.components.transformation.training_table import GROUP
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, MEMBERS, phase_table


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """Phases whose targets follow conductivity, on the scales of the real ones."""
    return phase_table(40, spec)


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


def test_names_of_digits_are_still_names_after_saving(spec: SoftSensor, tmp_path: Path) -> None:
    """As numbers they would match no phase and no experiment any more."""
    columns = spec.columns.model_copy(update={"experiment_type": "text"})
    phases = tuple(p.model_copy(update={"value": str(p.value)}) for p in spec.phases)
    named = spec.model_copy(update={"columns": columns, "phases": phases})
    table = phase_table(40, named)
    numbers = table["experimentnummer"].astype(str).str.zfill(3)
    keys = {"experimentnummer": numbers, GROUP: numbers, "waschen": table["waschen"].astype(str)}
    bundle = fitting.assemble(table.assign(**keys), FOREST, named)
    bundle_files.save(bundle, tmp_path / "bundle")
    loaded = bundle_files.load(tmp_path / "bundle")
    saved, kept = (one.reference[list(keys)] for one in (bundle, loaded))
    assert kept.to_numpy().tolist() == saved.to_numpy().tolist()
    rows = bundle.reference
    pd.testing.assert_frame_equal(loaded.estimate(rows, named), bundle.estimate(rows, named))


def test_no_file_of_a_bundle_is_a_pickle(folder: Path) -> None:
    names = {file.name for file in folder.iterdir()}
    assert names == {
        "members.npz",
        "contract.json",
        "manifest.json",
        "reference.csv",
    }
    with np.load(folder / "members.npz", allow_pickle=False) as arrays:
        assert {array.dtype.kind for array in arrays.values()} <= set("bif")


@pytest.mark.parametrize("name", ["contract.json", "reference.csv", "members.npz", "manifest.json"])
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
    (folder / "members.npz").unlink()
    for changed in (folder, more):
        with pytest.raises(BundleRefused, match="changed since it was made|which no bundle has"):
            bundle_files.load(changed)


@pytest.mark.parametrize(
    "arrays, complaint",
    [
        ({"x": np.array([{"pickled": True}], dtype=object)}, "does not hold arrays"),
        ({"random_forest.value": np.zeros(5)}, "other members than"),
        ({}, "other members than"),
    ],
)
def test_other_arrays_are_refused_though_every_hash_is_right(
    folder: Path, arrays: dict[str, Any], complaint: str
) -> None:
    np.savez(folder / "members.npz", allow_pickle=True, **arrays)
    _rehash(folder, "members.npz")
    with pytest.raises(BundleRefused, match=complaint):
        bundle_files.load(folder)


def test_an_archive_that_would_fill_the_memory_is_not_unpacked(folder: Path) -> None:
    """6 MB that declare 6 GB."""
    with zipfile.ZipFile(folder / "members.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("random_forest.value.npy", "w", force_zip64=True) as entry:
            for _ in range(300):
                entry.write(bytes(1_000_000))
    _rehash(folder, "members.npz")
    with pytest.raises(BundleRefused, match="would take more than 256 MB"):
        bundle_files.load(folder)


def test_a_header_that_declares_a_giant_array_is_not_believed(folder: Path) -> None:
    header = BytesIO()
    declared = {"descr": "<f8", "fortran_order": False, "shape": (10**8,)}
    np.lib.format.write_array_header_1_0(header, declared)
    with zipfile.ZipFile(folder / "members.npz", "w") as archive:
        archive.writestr("random_forest.value.npy", header.getvalue() + bytes(80))
    _rehash(folder, "members.npz")
    with pytest.raises(BundleRefused, match="another length than its header"):
        bundle_files.load(folder)


def test_a_file_that_is_too_large_is_refused(folder: Path) -> None:
    with (folder / "reference.csv").open("r+b") as stream:
        stream.truncate(bundle_files.LARGEST_FILE + 1)
    with pytest.raises(BundleRefused, match="is larger than 64 MB"):
        bundle_files.load(folder)


@pytest.mark.parametrize("name", ["../victim.csv", "sub/members.npz", "/etc/passwd", "run.py"])
def test_a_manifest_cannot_name_other_files(folder: Path, name: str) -> None:
    manifest = folder / "manifest.json"
    hashes = json.loads(manifest.read_text()) | {name: "0" * 64}
    manifest.write_text(json.dumps(hashes))
    with pytest.raises(BundleRefused, match="which no bundle has"):
        bundle_files.load(folder)


def _members(contract: dict[str, Any]) -> None:
    contract["weights"]["../xgboost"] = contract["weights"].pop("xgboost")


def _folds(contract: dict[str, Any]) -> None:
    contract["folds"] = 10**9


def _weight(contract: dict[str, Any]) -> None:
    contract["weights"]["xgboost"]["oberflaechenspannung"] = float("nan")


def _targets(contract: dict[str, Any]) -> None:
    contract["weights"]["xgboost"].pop("oberflaechenspannung")


def _floor(contract: dict[str, Any]) -> None:
    contract["floors"][0]["oberflaechenspannung"] = "x"


def _more(contract: dict[str, Any]) -> None:
    contract["run"] = "rm"


def _statistic(contract: dict[str, Any]) -> None:
    contract["params"]["statistics"].append("os.system")


@pytest.mark.parametrize("spoil", [_members, _folds, _weight, _targets, _floor, _more, _statistic])
def test_a_contract_with_wrong_values_is_refused(
    folder: Path, spoil: Callable[[dict[str, Any]], None]
) -> None:
    contract = json.loads((folder / "contract.json").read_text())
    spoil(contract)
    (folder / "contract.json").write_text(json.dumps(contract))
    _rehash(folder, "contract.json")
    with pytest.raises(BundleRefused):
        bundle_files.load(folder)


@pytest.mark.parametrize(
    "before, after, complaint",
    [
        ("last_timestamp", "stamp", "other columns"),
        ("1500.0", "x", "text where numbers belong"),
        ("1500.0", "inf", "an infinite number"),
    ],
)
def test_a_table_with_wrong_values_is_refused(
    folder: Path, before: str, after: str, complaint: str
) -> None:
    reference = folder / "reference.csv"
    reference.write_text(reference.read_text().replace(before, after, 1))
    _rehash(folder, "reference.csv")
    with pytest.raises(BundleRefused, match=complaint):
        bundle_files.load(folder)


def test_a_fold_that_does_not_exist_is_refused(folder: Path) -> None:
    table = pd.read_csv(folder / "reference.csv")
    table.assign(**{FOLD: table[FOLD] - 1}).to_csv(folder / "reference.csv", index=False)
    _rehash(folder, "reference.csv")
    with pytest.raises(BundleRefused, match="a fold that does not exist"):
        bundle_files.load(folder)


def test_a_bundle_of_an_older_version_is_refused(folder: Path) -> None:
    (folder / "members.npz").rename(folder / "random_forest.skops")
    with pytest.raises(BundleRefused, match="older version: train and promote a new model"):
        bundle_files.load(folder)


def _rehash(folder: Path, name: str) -> None:
    manifest = folder / "manifest.json"
    hashes = json.loads(manifest.read_text())
    hashes[name] = bundle_files.sha256_of(folder / name)
    manifest.write_text(json.dumps(hashes))
