"""A bundle as files: arrays, JSON and CSV, all of which are checked before anything is believed.

Someone who can write the registry can also write the hashes. So right hashes are not enough: every
value is checked for what the predictions need, and a file may be only so large.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from src.components.predictor import trees
from src.components.predictor.bundle import (
    FOLD,
    MARKS,
    Bundle,
    Origin,
    censored_columns,
    reference_columns,
)
from src.components.predictor.ensemble import Models, number_of_inputs
from src.components.predictor.trees import Trees
from src.errors import BundleRefused
from src.soft_sensor import SoftSensor

MANIFEST = "manifest.json"
CONTRACT = "contract.json"
MEMBERS = "members.npz"
REFERENCE = "reference.csv"
REQUIRED = {CONTRACT, MEMBERS, REFERENCE}
# What makes it an MLflow model like any other; nothing of it is read here.
MLFLOW_FILES = {"MLmodel", "input_example.json", "serving_input_example.json"}
MB = 1_000_000
LARGEST_FILE = 64 * MB
LARGEST_ARRAYS = 256 * MB  # of all arrays of the members

_HASHES = TypeAdapter(dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]])
# The header that numpy writes for a list of numbers. numpy would evaluate whatever stands there.
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([<|][bif][1248])', 'fortran_order': False, "
    rb"'shape': \((\d{1,9}),\), \} *\n",
    re.DOTALL,
)
# What reading a damaged archive may end with.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OSError,
)
_MEMBER = r"^[a-z][a-z0-9_]*$"


class Contract(BaseModel):
    """What a bundle says of itself.

    Attributes:
        params: params.yaml as it was at the time of training.
        definition: `feature_definition` at that time.
        text: columns of the tables that hold text.
        weights: member to target to weight.
        floors: rows of `Bundle.floors`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    params: SoftSensor
    definition: str
    folds: Annotated[int, Field(ge=1, le=100)]
    text: frozenset[str]
    weights: Annotated[
        dict[
            Annotated[str, Field(pattern=_MEMBER)], dict[str, Annotated[float, Field(ge=0, le=1)]]
        ],
        Field(min_length=1, max_length=20),
    ]
    floors: list[dict[str, int | float | str]]
    origin: Origin


