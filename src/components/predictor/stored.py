"""What every kind of stored regressor has to pass before it may predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.errors import BundleRefused

Array = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]  # the stored arrays of one member by name
Kinds = dict[str, str]  # name of an array -> numpy's code of its numbers

LARGEST = 1e30  # magnitude of a number; the sum of all trees stays within single precision


def require(condition: bool | np.bool_, fault: str) -> None:
    """Refuse a bundle unless a condition holds.

    Raises:
        BundleRefused: with the fault.
    """
    if not condition:
        raise BundleRefused(f"the model is damaged or was altered: {fault}")


def require_lists(arrays: Arrays, kinds: Kinds) -> None:
    """Refuse other arrays than those of a kind, and any that is not a list of its numbers.

    Raises:
        BundleRefused: with the reason.
    """
    require(arrays.keys() == kinds.keys(), f"has the arrays {', '.join(sorted(arrays))}")
    for name, kind in kinds.items():
        array = arrays[name]
        require(array.dtype == kind and array.ndim == 1, f"{name} is not a list of {kind}")


def require_length(arrays: Arrays, names: Kinds, length: int, of_what: str) -> None:
    """Refuse arrays that do not have one number for each of something.

    Raises:
        BundleRefused: with the name of the array.
    """
    for name in names:
        require(len(arrays[name]) == length, f"{name} is not given for each {of_what}")


def require_numbers(values: NDArray[Any], what: str) -> None:
    """Refuse NaN, infinity and numbers that are too large to calculate with.

    Raises:
        BundleRefused: when there is one.
    """
    require((np.abs(values) < LARGEST).all(), f"{what} is not a number, or too large")
