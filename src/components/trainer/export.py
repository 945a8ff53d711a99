"""Fitted regressors of scikit-learn and XGBoost as arrays, which are what predicts from then on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.components.predictor import gaussian_process, trees
from src.components.predictor.ensemble import Regressor
from src.components.predictor.gaussian_process import GaussianProcess
from src.components.predictor.trees import LEAF, Trees
from src.components.trainer.gaussian_process import FittedProcess
from src.errors import ExportFailed

TOLERANCE = 1e-6  # difference to the library's predictions, in units of their mean magnitude

# Nodes of a library, in any order: feature, threshold, missing_right, value as of `Trees`; left and
# right child, both LEAF at a leaf.
Nodes = dict[str, NDArray[Any]]


def forest(fitted: Any, inputs: NDArray[np.float32]) -> Trees:
    """A RandomForestRegressor or ExtraTreesRegressor as arrays.

    Args:
        inputs: (rows, inputs) on which both must predict the same.

    Raises:
        ExportFailed: when they do not.
    """
    nodes = [_sklearn_nodes(estimator.tree_) for estimator in fitted.estimators_]
    return _checked_trees(_level_by_level(nodes, averaged=True, base=0), fitted, inputs)


def boosting(fitted: Any, inputs: NDArray[np.float32]) -> Trees:
    """An XGBRegressor with the booster `gbtree` as arrays.

    Args:
        inputs: (rows, inputs) on which both must predict the same.

    Raises:
        ExportFailed: when they do not.
    """
    learner = json.loads(fitted.get_booster().save_raw("json"))["learner"]
    nodes = [_xgboost_nodes(tree) for tree in learner["gradient_booster"]["model"]["trees"]]
    base = float(learner["learner_model_param"]["base_score"].strip("[]"))
    return _checked_trees(_level_by_level(nodes, averaged=False, base=base), fitted, inputs)


def process(fitted: FittedProcess, inputs: NDArray[np.float32]) -> GaussianProcess:
    """A FittedProcess as arrays.

    Args:
        inputs: (rows, inputs); those of which none is missing must be predicted the same by both.

    Raises:
        ExportFailed: when they are not.
    """
    gaussian_process.check(fitted.arrays, inputs.shape[1])
    complete = ~np.isnan(inputs).any(axis=1)
    _require_the_same(fitted.arrays, fitted, inputs[complete])
    return fitted.arrays


def _checked_trees(arrays: Trees, fitted: Any, inputs: NDArray[np.float32]) -> Trees:
    """The trees, if they predict what the library predicts."""
    trees.check(arrays, inputs.shape[1])
    _require_the_same(arrays, fitted, inputs)
    return arrays


def _sklearn_nodes(tree: Any) -> Nodes:
    """An input goes left when it is not larger than the threshold, which has double precision."""
    nodes = tree.__getstate__()["nodes"]
    threshold = nodes["threshold"].astype(np.float32)
    rounded_up = threshold > nodes["threshold"]
    return {
        "left": nodes["left_child"],
        "right": nodes["right_child"],
        "feature": nodes["feature"],
        "threshold": np.where(rounded_up, _next_below(threshold), threshold),
        "missing_right": nodes["missing_go_to_left"] == 0,
        "value": tree.value[:, 0, 0],
    }


def _xgboost_nodes(tree: dict[str, Any]) -> Nodes:
    """An input goes left when it is smaller than the threshold, where a leaf has its value."""
    conditions = np.array(tree["split_conditions"], np.float32)
    return {
        "left": np.array(tree["left_children"]),
        "right": np.array(tree["right_children"]),
        "feature": np.array(tree["split_indices"]),
        "threshold": _next_below(conditions),
        "missing_right": np.array(tree["default_left"]) == 0,
        "value": conditions.astype(float),
    }


def _next_below(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nextafter(values, np.float32(-np.inf))


def _level_by_level(of_trees: list[Nodes], averaged: bool, base: float) -> Trees:
    """Put the nodes of all trees into the order of `Trees`."""
    sizes = [len(tree["left"]) for tree in of_trees]
    roots = np.cumsum([0, *sizes[:-1]])
    nodes = {name: np.concatenate([tree[name] for tree in of_trees]) for name in of_trees[0]}
    leaf = nodes["left"] == LEAF
    children = np.stack([nodes["left"], nodes["right"]], axis=1)
    children += np.repeat(roots, sizes)[:, np.newaxis]
    levels = [roots]
    while len(levels[-1]):
        inner = levels[-1][~leaf[levels[-1]]]
        levels.append(children[inner].ravel())
    order = np.concatenate(levels)
    return Trees(
        count=len(of_trees),
        averaged=averaged,
        base=base,
        feature=np.where(leaf, LEAF, nodes["feature"])[order].astype(np.int16),
        threshold=np.where(leaf, 0, nodes["threshold"])[order].astype(np.float32),
        missing_right=(nodes["missing_right"] & ~leaf)[order],
        value=np.where(leaf, nodes["value"], 0)[order],
    )


def _require_the_same(arrays: Regressor, fitted: Any, inputs: NDArray[np.float32]) -> None:
    """Raise ExportFailed unless arrays predict what the library predicts."""
    if len(inputs) == 0:
        return
    expected = fitted.predict(inputs)
    predicted, _ = arrays.predict(inputs)
    difference = np.abs(predicted - expected) / max(np.abs(expected).mean(), 1e-12)
    if not (difference <= TOLERANCE).all():
        raise ExportFailed(
            f"the arrays of a {type(fitted).__name__} predict other values than the library does "
            f"(relative difference {difference.max():.1g}): report it with the versions of both"
        )
