"""Fit a Gaussian process to which some sensors matter more than others.

The inputs of a sensor share a relevance, so there are few hyperparameters: one for each sensor, and
the variances of the process and of the noise. They maximise the posterior density: the marginal
likelihood (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, ch. 5), times a
wide prior that holds them where few rows say nothing about them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel, Matern

from src.components.predictor.gaussian_process import (
    MOST_ROWS,
    GaussianProcess,
    between_inputs,
    completed,
    scaled_inputs,
)
from src.components.predictor.stored import LARGEST, Array

# Prior of the logarithms. Medians of the variances of process and noise, as shares of the target's
# variance; that of the sum of all relevances is 1.
SHARES = np.array([1.0, 0.05])
DEVIATION_OF_SHARES, DEVIATION_OF_RELEVANCE = 1.5, 6.0
# Distances from the medians that are searched; beyond, covariances are hard to invert.
WIDEST_RELEVANCE, WIDEST_SHARE = 9.0, 5.0
ITERATIONS = 80


@dataclass(frozen=True)
class Hyperparameters:
    """What the likelihood decides.

    Attributes:
        relevance: weight of the squared differences of a sensor's inputs, (sensors,).
        variance, noise: as in `GaussianProcess`, as shares of the target's variance.
    """

    relevance: Array
    variance: float
    noise: float


@dataclass(frozen=True)
class SensorProcess:
    """A Gaussian process before it is fitted, in the manner of scikit-learn.

    Attributes:
        sensors: position of the sensor that each input is about, (inputs,).
        seed: of the choice of rows where there are more than MOST_ROWS.
    """

    sensors: NDArray[np.intp]
    seed: int

    def fit(self, inputs: NDArray[np.float32], values: Array) -> FittedProcess:
        """Find the hyperparameters and fit.

        Args:
            inputs: (rows, inputs); NaN where a sensor is missing.
            values: (rows,) on the working scale.
        """
        chosen = _some(len(inputs), self.seed)
        usable = np.where(np.abs(inputs) < LARGEST, inputs, np.nan)[chosen]
        centre, scale = _centre_and_scale(usable)
        rows = _without_gaps(usable, centre, scale)
        base, unit = values[chosen].mean(), values[chosen].std() or 1.0
        scaled, targets = scaled_inputs(rows, centre, scale), (values[chosen] - base) / unit
        found = most_probable(scaled, targets, self.sensors)
        library = GaussianProcessRegressor(
            _kernel(found, self.sensors), alpha=found.noise, optimizer=None
        )
        library.fit(scaled, targets)
        coefficient = library.alpha_.ravel() / unit
        arrays = GaussianProcess(
            rows=rows,
            coefficient=coefficient,
            centre=centre,
            scale=scale,
            relevance=found.relevance[self.sensors],
            base=float(base),
            low=float(values[chosen].min()),
            high=float(values[chosen].max()),
            variance=float(found.variance * unit**2),
            noise=float(found.noise * unit**2),
        )
        return FittedProcess(library, arrays, unit)


@dataclass(frozen=True)
class FittedProcess:
    """A process of scikit-learn, of scaled inputs and targets, and the same as arrays.

    Attributes:
        unit: standard deviation of the targets.
    """

    library: GaussianProcessRegressor
    arrays: GaussianProcess
    unit: float

    def predict(self, inputs: NDArray[np.float32]) -> Array:
        """What scikit-learn predicts for rows of which no input is missing, (rows,)."""
        scaled = scaled_inputs(inputs, self.arrays.centre, self.arrays.scale)
        prediction = self.arrays.base + self.unit * self.library.predict(scaled)
        return np.asarray(np.clip(prediction, self.arrays.low, self.arrays.high))


def most_probable(scaled: Array, targets: Array, sensors: NDArray[np.intp]) -> Hyperparameters:
    """Hyperparameters that maximise the posterior density.

    Args:
        scaled: (rows, inputs), complete.
        targets: (rows,) of mean 0 and variance 1.
        sensors: position of the sensor that each input is about, (inputs,).
    """
    count = sensors.max() + 1
    inputs_of = np.bincount(sensors, minlength=count)
    median = np.log([*np.full(count, 1 / count), *SHARES])
    deviation = np.array(
        [*np.full(count, DEVIATION_OF_RELEVANCE), *np.full(len(SHARES), DEVIATION_OF_SHARES)]
    )
    widest = np.array([*np.full(count, WIDEST_RELEVANCE), *np.full(len(SHARES), WIDEST_SHARE)])
    loss = _negative_log_likelihood(scaled, targets, sensors)

    def objective(parameters: Array) -> tuple[float, Array]:
        off = (parameters - median) / deviation
        value, gradient = loss(parameters)
        return value + off @ off / 2, gradient + off / deviation

    best = minimize(
        objective,
        median,
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([median - widest, median + widest], axis=1),
        options={"maxiter": ITERATIONS},
    )
    relevance = np.exp(best.x[:count])
    variance, noise = np.exp(best.x[count:])
    return Hyperparameters(relevance / inputs_of, variance, noise)


def _negative_log_likelihood(
    scaled: Array, targets: Array, sensors: NDArray[np.intp]
) -> Callable[[Array], tuple[float, Array]]:
    """A function of the logarithms of relevances, variance and noise, with its gradient."""
    squares = np.stack([_mean_squares(scaled[:, sensors == at]) for at in range(sensors.max() + 1)])
    identity = np.eye(len(targets))

    def loss(parameters: Array) -> tuple[float, Array]:
        relevance = np.exp(parameters[: len(squares)])
        variance, noise = np.exp(parameters[len(squares) :])
        distance = np.sqrt(5 * np.tensordot(relevance, squares, 1))
        fading = np.exp(-distance)
        smooth = variance * (1 + distance + distance**2 / 3) * fading
        try:
            factor = cho_factor(smooth + noise * identity, lower=True)
        except LinAlgError:
            return 1e10, np.zeros_like(parameters)
        inverse = cho_solve(factor, identity)
        weights = inverse @ targets
        value = targets @ weights / 2 + np.log(np.diag(factor[0])).sum()
        slope = (inverse - np.outer(weights, weights)) / 2
        by_square = slope * variance * (-5 / 6) * (1 + distance) * fading
        by_relevance = relevance * np.tensordot(squares, by_square, 2)
        by_shares = [(slope * smooth).sum(), noise * np.trace(slope)]
        return value, np.array([*by_relevance, *by_shares])

    return loss


def _mean_squares(inputs: Array) -> Array:
    """Squared differences between rows, averaged over some inputs, (rows, rows)."""
    own = (inputs**2).sum(axis=1)
    squares = own[:, np.newaxis] + own - 2 * inputs @ inputs.T
    return np.asarray(np.maximum(squares, 0) / inputs.shape[1])


def _kernel(found: Hyperparameters, sensors: NDArray[np.intp]) -> Kernel:
    """The covariance without noise, of scikit-learn."""
    lengths = found.relevance[sensors] ** -0.5
    kernel: Kernel = found.variance * Matern(lengths, length_scale_bounds="fixed", nu=2.5)
    return kernel


def _some(rows: int, seed: int) -> NDArray[np.intp]:
    """All rows, or MOST_ROWS of them drawn by chance, in order."""
    if rows <= MOST_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))


def _centre_and_scale(inputs: NDArray[np.float32]) -> tuple[Array, Array]:
    """Mean and standard deviation of inputs; 0 for one never there, 1 for one always the same."""
    known = ~np.isnan(inputs)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, inputs, 0).sum(axis=0, dtype=float) / count
    squares = np.where(known, inputs - centre, 0.0) ** 2
    deviation = np.sqrt(squares.sum(axis=0) / count)
    varies = deviation > 1e-6 * np.abs(centre)
    return centre, np.where(varies, deviation, 1.0)


def _without_gaps(inputs: NDArray[np.float32], centre: Array, scale: Array) -> NDArray[np.float32]:
    """Training rows whose missing inputs are what the others let expect."""
    scaled = scaled_inputs(inputs, centre, scale)
    together = between_inputs(np.nan_to_num(scaled))
    missing = np.isnan(scaled)
    rows = inputs.copy()
    for pattern in np.unique(missing, axis=0):
        of_pattern = np.flatnonzero((missing == pattern).all(axis=1))
        expected, _ = completed(scaled[of_pattern], pattern, together)
        gaps = np.ix_(of_pattern, np.flatnonzero(pattern))
        rows[gaps] = (centre + scale * expected)[:, pattern]
    return rows.astype(np.float32)
