"""Models of laboratory values some of which are known only to lie beyond a limit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.components.drift_reporter import performance
from src.components.predictor.bundle import Bundle
from src.components.registry import bundle_files
from src.components.trainer import evaluation, fitting, gate
from src.components.trainer.model_card import weaknesses
from src.components.transformation.censoring import deviations
from src.components.transformation.training_table import training_table
from src.errors import BundleRefused, DataError
from src.soft_sensor import SoftSensor, Target
from tests.builders.training import FOREST, made_from, phase_table

LIMIT = 150.0  # mg/L, which about half of the phases lie below


@pytest.fixture(name="target", scope="module")
def fixture_target(spec: SoftSensor) -> Target:
    """The target whose values have a limit of detection."""
    return spec.target("anionischetenside")


@pytest.fixture(name="truth", scope="module")
def fixture_truth(spec: SoftSensor) -> pd.DataFrame:
    """A training table without limits."""
    return phase_table(120, spec, seed=1, noise=0.1)


def _limited(table: pd.DataFrame, target: Target, mark: str = "<") -> pd.DataFrame:
    beyond = table[target.name] < LIMIT if mark == "<" else table[target.name] > LIMIT
    values = table[target.name].mask(beyond, LIMIT)
    marks = pd.Series(np.where(beyond, mark, ""), index=table.index)
    return table.assign(**{target.name: values, target.censored: marks})


def _with_rule(spec: SoftSensor, rule: str) -> SoftSensor:
    targets = [target.model_copy(update={"below_detection": rule}) for target in spec.targets]
    return spec.model_copy(update={"targets": tuple(targets)})


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(truth: pd.DataFrame, target: Target, spec: SoftSensor) -> Bundle:
    """A model of the values with limits."""
    return made_from(_limited(truth, target), spec)


def test_the_rule_decides_what_is_learned(
    truth: pd.DataFrame, target: Target, spec: SoftSensor
) -> None:
    below = truth[truth[target.name] < LIMIT / 2]
    predicted = {}
    for rule in ("zero", "half", "limit"):
        ruled = _with_rule(spec, rule)
        bundle = made_from(_limited(truth, target), ruled)
        predicted[rule] = bundle.values(below, ruled)[target.name].mean()
    assert 0 <= predicted["zero"] < predicted["half"] < predicted["limit"]
    assert predicted["limit"] == pytest.approx(LIMIT, rel=0.1)


@pytest.mark.parametrize("mark", ["<", ">"])
def test_the_true_values_are_covered_though_the_laboratory_did_not_know_them(
    mark: str, truth: pd.DataFrame, target: Target, spec: SoftSensor
) -> None:
    known = _limited(truth, target, mark)
    fresh = phase_table(300, spec, seed=2, noise=0.1, first=1000)
    predicted = made_from(known, spec).estimate(fresh, spec)
    true = fresh[target.name]
    covered = (predicted[target.lower] <= true) & (true <= predicted[target.upper])
    beyond = true < LIMIT if mark == "<" else true > LIMIT
    assert covered.mean() > 0.86
    assert covered[beyond].mean() > 0.86
    # Nothing is known about how far beyond the limit a value lies.
    if mark == "<":
        assert (predicted.loc[predicted[target.lower] < LIMIT, target.lower] == target.low).all()
    else:
        assert (predicted.loc[predicted[target.upper] > LIMIT, target.upper] == target.high).all()


def test_a_prediction_on_the_right_side_of_a_limit_has_no_error(
    bundle: Bundle, target: Target, spec: SoftSensor
) -> None:
    labels, predicted = bundle.labels(spec), bundle.out_of_fold(spec)
    errors = deviations(predicted, labels, spec)[target.name].abs()
    at_limit = labels[target.censored] == "<"
    right = at_limit & (predicted[target.name] <= LIMIT)
    assert right.any() and (errors[right] == 0).all()
    wrong = at_limit & (predicted[target.name] > LIMIT)
    np.testing.assert_allclose(errors[wrong], predicted.loc[wrong, target.name] - LIMIT)

    lines = evaluation.metrics(predicted, labels, spec)
    line = lines[lines["target"] == target.name].iloc[0]
    assert line["mae"] == pytest.approx(errors.mean())

    table = performance.errors(predicted, labels, spec)
    assert (table.loc[right, [target.name, target.off]] == 0).all(axis=None)
    assert (table.loc[right, target.inside] == 1).all()


def test_two_models_are_compared_by_the_same_limits(
    bundle: Bundle, truth: pd.DataFrame, target: Target, spec: SoftSensor
) -> None:
    other = made_from(_limited(truth, target), _with_rule(spec, "limit"))
    comparison = gate.compare(other, bundle, spec)
    # Both lie on the right side of the limit almost always, whatever they learned in its place.
    assert not comparison.worse


def test_limits_survive_in_the_files_of_a_bundle(
    bundle: Bundle, target: Target, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    bundle_files.save(bundle, folder)
    loaded = bundle_files.load(folder)
    pd.testing.assert_frame_equal(loaded.reference, bundle.reference)
    assert set(loaded.reference[target.censored]) == {"", "<"}

    spoilt = tmp_path / "spoilt"
    shutil.copytree(folder, spoilt)
    bundle.reference.assign(**{target.censored: "?"}).to_csv(spoilt / "reference.csv", index=False)
    manifest = spoilt / "manifest.json"
    digests = [bundle_files.sha256_of(part / "reference.csv") for part in (folder, spoilt)]
    manifest.write_text(manifest.read_text().replace(digests[0], digests[1]))
    with pytest.raises(BundleRefused, match="a mark of laboratory values that does not exist"):
        bundle_files.load(spoilt)


def test_the_model_card_counts_them(bundle: Bundle, target: Target, spec: SoftSensor) -> None:
    metrics = evaluation.metrics(bundle.out_of_fold(spec), bundle.labels(spec), spec)
    sentences = "\n".join(weaknesses(bundle, metrics, spec))
    count = (bundle.reference[target.censored] == "<").sum()
    assert f"{count} values of {target.name} are below" in sentences
    assert "rule `half`" in sentences


def test_a_target_that_is_always_beyond_the_limits_is_refused(
    truth: pd.DataFrame, target: Target, spec: SoftSensor
) -> None:
    keys = spec.columns.keys
    features = truth[[*keys, "last_timestamp", *spec.features]]
    targets = truth[[*keys, *spec.target_names]].assign(**{target.censored: "<"})
    with pytest.raises(DataError, match="always beyond the limits of the assay"):
        training_table(features, targets, None, spec)


def test_a_search_learns_by_the_rule_and_is_judged_by_the_limit(
    truth: pd.DataFrame, target: Target, spec: SoftSensor
) -> None:
    params = FOREST["extra_trees"]
    table = _limited(truth, target)
    ruled = _with_rule(spec, "zero")
    by_limit = list(fitting.fold_errors("extra_trees", params, table, ruled))
    as_numbers = table.assign(**{target.censored: ""})
    by_number = list(fitting.fold_errors("extra_trees", params, as_numbers, ruled))
    assert np.isfinite(by_limit).all() and by_limit != by_number
