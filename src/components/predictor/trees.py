"""Regression trees as flat arrays: one form for forests and for boosted trees.

Nothing has to be believed to use them. Nodes are stored level by level, so which of them are leaves
says where the children of the others are: no stored index can lead out of the arrays or in circles.
"""

from __future__ import annotations

import functools
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

LEAF = -1  # the feature of a leaf
MAX_DEPTH = 100
BLOCK = 1 << 15  # trees times rows that are followed at once: what fits into the cache of a core

# The stored arrays: one entry per node, and one per regressor.
NODES = {"feature": "<i2", "threshold": "<f4", "missing_right": "|b1", "value": "<f8"}
REGRESSORS = {"nodes": "<i4", "trees": "<i4", "averaged": "|b1", "base": "<f8"}
ARRAYS = {**NODES, **REGRESSORS}


@dataclass(frozen=True, eq=False)
class Trees:
    """The trees of one regressor, level by level.

    The first `count` nodes are the roots. The nodes of a level that are not leaves have, in their
    order, two nodes each in the next level.

    Attributes:
        count: number of trees.
        averaged: whether the prediction is the mean of the trees (a forest), or their sum.
        base: where a sum starts.
        feature: (nodes,) the input that decides where to go on; LEAF at a leaf.
        threshold: (nodes,) the largest value of that input that goes left, in single precision.
        missing_right: (nodes,) whether a missing value goes right instead.
        value: (nodes,) the prediction of a leaf.
    """

    count: int
    averaged: bool
    base: float
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    missing_right: NDArray[np.bool_]
    value: Array

    def predict(self, inputs: NDArray[np.float32]) -> tuple[Array, Array]:
        """Predictions of some rows.

        Args:
            inputs: (rows, inputs); NaN where a sensor is missing.

        Returns:
            The prediction and the standard deviation between the trees, (rows,) each; the latter is
            NaN for trees that build on each other.
        """
        prediction, spread = np.full((2, len(inputs)), np.nan)
        step = max(1, BLOCK // self.count)
        for start in range(0, len(inputs), step):
            rows = slice(start, start + step)
            values = self.value[self._leaves(inputs[rows])]
            if self.averaged:
                mean = _sum(values) / self.count
                prediction[rows] = mean
                spread[rows] = np.sqrt(_sum((values - mean) ** 2) / self.count)
            else:
                # In single precision, as XGBoost does.
                terms = np.vstack([np.full((1, values.shape[1]), self.base), values])
                prediction[rows] = _sum(terms.astype(np.float32))
        return prediction, spread

    def _leaves(self, inputs: NDArray[np.float32]) -> NDArray[np.intp]:
        """The leaf that each row reaches in each tree, (trees, rows)."""
        rows, width = inputs.shape
        values = inputs.ravel()
        missing = np.isnan(values)
        any_missing = missing.any()
        first_of_row = np.arange(rows) * width
        feature, threshold, missing_right, left = self._steps
        node = np.repeat(np.arange(self.count)[:, np.newaxis], rows, axis=1)
        for _ in range(self._depth):
            place = feature[node] + first_of_row
            right = values[place] > threshold[node]
            if any_missing:
                right |= missing[place] & missing_right[node]
            node = left[node] + right
        return node

    @cached_property
    def _steps(
        self,
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.bool_], NDArray[np.intp]]:
        """Input, threshold, where a missing value goes, and left child of each node.

        A leaf leads to itself, so that all trees can be followed to the same depth.
        """
        leaf = self.feature == LEAF
        return (
            np.where(leaf, 0, self.feature).astype(np.intp),
            np.where(leaf, np.float32(np.inf), self.threshold),
            self.missing_right & ~leaf,
            np.where(leaf, np.arange(len(leaf)), left_children(self.feature, self.count)),
        )

    @cached_property
    def _depth(self) -> int:
        return depth(self.feature, self.count)


def left_children(feature: NDArray[np.int16], count: int) -> NDArray[np.intp]:
    """The left child of each node that is not a leaf; the right child is the next node.

    Args:
        feature, count: see `Trees`.
    """
    inner = feature != LEAF
    earlier = np.cumsum(inner) - inner
    return np.asarray(count + 2 * earlier)


def _sum(values: NDArray[Any]) -> NDArray[Any]:
    """Sum over the trees, one after the other: numpy's own order depends on the number of rows."""
    return np.asarray(functools.reduce(np.add, values))


def pack(regressors: Sequence[Trees]) -> dict[str, NDArray[Any]]:
    """All regressors of a member as one set of arrays, see NODES and REGRESSORS."""
    by_regressor = {
        "nodes": [len(trees.feature) for trees in regressors],
        "trees": [trees.count for trees in regressors],
        "averaged": [trees.averaged for trees in regressors],
        "base": [trees.base for trees in regressors],
    }
    arrays = {name: np.array(by_regressor[name], kind) for name, kind in REGRESSORS.items()}
    for name, kind in NODES.items():
        arrays[name] = np.concatenate([getattr(trees, name) for trees in regressors]).astype(kind)
    return arrays


def unpack(arrays: Arrays, regressors: int, inputs: int) -> list[Trees]:
    """What `pack` made, after everything in it was checked.

    Args:
        regressors: how many there must be.
        inputs: number of inputs that a node may look at.

    Raises:
        BundleRefused: for anything that `pack` does not make.
    """
    require_lists(arrays, ARRAYS)
    require_length(arrays, REGRESSORS, regressors, "regressor")
    sizes = arrays["nodes"].astype(int)
    require((sizes > 0).all(), "a regressor has no nodes")
    require_length(arrays, NODES, sizes.sum(), "node")
    found = []
    ends = np.cumsum(sizes)
    for number, (size, end) in enumerate(zip(sizes, ends)):
        nodes = slice(end - size, end)
        trees = Trees(
            count=int(arrays["trees"][number]),
            averaged=bool(arrays["averaged"][number]),
            base=float(arrays["base"][number]),
            feature=arrays["feature"][nodes],
            threshold=arrays["threshold"][nodes],
            missing_right=arrays["missing_right"][nodes],
            value=arrays["value"][nodes],
        )
        check(trees, inputs)
        found.append(trees)
    return found


def check(trees: Trees, inputs: int) -> None:
    """Refuse trees that could lead out of their arrays, take too long, or predict no number.

    Args:
        inputs: number of inputs that a node may look at.

    Raises:
        BundleRefused: with the reason.
    """
    feature, nodes = trees.feature, len(trees.feature)
    require(0 < trees.count <= nodes, f"has {trees.count} trees in {nodes} nodes")
    require((feature >= LEAF).all() and (feature < inputs).all(), "a node asks for another input")
    inner = np.flatnonzero(feature != LEAF)
    complete = nodes == trees.count + 2 * len(inner)
    require(complete, "the number of nodes does not fit the number of leaves")
    forward = left_children(feature, trees.count)[inner] > inner
    require(forward.all(), "a child comes before its parent")
    require(depth(feature, trees.count) <= MAX_DEPTH, f"a tree is deeper than {MAX_DEPTH}")
    require(not np.isnan(trees.threshold).any(), "a threshold is not a number")
    require_numbers(np.append(trees.value, trees.base), "a value")


def depth(feature: NDArray[np.int16], count: int) -> int:
    """Number of levels below the roots, at most MAX_DEPTH + 1.

    Args:
        feature, count: see `Trees`.
    """
    start, width = 0, count
    for level in range(MAX_DEPTH + 1):
        children = 2 * int(np.count_nonzero(feature[start : start + width] != LEAF))
        if not children:
            return level
        start, width = start + width, children
    return MAX_DEPTH + 1
