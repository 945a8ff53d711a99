"""A bundle as files, without pickle: every byte is checked before anything of it is loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io
from sklearn.ensemble import RandomForestRegressor
from skops.io.exceptions import UntrustedTypesFoundException
from xgboost import XGBRegressor

from src.components.predictor import Bundle, Member
from src.errors import BundleRefused

# What a bundle may contain beyond skops' own list of harmless types. It lives here and not in the
# bundle, so that no bundle can widen it.
TRUSTED_TYPES = frozenset({"sklearn.tree._tree.Tree"})

MANIFEST = "manifest.json"


def save(bundle: Bundle, folder: Path) -> str:
    """Write a bundle and the SHA-256 of each of its files.

    Returns:
        The SHA-256 of the manifest, which stands for the whole bundle.
    """
    folder.mkdir(parents=True)
    for name, models in bundle.members.items():
        for target, model in models.items():
            if isinstance(model, XGBRegressor):
                model.save_model(folder / f"{name}-{target}.ubj")
            else:
                skops.io.dump(model, folder / f"{name}-{target}.skops")
    contract = {
        "features": bundle.features,
        "targets": bundle.targets,
        "weights": bundle.weights.to_dict("index"),
        "half_widths": bundle.half_widths.reset_index().to_dict("tight", index=False),
        "metadata": bundle.metadata,
    }
    (folder / "contract.json").write_text(json.dumps(contract, indent=1), encoding="utf-8")
    bundle.reference.to_csv(folder / "reference.csv", index=False)
    hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")
    return sha256_of(folder / MANIFEST)


def load(folder: Path, sha256: str | None = None) -> Bundle:
    """Read a bundle after every byte of it has been checked.

    Args:
        folder: what `save` wrote.
        sha256: of the manifest, where the registry has told it.

    Raises:
        BundleRefused: when a file is missing, added or changed, or names a type not allowed.
    """
    verify(folder, sha256)
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    members: dict[str, Member] = {name: {} for name in contract["weights"]}
    for name, models in members.items():
        for target in contract["targets"]:
            models[target] = _load_model(folder, f"{name}-{target}")
    widths = contract["half_widths"]
    table = pd.DataFrame(widths["data"], columns=widths["columns"])
    return Bundle(
        features=contract["features"],
        targets=contract["targets"],
        members=members,
        weights=pd.DataFrame.from_dict(contract["weights"], orient="index"),
        half_widths=table.set_index(table.columns[0]),
        reference=pd.read_csv(folder / "reference.csv", float_precision="round_trip"),
        metadata=contract["metadata"],
    )


def _load_model(folder: Path, stem: str) -> Any:
    boosting = folder / f"{stem}.ubj"
    if boosting.exists():
        model = XGBRegressor(n_jobs=1)
        model.load_model(boosting)
        return model
    file = folder / f"{stem}.skops"
    try:
        forest = skops.io.load(file, trusted=sorted(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise BundleRefused(f"{file} asks for types that are not allowed: {error}") from error
    if not isinstance(forest, RandomForestRegressor):
        raise BundleRefused(f"{file} holds a {type(forest).__name__}, not a forest")
    return forest


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
