"""A bundle as files, without pickle: every byte is checked before anything of it is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED

import numpy as np
import pandas as pd
import skops.io
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from skops.io.exceptions import UntrustedTypesFoundException
from xgboost import XGBRegressor

from src.components.predictor.bundle import Bundle
from src.components.predictor.ensemble import Models
from src.errors import BundleRefused

# What a bundle may contain beyond skops' own list of harmless types. It lives here and not in the
# bundle, so that no bundle can widen it.
TRUSTED_TYPES = frozenset({"sklearn.tree._tree.Tree"})
FORESTS = (RandomForestRegressor, ExtraTreesRegressor)

MANIFEST = "manifest.json"
TABLES = ("reference", "holdout")


def save(bundle: Bundle, folder: Path) -> str:
    """Write a bundle and the SHA-256 of each of its files.

    Returns:
        The SHA-256 of the manifest, which stands for the whole bundle.
    """
    folder.mkdir(parents=True)
    for name in bundle.weights.index:
        models = {
            f"{fold}-{target}": members[name][target]
            for fold, members in enumerate(bundle.folds)
            for target in bundle.targets
        }
        if all(isinstance(model, XGBRegressor) for model in models.values()):
            raw = {
                k: np.frombuffer(m.get_booster().save_raw("ubj"), np.uint8)
                for k, m in models.items()
            }
            np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, **raw)
        else:
            skops.io.dump(models, folder / f"{name}.skops", compression=ZIP_DEFLATED)
    contract = {
        "features": bundle.features,
        "targets": bundle.targets,
        "definition": bundle.definition,
        "scales": bundle.scales,
        "folds": len(bundle.folds),
        "text": bundle.reference.select_dtypes(exclude="number").columns.tolist(),
        "weights": bundle.weights.to_dict("index"),
        "floors": bundle.floors.reset_index().to_dict("tight", index=False),
        "metadata": bundle.metadata,
    }
    (folder / "contract.json").write_text(json.dumps(contract, indent=1), encoding="utf-8")
    for table in TABLES:
        getattr(bundle, table).to_csv(folder / f"{table}.csv", index=False)
    hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")
    return sha256_of(folder / MANIFEST)


def load(folder: Path, sha256: str | None = None) -> Bundle:
    """Read a bundle after every byte of it has been checked.

    Args:
        folder: what `save` wrote.
        sha256: of the manifest, where the registry has told it.

    Raises:
        BundleRefused: when a file is missing, added or changed, or names a type not allowed, or
            another version of this program wrote it.
    """
    verify(folder, sha256)
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    if "definition" not in contract:
        raise BundleRefused(f"{folder} was made by an older version: train and promote a new model")
    folds: list[Models] = [{} for _ in range(contract["folds"])]
    for name in contract["weights"]:
        for key, model in _load_member(folder, name).items():
            fold, target = key.split("-", maxsplit=1)
            folds[int(fold)].setdefault(name, {})[target] = model
    floors = pd.DataFrame(contract["floors"]["data"], columns=contract["floors"]["columns"])
    reference, holdout = (_read(folder / f"{table}.csv", contract["text"]) for table in TABLES)
    return Bundle(
        features=contract["features"],
        targets=contract["targets"],
        definition=contract["definition"],
        scales=contract["scales"],
        folds=folds,
        weights=pd.DataFrame.from_dict(contract["weights"], orient="index"),
        floors=floors.set_index(floors.columns[0]),
        reference=reference,
        holdout=holdout,
        metadata=contract["metadata"],
    )


def _read(file: Path, text: list[str]) -> pd.DataFrame:
    """A table whose names stay as they are: experiment 007 is not 7, and NaN may be a name."""
    numbers = [name for name in pd.read_csv(file, nrows=0).columns if name not in text]
    return pd.read_csv(
        file,
        float_precision="round_trip",
        dtype=dict.fromkeys(text, "str"),
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )


def _load_member(folder: Path, name: str) -> dict[str, Any]:
    """Regressors of one member, by `<fold>-<target>`."""
    boosting = folder / f"{name}.npz"
    if boosting.exists():
        try:
            with np.load(boosting, allow_pickle=False) as raw:
                return {key: _boosting(raw[key]) for key in raw.files}
        except ValueError as error:
            raise BundleRefused(f"{boosting} holds something else than bytes: {error}") from error
    file = folder / f"{name}.skops"
    try:
        forests: dict[str, Any] = skops.io.load(file, trusted=sorted(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise BundleRefused(f"{file} asks for types that are not allowed: {error}") from error
    if not isinstance(forests, dict) or not all(isinstance(f, FORESTS) for f in forests.values()):
        raise BundleRefused(f"{file} holds something else than forests")
    return forests


def _boosting(raw: np.ndarray) -> XGBRegressor:
    model = XGBRegressor(n_jobs=1)
    model.load_model(bytearray(raw.tobytes()))
    return model


def verify(folder: Path, sha256: str | None) -> None:
    """Check every byte of a bundle.

    Raises:
        BundleRefused: when a file is missing, added or changed.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BundleRefused(f"{folder} is no model bundle: it has no {MANIFEST}")
    if sha256 and sha256_of(manifest) != sha256:
        raise BundleRefused(f"{manifest} is not the one that was registered: fetch it again")
    hashes = json.loads(manifest.read_text(encoding="utf-8"))
    found = {f.name: sha256_of(f) for f in folder.iterdir() if f.is_file() and f.name != MANIFEST}
    if odd := sorted(k for k in hashes.keys() | found.keys() if hashes.get(k) != found.get(k)):
        raise BundleRefused(f"{folder}: {', '.join(odd)} changed since it was made: fetch it again")


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
