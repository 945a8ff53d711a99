"""Trees from outside: checked before they are followed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from src.components.predictor.trees import LEAF, MAX_DEPTH, Trees, check, pack, unpack
from src.components.trainer import export
from src.errors import BundleRefused

INPUTS = 3


def made(seed: int) -> Trees:
    """A small forest."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(30, INPUTS)).astype(np.float32)
    forest = RandomForestRegressor(3, random_state=seed).fit(inputs, inputs[:, 0])
    return export.forest(forest, inputs)


@pytest.fixture(name="packed")
def fixture_packed() -> dict[str, NDArray[Any]]:
    """Two forests as they are stored."""
    return {name: array.copy() for name, array in pack([made(1), made(2)]).items()}


def chain(depth: int) -> Trees:
    """One tree that asks one more question on each level."""
    feature = np.full(2 * depth + 1, LEAF, np.int16)
    feature[0] = 0
    feature[1 : 2 * depth - 1 : 2] = 0
    nodes = len(feature)
    return Trees(
        count=1,
        averaged=True,
        base=0,
        feature=feature,
        threshold=np.zeros(nodes, np.float32),
        missing_right=np.zeros(nodes, bool),
        value=np.arange(nodes, dtype=float),
    )


def test_what_was_packed_comes_back() -> None:
    forests = [made(1), made(2)]
    asked = np.random.default_rng(0).normal(size=(50, INPUTS)).astype(np.float32)
    for before, after in zip(forests, unpack(pack(forests), 2, INPUTS)):
        assert before.predict(asked)[0].tolist() == after.predict(asked)[0].tolist()


def test_a_tree_may_be_deep_but_not_endless() -> None:
    deep = chain(MAX_DEPTH)
    check(deep, 1)
    prediction, _ = deep.predict(np.array([[-1.0], [1.0]], np.float32))
    assert prediction.tolist() == [2 * MAX_DEPTH - 1, 2]
    with pytest.raises(BundleRefused, match="deeper than"):
        check(chain(MAX_DEPTH + 1), 1)


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"count": 0}, "0 trees"),
        ({"count": 4}, "number of leaves"),
        ({"count": 10**9}, "trees in"),
        ({"base": float("nan")}, "not a number"),
        ({"value": 1e31}, "too large"),
        ({"value": float("inf")}, "too large"),
        ({"threshold": float("nan")}, "a threshold"),
        ({"feature": INPUTS}, "another input"),
        ({"feature": -2}, "another input"),
        ({"feature": LEAF}, "number of leaves"),
    ],
)
def test_trees_that_lead_astray_are_refused(change: dict[str, Any], fault: str) -> None:
    trees = made(1)
    ((name, wrong),) = change.items()
    if isinstance(getattr(trees, name), np.ndarray):
        array = getattr(trees, name).copy()
        array[0] = wrong
        wrong = array
    with pytest.raises(BundleRefused, match=fault):
        check(replace(trees, **{name: wrong}), INPUTS)


def test_a_child_before_its_parent_is_refused() -> None:
    """One root is a leaf and the nodes behind it make a circle."""
    feature = np.array([LEAF, LEAF, 0], np.int16)
    circle = replace(chain(1), feature=feature)
    with pytest.raises(BundleRefused, match="before its parent"):
        check(circle, 1)


@pytest.mark.parametrize(
    "spoil, fault",
    [
        (lambda packed: packed.pop("value"), "has the arrays"),
        (lambda packed: packed.update(more=np.zeros(1)), "has the arrays"),
        (lambda packed: packed.update(value=packed["value"].astype("f4")), "value is not a list"),
        (lambda packed: packed.update(value=packed["value"][np.newaxis]), "value is not a list"),
        (lambda packed: packed.update(value=packed["value"][:-1]), "for each node"),
        (lambda packed: packed.update(base=packed["base"][:1]), "for each regressor"),
        (lambda packed: packed["nodes"].__setitem__(0, -5), "no nodes"),
        (lambda packed: packed["nodes"].__setitem__(0, 2**31 - 1), "for each node"),
        (lambda packed: packed["trees"].__setitem__(1, -1), "trees in"),
    ],
)
def test_arrays_that_were_not_packed_are_refused(
    packed: dict[str, NDArray[Any]], spoil: Any, fault: str
) -> None:
    spoil(packed)
    with pytest.raises(BundleRefused, match=fault):
        unpack(packed, 2, INPUTS)


@settings(max_examples=300)
@given(
    feature=arrays.arrays(np.int16, st.integers(1, 12), elements=st.integers(-2, INPUTS)),
    count=st.integers(0, 13),
    value=st.sampled_from([0.0, 1.0, np.nan]),
)
def test_arbitrary_nodes_are_refused_or_can_be_followed(
    feature: NDArray[np.int16], count: int, value: float
) -> None:
    nodes = len(feature)
    trees = Trees(
        count=count,
        averaged=True,
        base=0,
        feature=feature,
        threshold=np.zeros(nodes, np.float32),
        missing_right=np.ones(nodes, bool),
        value=np.full(nodes, value),
    )
    try:
        check(trees, INPUTS)
    except BundleRefused:
        return
    asked = np.array([[0, np.nan, 1], [np.nan] * 3], np.float32)
    assert np.isfinite(trees.predict(asked)[0]).all()
