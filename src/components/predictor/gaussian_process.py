"""Gaussian processes as flat arrays: training rows, and how far each of them counts elsewhere.

A prediction is a weighted sum over the training rows, by how alike they are to the row in question
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, ch. 2). Likeness fades with
the distance (Matern, 5/2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.components.predictor.stored import (
    Array,
    Arrays,
    require,
    require_length,
    require_lists,
    require_numbers,
)

MOST_ROWS = 300  # training rows of one regressor; memory and time grow with their square and cube
# Standard deviations of the training rows: an input farther away counts as if it were here.
FARTHEST = 8.0
# Share of its variance that an input has for itself, whatever the others explain of it.
OWN_SHARE = 0.01

# The stored arrays: one entry per regressor, per regressor and input, per regressor and training
# row; and the distinct training rows, one entry per row and input.
NUMBERS = ("base", "low", "high", "variance", "noise")
REGRESSORS = {"size": "<i4", **dict.fromkeys(NUMBERS, "<f8")}
INPUTS = {"centre": "<f8", "scale": "<f8", "relevance": "<f8"}
ROWS = {"row": "<i4", "coefficient": "<f8"}
ARRAYS = {**REGRESSORS, **INPUTS, **ROWS, "distinct": "<f4"}


@dataclass(frozen=True, eq=False)
class GaussianProcess:  # pylint: disable=too-many-instance-attributes  # what defines one
    """One regressor.

    Attributes:
        rows: (training rows, inputs), single precision, none missing.
        coefficient: (training rows,) how much each counts.
        centre, scale: (inputs,) mean and standard deviation by which inputs are scaled.
        relevance: (inputs,) weight of the squared difference of a scaled input.
        base: prediction where no training row counts.
        low, high: the least and the largest value that was learned; predictions stay between them.
        variance, noise: variance of the predicted quantity where no training row is near, and of
            measured values around it.
    """

    rows: NDArray[np.float32]
    coefficient: Array
    centre: Array
    scale: Array
    relevance: Array
    base: float
    low: float
    high: float
    variance: float
    noise: float

    def predict(self, inputs: NDArray[np.float32]) -> tuple[Array, Array]:
        """Predictions of some rows.

        A missing input is taken to be what the others let expect, by linear regression over the
        training rows; how much it may differ from that counts towards the standard deviation.

        Args:
            inputs: (rows, inputs); NaN where a sensor is missing.

        Returns:
            The prediction and its standard deviation without noise, (rows,) each.
        """
        scaled = scaled_inputs(inputs, self.centre, self.scale)
        missing = np.isnan(scaled)
        prediction, variance = np.zeros((2, len(scaled)))
        for pattern in np.unique(missing, axis=0):
            of_pattern = (missing == pattern).all(axis=1)
            rows, steps = completed(scaled[of_pattern], pattern, self._between_inputs)
            prediction[of_pattern], variance[of_pattern] = self._posterior(rows)
            for step in steps:  # central differences: by how much a prediction may be off
                above, _ = self._posterior(rows + step)
                below, _ = self._posterior(rows - step)
                variance[of_pattern] += ((above - below) / 2) ** 2
        return np.clip(prediction, self.low, self.high), np.sqrt(variance)

    def _posterior(self, asked: Array) -> tuple[Array, Array]:
        """Mean and variance of complete scaled rows, (rows,) each."""
        covariance = self._covariance(asked)
        mean = self.base + (covariance * self.coefficient).sum(axis=1)
        explained = (_products(covariance, self._whitening) ** 2).sum(axis=1)
        return mean, np.maximum(self.variance - explained, 0)

    def _covariance(self, asked: Array) -> Array:
        """Of scaled rows with the training rows, (rows, training rows)."""
        root = np.sqrt(self.relevance)
        rows, known = asked * root, self._scaled_rows * root
        squares = (rows**2).sum(axis=1)[:, np.newaxis] + (known**2).sum(axis=1)
        distance = np.sqrt(5 * np.maximum(squares - 2 * _products(rows, known), 0))
        likeness = (1 + distance + distance**2 / 3) * np.exp(-distance)
        return np.asarray(self.variance * likeness)

    @cached_property
    def _scaled_rows(self) -> Array:
        return scaled_inputs(self.rows, self.centre, self.scale)

    @cached_property
    def _whitening(self) -> Array:
        """Inverse of the Cholesky factor of the training rows' covariance with noise.

        Raises:
            BundleRefused: when there is none.
        """
        covariance = self._covariance(self._scaled_rows) + self.noise * np.eye(len(self.rows))
        try:
            inverse = np.linalg.inv(np.linalg.cholesky(covariance))
        except np.linalg.LinAlgError:
            inverse = np.full_like(covariance, np.nan)
        require_numbers(inverse, "a covariance")
        return inverse

    @cached_property
    def _between_inputs(self) -> Array:
        return between_inputs(self._scaled_rows)


def scaled_inputs(inputs: NDArray[np.float32], centre: Array, scale: Array) -> Array:
    """Inputs in standard deviations from the mean of the training rows, (rows, inputs)."""
    with np.errstate(over="ignore"):  # infinity is as good
        return np.asarray(np.clip((inputs - centre) / scale, -FARTHEST, FARTHEST))


def between_inputs(scaled: Array) -> Array:
    """Covariance of scaled inputs over the training rows, (inputs, inputs)."""
    return np.asarray(scaled.T @ scaled / len(scaled) + OWN_SHARE * np.eye(scaled.shape[1]))


def completed(scaled: Array, missing: NDArray[np.bool_], covariance: Array) -> tuple[Array, Array]:
    """Rows that lack the same inputs, completed by linear regression on the others.

    Args:
        scaled: (rows, inputs); NaN where missing.
        missing: (inputs,).
        covariance: as of `between_inputs`.

    Returns:
        The rows; and along the principal axes of what remains uncertain about the missing inputs
        one standard deviation each, (axes, inputs).
    """
    absent, present = np.flatnonzero(missing), np.flatnonzero(~missing)
    slopes = np.linalg.solve(
        covariance[np.ix_(present, present)], covariance[np.ix_(present, absent)]
    )
    expected = _products(scaled[:, present], np.ascontiguousarray(slopes.T))
    rows = scaled.copy()
    rows[:, absent] = np.clip(expected, -FARTHEST, FARTHEST)
    rest = covariance[np.ix_(absent, absent)] - covariance[np.ix_(absent, present)] @ slopes
    variances, axes = np.linalg.eigh(rest)
    steps = np.zeros((len(absent), len(missing)))
    steps[:, absent] = (axes * np.sqrt(np.maximum(variances, 0))).T
    return rows, steps


def _products(rows: Array, others: Array) -> Array:
    """Scalar products, (rows, others), each the same whatever the number of rows."""
    return np.asarray(others @ rows[:, :, np.newaxis])[:, :, 0]


def pack(regressors: Sequence[GaussianProcess]) -> dict[str, NDArray[Any]]:
    """All regressors of a member as one set of arrays, see ARRAYS.

    Most training rows are those of several regressors; each is stored once.
    """
    rows = np.concatenate([process.rows for process in regressors])
    distinct, row = np.unique(rows, axis=0, return_inverse=True)
    lists: dict[str, Any] = {
        "size": [len(process.rows) for process in regressors],
        "row": row.ravel(),
        "distinct": distinct.ravel(),
    }
    for name in NUMBERS:
        lists[name] = [getattr(process, name) for process in regressors]
    for name in (*INPUTS, "coefficient"):
        lists[name] = np.concatenate([getattr(process, name) for process in regressors])
    return {name: np.array(lists[name], kind) for name, kind in ARRAYS.items()}


def unpack(arrays: Arrays, regressors: int, inputs: int) -> list[GaussianProcess]:
    """What `pack` made, after everything in it was checked.

    Args:
        regressors: how many there must be.
        inputs: number of inputs that each looks at.

    Raises:
        BundleRefused: for anything that `pack` does not make.
    """
    require_lists(arrays, ARRAYS)
    require_length(arrays, REGRESSORS, regressors, "regressor")
    require_length(arrays, INPUTS, regressors * inputs, "regressor and input")
    sizes = arrays["size"].astype(int)
    right = ((sizes > 0) & (sizes <= MOST_ROWS)).all()
    require(right, f"a regressor has no training rows, or more than {MOST_ROWS}")
    require_length(arrays, ROWS, sizes.sum(), "training row")
    require(len(arrays["distinct"]) % inputs == 0, "a training row is not complete")
    distinct = arrays["distinct"].reshape(-1, inputs)
    places = (arrays["row"] >= 0) & (arrays["row"] < len(distinct))
    require(places.all(), "a training row does not exist")
    found = []
    ends = np.cumsum(sizes)
    for number, (size, end) in enumerate(zip(sizes, ends)):
        rows = slice(end - size, end)
        own = slice(number * inputs, (number + 1) * inputs)
        process = GaussianProcess(
            rows=distinct[arrays["row"][rows]],
            coefficient=arrays["coefficient"][rows],
            centre=arrays["centre"][own],
            scale=arrays["scale"][own],
            relevance=arrays["relevance"][own],
            **{name: float(arrays[name][number]) for name in NUMBERS},
        )
        check(process, inputs)
        found.append(process)
    return found


def check(process: GaussianProcess, inputs: int) -> None:
    """Refuse a process that takes too long or predicts no number.

    Args:
        inputs: number of inputs that it looks at.

    Raises:
        BundleRefused: with the reason.
    """
    count = len(process.rows)
    require(0 < count <= MOST_ROWS, f"has {count} training rows")
    require(process.rows.shape == (count, inputs), "a training row has other inputs")
    require(process.coefficient.shape == (count,), "a training row has no coefficient")
    for name in ("rows", "coefficient", *INPUTS):
        require_numbers(getattr(process, name), f"a {name.removesuffix('s')}")
    for name in INPUTS:
        require(getattr(process, name).shape == (inputs,), f"an input has no {name}")
    require((process.scale > 0).all(), "a scale is not positive")
    require((process.relevance >= 0).all(), "a relevance is negative")
    require_numbers(np.array([getattr(process, name) for name in NUMBERS]), "a value")
    require(process.low <= process.high, "the least value is not below the largest")
    require(process.variance >= 0 and process.noise > 0, "a variance is negative, or no noise")
    process.predict(process.rows[:1])  # raises when the covariance of the rows is impossible
