"""A bundle as files, without pickle: every byte is checked before anything of it is loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from src.components.predictor.bundle import Bundle, Origin
from src.components.predictor.ensemble import Models
from src.components.predictor.members import FORMATS, MEMBERS
from src.errors import BundleRefused

MANIFEST = "manifest.json"
TABLES = ("reference", "holdout")


def save(bundle: Bundle, folder: Path) -> str:
    """Write a bundle and the SHA-256 of each of its files.

    Returns:
        The SHA-256 of the manifest, which stands for the whole bundle.
    """
    folder.mkdir(parents=True)
    for name in bundle.weights.index:
        regressors = {
            f"{fold}-{target}": models[name][target]
            for fold, models in enumerate(bundle.folds)
            for target in bundle.targets
        }
        stored_as = MEMBERS[name].format
        stored_as.write(regressors, folder / f"{name}{stored_as.suffix}")
    contract = {
        "features": bundle.features,
        "targets": bundle.targets,
        "definition": bundle.definition,
        "scales": bundle.scales,
        "folds": len(bundle.folds),
        "text": bundle.reference.select_dtypes(exclude="number").columns.tolist(),
        "weights": bundle.weights.to_dict("index"),
        "floors": bundle.floors.reset_index().to_dict("tight", index=False),
        "metadata": asdict(bundle.origin),
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
        sha256: of the manifest, as the registry keeps it.

    Raises:
        BundleRefused: when a file is missing, added or changed, asks for a type that is not
            allowed, or was written by an older version of this program.
    """
    verify(folder, sha256)
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    if "definition" not in contract:
        raise BundleRefused(f"{folder} was made by an older version: train and promote a new model")
    folds: list[Models] = [{} for _ in range(contract["folds"])]
    for name in contract["weights"]:
        for key, regressor in _read_member(folder, name).items():
            fold, target = key.split("-", maxsplit=1)
            folds[int(fold)].setdefault(name, {})[target] = regressor
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
        origin=_origin(contract["metadata"]),
    )


def _read(file: Path, text: list[str]) -> pd.DataFrame:
    """A table whose text columns stay text: experiment 007 is not 7, and NaN may be a name."""
    numbers = [name for name in pd.read_csv(file, nrows=0).columns if name not in text]
    return pd.read_csv(
        file,
        float_precision="round_trip",
        dtype=dict.fromkeys(text, "str"),
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )


def _read_member(folder: Path, name: str) -> dict[str, Any]:
    """Regressors of one member by `<fold>-<target>`, also of one that is no longer trained."""
    for stored_as in FORMATS:
        file = folder / f"{name}{stored_as.suffix}"
        if file.exists():
            return stored_as.read(file)
    raise BundleRefused(f"{folder} has no file for its member {name}: fetch it again")


def _origin(metadata: dict[str, Any]) -> Origin:
    """What a bundle says of itself; facts that this version does not know are left out."""
    known = {field.name for field in fields(Origin)}
    return Origin(**{name: value for name, value in metadata.items() if name in known})


def verify(folder: Path, sha256: str | None) -> None:
    """Check every byte of a bundle.

    Raises:
        BundleRefused: when a file is missing, added or changed.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BundleRefused(f"{folder} is not a model bundle: it has no {MANIFEST}")
    if sha256 and sha256_of(manifest) != sha256:
        raise BundleRefused(f"{manifest} is not the one that was registered: fetch it again")
    hashes = json.loads(manifest.read_text(encoding="utf-8"))
    files = [file for file in folder.iterdir() if file.is_file() and file.name != MANIFEST]
    present = {file.name: sha256_of(file) for file in files}
    names = hashes.keys() | present.keys()
    if changed := sorted(name for name in names if hashes.get(name) != present.get(name)):
        raise BundleRefused(
            f"{folder}: {', '.join(changed)} changed since it was made: fetch it again"
        )


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