def save(bundle: Bundle, folder: Path) -> str:
    """Write a bundle and the SHA-256 of each file in the folder.

    Args:
        folder: may hold MLFLOW_FILES already.

    Returns:
        The SHA-256 of the manifest, which stands for the whole bundle.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for member in bundle.weights.index:
        regressors = [
            models[member][target] for models in bundle.folds for target in bundle.spec.target_names
        ]
        # All members of today are trees.
        for name, array in trees.pack(cast(list[Trees], regressors)).items():
            arrays[f"{member}.{name}"] = array
    np.savez_compressed(folder / MEMBERS, allow_pickle=False, **arrays)
    contract = Contract(
        params=bundle.spec,
        definition=bundle.definition,
        folds=len(bundle.folds),
        text=frozenset(bundle.reference.select_dtypes(exclude="number").columns),
        weights=bundle.weights.to_dict("index"),
        floors=bundle.floors.reset_index().to_dict("records"),
        origin=bundle.origin,
    )
    (folder / CONTRACT).write_text(contract.model_dump_json(indent=1), encoding="utf-8")
    bundle.reference.to_csv(folder / REFERENCE, index=False)
    hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")
    return sha256_of(folder / MANIFEST)


def load(folder: Path, sha256: str | None = None) -> Bundle:
    """Read a bundle after everything in it has been checked.

    Args:
        folder: what `save` wrote.
        sha256: of the manifest, as the registry keeps it.

    Raises:
        BundleRefused: when a file is missing, added, changed or too large, holds what no bundle
            holds, or was written by an older version of this program.
    """
    verify(folder, sha256)
    contract = _contract(folder / CONTRACT)
    spec = contract.params
    reference = _reference(folder / REFERENCE, contract)
    if not reference[FOLD].isin(range(contract.folds)).all():
        raise BundleRefused(f"{folder / REFERENCE} names a fold that does not exist")
    return Bundle(
        spec=spec,
        definition=contract.definition,
        folds=_folds(folder / MEMBERS, contract),
        weights=pd.DataFrame.from_dict(contract.weights, orient="index"),
        floors=_floors(contract),
        reference=reference,
        origin=contract.origin,
    )


def _contract(file: Path) -> Contract:
    try:
        contract = Contract.model_validate_json(file.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise BundleRefused(
            f"{file}: {where}: {fault['msg']}; it was altered, or made by another version of "
            "impress: train and promote a new model"
        ) from error
    targets = contract.params.target_names
    for member, weights in contract.weights.items():
        if list(weights) != targets:
            raise BundleRefused(f"{file}: the weights of {member} are not those of the targets")
    return contract


def _floors(contract: Contract) -> pd.DataFrame:
    spec = contract.params
    columns = [spec.columns.phase, *spec.target_names]
    floors = pd.DataFrame(contract.floors, columns=columns)
    known = floors[spec.columns.phase].isin([phase.value for phase in spec.phases]).all()
    numbers = floors[spec.target_names]
    numeric = all(kind.kind in "if" for kind in numbers.dtypes)
    if not known or not numeric or not (numbers >= 0).all(axis=None):
        raise BundleRefused("the floors of the model's spread are not those of phases and targets")
    return floors.set_index(spec.columns.phase)


def _reference(file: Path, contract: Contract) -> pd.DataFrame:
    """The training rows; text columns stay text: experiment 007 is not 7, and NaN may be a name."""
    columns, marks = reference_columns(contract.params), censored_columns(contract.params)
    text = contract.text & set(columns) | set(marks)
    numbers = set(columns) - text
    try:
        table = pd.read_csv(
            file,
            float_precision="round_trip",
            dtype=dict.fromkeys(text, "str"),
            keep_default_na=False,
            na_values={name: [""] for name in numbers},
            index_col=False,
        )
    except (ValueError, OverflowError) as error:
        raise BundleRefused(f"{file} is not a table: {error}") from error
    if list(table.columns) != columns:
        raise BundleRefused(f"{file} has other columns than the model's table")
    measured = table.drop(columns=list(text))
    if any(kind.kind not in "if" for kind in measured.dtypes) and len(table):
        raise BundleRefused(f"{file} has text where numbers belong")
    if np.isinf(measured.to_numpy(dtype=float)).any():
        raise BundleRefused(f"{file} has an infinite number")
    if not table[marks].isin(MARKS).all(axis=None):
        raise BundleRefused(f"{file} has a mark of laboratory values that does not exist")
    return table


def _folds(file: Path, contract: Contract) -> list[Models]:
    """The members of each fold, from one list of regressors for each member."""
    spec, arrays = contract.params, _read_arrays(file)
    if {name.partition(".")[0] for name in arrays} != contract.weights.keys():
        raise BundleRefused(f"{file} has other members than the model's weights")
    folds: list[Models] = [{} for _ in range(contract.folds)]
    targets = spec.target_names
    for member in contract.weights:
        own = {
            name.removeprefix(f"{member}."): array
            for name, array in arrays.items()
            if name.startswith(f"{member}.")
        }
        regressors = trees.unpack(own, contract.folds * len(targets), number_of_inputs(spec))
        for number, models in enumerate(folds):
            of_fold = regressors[number * len(targets) : (number + 1) * len(targets)]
            models[member] = dict(zip(targets, of_fold))
    return folds


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Arrays of numbers by `<member>.<array>`.

    Unlike numpy.load it neither evaluates the header of an array nor believes it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > LARGEST_ARRAYS:
                raise BundleRefused(f"{file} would take more than {LARGEST_ARRAYS // MB} MB")
            return {
                entry.filename.removesuffix(".npy"): _array(archive.read(entry))
                for entry in entries
            }
    except _UNREADABLE as error:
        raise BundleRefused(f"{file} does not hold arrays: {error}") from error


def _array(content: bytes) -> NDArray[Any]:
    header = _NPY.match(content)
    if header is None:
        raise ValueError("an array of another format")
    kind, length = header.groups()
    array = np.frombuffer(content[header.end() :], np.dtype(kind.decode()))
    if len(array) != int(length):
        raise ValueError("an array of another length than its header says")
    return array


def verify(folder: Path, sha256: str | None) -> None:
    """Check that a folder holds a bundle's files and nothing else, byte for byte.

    Raises:
        BundleRefused: when a file is missing, added, changed or too large.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BundleRefused(f"{folder} is not a model bundle: it has no {MANIFEST}")
    present = {entry.name for entry in folder.iterdir()} - {MANIFEST}
    _require_known(present, folder)
    for name in (MANIFEST, *sorted(present)):
        if (folder / name).stat().st_size > LARGEST_FILE:
            raise BundleRefused(f"{folder / name} is larger than {LARGEST_FILE // MB} MB")
    hashes = _hashes(folder, sha256)
    found = {name: sha256_of(folder / name) for name in present}
    if changed := sorted(
        name
        for name in hashes.keys() | present | REQUIRED
        if hashes.get(name) != found.get(name, "")
    ):
        raise BundleRefused(
            f"{folder}: {', '.join(changed)} changed since it was made: fetch it again"
        )


def names(folder: Path, sha256: str | None = None) -> list[str]:
    """The files that a manifest names, when it is the registered one.

    Raises:
        BundleRefused: when it is not, or names a file that no bundle has.
    """
    return sorted(_hashes(folder, sha256))


def _hashes(folder: Path, sha256: str | None) -> dict[str, str]:
    """SHA-256 by the name of a file, from the manifest."""
    manifest = folder / MANIFEST
    if sha256 and sha256_of(manifest) != sha256:
        raise BundleRefused(f"{manifest} is not the one that was registered: fetch it again")
    try:
        hashes = _HASHES.validate_json(manifest.read_bytes())
    except ValidationError as error:
        raise BundleRefused(f"{manifest} is not a list of hashes: fetch it again") from error
    _require_known(hashes.keys(), folder)
    return hashes


def _require_known(files: AbstractSet[str], folder: Path) -> None:
    if strange := sorted(files - REQUIRED - MLFLOW_FILES):
        raise BundleRefused(
            f"{folder} holds {', '.join(strange)}, which no bundle has: it was altered, or made by "
            "an older version: train and promote a new model"
        )


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
