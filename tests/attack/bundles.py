"""Bundles that somebody has altered, some by chance and some with the right hashes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pandas as pd

from src.components.predictor.bundle import Bundle
from src.components.predictor.scoring import Served, score
from src.components.registry import bundle_files
from src.components.trainer import fitting
from src.errors import ImpressError
from src.soft_sensor import SoftSensor
from tests.builders.training import MEMBERS, phase_table

Random = np.random.Generator
REFUSED, EQUAL, OTHER = "refused", "equal", "other numbers"

HOSTILE: list[Any] = [
    None,
    True,
    -1,
    0,
    2**31,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "../../victim",
    "sub/members",
    "a" * 10_000,
    "\x1b[2J",
    "\u202e",
    [],
    {},
    [[[[[[]]]]]],
    {"a": {"b": {}}},
]


def make(spec: SoftSensor, folder: Path) -> None:
    """A small genuine bundle."""
    bundle = fitting.assemble(phase_table(40, spec), MEMBERS, spec)
    bundle_files.save(bundle, folder)


def phases(spec: SoftSensor) -> pd.DataFrame:
    """What the bundle is asked for."""
    return phase_table(10, spec, seed=1).assign(first_timestamp=0.0)


class AlteredBundles:
    """Alters copies of a bundle, loads them and asks them for predictions."""

    def __init__(self, genuine: Path, scratch: Path, asked: pd.DataFrame, spec: SoftSensor) -> None:
        self.genuine, self.folder = genuine, scratch / "bundle"
        self.asked, self.spec = asked, spec
        self.expected = predictions(bundle_files.load(genuine), asked, spec)

    def attack(self, seed: int) -> str:
        """Try one alteration.

        Returns:
            What became of it; any error but a refusal is raised.
        """
        random = np.random.default_rng(seed)
        sha256 = bundle_files.sha256_of(self.genuine / bundle_files.MANIFEST)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.genuine, self.folder)
        alter = ALTERATIONS[random.integers(len(ALTERATIONS))]
        alter(self.folder, random)
        with_right_hashes = random.random() < 0.8
        if with_right_hashes:
            sha256 = _rehash(self.folder)
        try:
            bundle = bundle_files.load(self.folder, sha256)
            found = predictions(bundle, self.asked, self.spec)
        except ImpressError:
            return REFUSED
        if found.equals(self.expected):
            return EQUAL
        assert with_right_hashes, "an altered bundle passed for the registered one"
        return OTHER


def predictions(bundle: Bundle, asked: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """What would be archived, none of which may be anything but a number."""
    scored = score(asked, Served(bundle, "1"), spec)
    numbers = scored.ledger.reindex(columns=spec.target_names).to_numpy(dtype=float)
    assert np.isfinite(numbers).all(), "a prediction that is no number was not refused"
    return scored.ledger


def _rehash(folder: Path) -> str:
    files = [file for file in folder.iterdir() if file.name != bundle_files.MANIFEST]
    hashes = {file.name: bundle_files.sha256_of(file) for file in files if file.is_file()}
    (folder / bundle_files.MANIFEST).write_text(json.dumps(hashes))
    return bundle_files.sha256_of(folder / bundle_files.MANIFEST)


def _a_file(folder: Path, random: Random) -> Path:
    return Path(random.choice(sorted(map(str, folder.iterdir()))))


def _flip_bytes(folder: Path, random: Random) -> None:
    file = _a_file(folder, random)
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    places = random.integers(len(content), size=random.integers(1, 5))
    content[places] ^= random.integers(1, 256, len(places), dtype=np.uint8)
    file.write_bytes(content.tobytes())


def _cut(folder: Path, random: Random) -> None:
    file = _a_file(folder, random)
    content = file.read_bytes()
    file.write_bytes(content[: random.integers(len(content))])


def _append(folder: Path, random: Random) -> None:
    file = _a_file(folder, random)
    file.write_bytes(file.read_bytes() + random.bytes(int(random.integers(1, 300))))


def _rename(folder: Path, random: Random) -> None:
    names = ["run.py", "members.pkl", "random_forest.skops", "x" * 200, ".hidden", "MLmodel"]
    _a_file(folder, random).rename(folder / str(random.choice(names)))


def _spoil_json(folder: Path, random: Random) -> None:
    """Replace, rename or remove one value of the contract or of the manifest."""
    file = folder / str(random.choice([bundle_files.CONTRACT, bundle_files.MANIFEST]))
    content = json.loads(file.read_text())
    inside = content
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        key = keys[random.integers(len(keys))]
        deeper = inside[key]
        if not isinstance(deeper, (dict, list)) or not deeper or random.random() < 0.15:
            break
        inside = deeper
    way = random.random()
    if way < 0.15:
        del inside[key]
    elif way < 0.3 and isinstance(inside, dict):
        inside[str(HOSTILE[random.integers(len(HOSTILE))])] = inside.pop(key)
    else:
        inside[key] = HOSTILE[random.integers(len(HOSTILE))]
    file.write_text(json.dumps(content))


def _nest(folder: Path, random: Random) -> None:
    depth = int(10 ** random.uniform(2, 6))
    file = folder / str(random.choice([bundle_files.CONTRACT, bundle_files.MANIFEST]))
    file.write_text("[" * depth + "]" * depth)


def _spoil_table(folder: Path, random: Random) -> None:
    """Replace one cell or header, or mix up rows or columns."""
    file = folder / bundle_files.REFERENCE
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    way = random.random()
    if way < 0.1:
        table = table.iloc[: random.integers(3)]
    elif way < 0.2:
        table = table.sample(frac=1, axis=1, random_state=int(random.integers(1000)))
    elif way < 0.3:
        table = pd.concat([table, table.iloc[:, :1]], axis=1)
    else:
        column = table.columns[int(random.integers(len(table.columns)))]
        cells = ["", "x", "1e400", "-1e300", "nan", "inf", "9" * 400, "0x10", '"', "-1", "1e9", ";"]
        rows = random.random(len(table)) < random.choice([0.01, 1])
        table.loc[rows, column] = str(random.choice(cells))
    table.to_csv(file, index=False)


def _spoil_arrays(folder: Path, random: Random) -> None:
    """Change values, kind, shape or name of one array, or what its header says of it."""
    file = folder / bundle_files.MEMBERS
    with np.load(file) as stored:
        arrays = {name: stored[name].copy() for name in stored.files}
    name = str(random.choice(list(arrays)))
    array = arrays[name]
    changes: list[Callable[[], Any]] = [
        lambda: array.astype(random.choice(["<f8", ">i4", "<u8", "<c16", "S3", "<M8[s]", "?"])),
        lambda: array[: random.integers(len(array) + 1)],
        lambda: np.concatenate([array, array]),
        lambda: array.reshape(1, -1),
        lambda: np.zeros((), array.dtype),
        lambda: random.permutation(array),
        lambda: np.full_like(array, random.choice([0, 1, 7])),
        lambda: _with_extremes(array, random),
    ]
    arrays[name] = changes[random.integers(len(changes))]()
    if random.random() < 0.1:
        arrays[str(random.choice(["../x", "random_forest", "x.y", ""]))] = arrays.pop(name)
    compression = ZIP_DEFLATED if random.random() < 0.5 else ZIP_STORED
    with ZipFile(file, "w", compression) as archive:
        for key, value in arrays.items():
            archive.writestr(f"{key}.npy", _npy(value, random if key == name else None))


def _with_extremes(array: np.ndarray, random: Random) -> np.ndarray:
    """Some values as large, as small or as little of a number as their kind allows."""
    changed = array.copy()
    places = random.integers(len(array), size=random.integers(1, 4))
    if array.dtype.kind == "f":
        extremes = [np.nan, np.inf, -np.inf, 1e29, -1e29, 5e-324]
    elif array.dtype.kind == "i":
        limits = np.iinfo(array.dtype)
        extremes = [limits.min, limits.max, -1, 0, 1, 29]
    else:
        extremes = [True, False]
    changed[places] = random.choice(extremes, len(places))
    return changed


def _npy(array: np.ndarray, random: Random | None) -> bytes:
    """An array with its header, or with another one."""
    stream = BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    content = stream.getvalue()
    if random is None or random.random() < 0.8:
        return content
    shapes = ["(1000000000000,)", "(-1,)", "()", "(" * 500, "(2**70,)", "(1.5,)", "[1]"]
    before = f"({array.size},)".encode()
    return content.replace(before, str(random.choice(shapes)).encode(), 1)


ALTERATIONS: list[Callable[[Path, Random], None]] = [
    _flip_bytes,
    _cut,
    _append,
    _rename,
    _nest,
    _spoil_json,
    _spoil_json,
    _spoil_table,
    _spoil_table,
    _spoil_arrays,
    _spoil_arrays,
]
