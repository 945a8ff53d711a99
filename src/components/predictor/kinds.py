"""The kinds of stored regressors: all that a bundle may hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from src.components.predictor import gaussian_process, trees
from src.components.predictor.ensemble import Regressor
from src.components.predictor.gaussian_process import GaussianProcess
from src.components.predictor.stored import Arrays, Kinds, require
from src.components.predictor.trees import Trees


@dataclass(frozen=True)
class Kind:
    """One kind: the names of its arrays, and the way to them and back."""

    arrays: Kinds
    pack: Callable[[Sequence[Any]], dict[str, NDArray[Any]]]
    unpack: Callable[[Arrays, int, int], Sequence[Regressor]]


KINDS: dict[type, Kind] = {
    Trees: Kind(trees.ARRAYS, trees.pack, trees.unpack),
    GaussianProcess: Kind(gaussian_process.ARRAYS, gaussian_process.pack, gaussian_process.unpack),
}


def pack(regressors: Sequence[Regressor]) -> dict[str, NDArray[Any]]:
    """All regressors of a member, which are of one kind, as one set of arrays."""
    return KINDS[type(regressors[0])].pack(regressors)


def unpack(arrays: Arrays, regressors: int, inputs: int) -> Sequence[Regressor]:
    """What `pack` made, after everything in it was checked; the names of the arrays say the kind.

    Args:
        regressors: how many there must be.
        inputs: number of inputs that a regressor may look at.

    Raises:
        BundleRefused: for anything that `pack` does not make.
    """
    fitting = [kind for kind in KINDS.values() if kind.arrays.keys() == arrays.keys()]
    require(bool(fitting), f"has the arrays {', '.join(sorted(arrays))}")
    return fitting[0].unpack(arrays, regressors, inputs)
