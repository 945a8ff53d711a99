"""Which model may take the place of the present one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.components.predictor.bundle import FOLD, Bundle
from src.components.trainer import gate
from src.components.trainer.gate import ALL_TARGETS, LARGE, Outcome
from src.components.transformation.training_table import GROUP
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, MEMBERS, made_from, phase_table, shuffled


@pytest.fixture(name="table", scope="module")
def fixture_table(spec: SoftSensor) -> pd.DataFrame:
    """80 experiments."""
    return phase_table(80, spec, noise=0.05)


@pytest.fixture(name="bundle", scope="module")
def fixture_bundle(table: pd.DataFrame, spec: SoftSensor) -> Bundle:
    """The present model, of the first 60."""
    return made_from(_experiments(table, 0, 60), spec)


def _experiments(table: pd.DataFrame, first: int, end: int) -> pd.DataFrame:
    return table[table["experimentnummer"].between(first, end - 1)].reset_index(drop=True)


def _overall(comparison: gate.Comparison) -> pd.Series:
    assert comparison.table["target"].iloc[-1] == ALL_TARGETS
    return comparison.table.iloc[-1]


def test_a_model_is_not_worse_than_itself(bundle: Bundle, spec: SoftSensor) -> None:
    comparison = gate.compare(bundle, bundle, spec)
    assert comparison.outcome == Outcome.NOT_WORSE and comparison.good
    assert comparison.table["change"].tolist() == [0.0] * 4
    assert (comparison.table["production"] == comparison.table["challenger"]).all()


def test_a_model_of_more_experiments_passes(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    comparison = gate.compare(made_from(table, spec, MEMBERS), bundle, spec)
    assert comparison.good
    assert _overall(comparison)["groups"] == 80
    assert _overall(comparison)["change"] < 0


def test_a_model_of_a_few_experiments_is_never_recorded_as_not_worse(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    for first in range(0, 60, 10):
        small = made_from(_experiments(table, first, first + 10), spec)
        comparison = gate.compare(small, bundle, spec)
        assert comparison.outcome != Outcome.NOT_WORSE
        assert "not worse" not in comparison.in_words("1")
        assert _overall(comparison)["groups"] == 60


def test_a_model_of_shuffled_labels_is_worse_in_everything(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    taught = _experiments(table, 0, 60)
    wrong = made_from(shuffled(taught, spec), spec)
    comparison = gate.compare(wrong, bundle, spec)
    assert comparison.changed > 300 and not comparison.good
    assert "laboratory values differ" in comparison.in_words("1")

    # Even if nobody could see it from the values.
    names = {target.measured: target.name for target in spec.targets}
    right = taught[spec.target_names].rename(columns={name: key for key, name in names.items()})
    hidden = replace(wrong, reference=wrong.reference.assign(**{n: right[n] for n in names}))
    comparison = gate.compare(hidden, bundle, spec)
    assert comparison.changed == 0
    assert comparison.worse == [*spec.target_names, ALL_TARGETS]


@pytest.mark.parametrize("experiments", [10, 20, 60])
def test_a_shuffled_laboratory_file_is_refused_at_every_size(
    experiments: int, table: pd.DataFrame, spec: SoftSensor
) -> None:
    """Even where no version knows its experiments."""
    some = _experiments(table, 0, experiments)
    wrong = made_from(shuffled(some, spec), spec, MEMBERS)
    assert "always guessing the median" in gate.no_better_than_guessing(wrong, spec)


def test_a_first_version_that_has_learned_something_passes(
    table: pd.DataFrame, spec: SoftSensor
) -> None:
    some = _experiments(table, 0, 20)
    assert gate.no_better_than_guessing(made_from(some, spec, MEMBERS), spec) == ""


def test_one_corrected_value_is_counted_and_stops_the_promotion(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    corrected = table.copy()
    # The last row is one that Production does not know.
    corrected.loc[[3, len(table) - 1], "anionischetenside"] += 1
    corrected.loc[[4], "nichtionischentenside"] = np.nan
    comparison = gate.compare(made_from(corrected, spec), bundle, spec)
    assert comparison.outcome == Outcome.NOT_WORSE
    assert comparison.changed == 1 and not comparison.good


def test_each_version_predicts_with_models_that_have_not_seen_the_group(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    tension = spec.target_names[0]
    rows = gate.labelled(made_from(table, spec), spec)
    errors = gate.unseen_errors(bundle, rows, spec)[tension]
    out_of_fold = bundle.reference[tension] - bundle.reference[f"{tension}_measured"]
    known = len(bundle.reference)
    np.testing.assert_allclose(errors[:known], out_of_fold.abs())
    later = rows[known:]
    each = [
        (replace(bundle, folds=[models]).values(later, spec)[tension] - later[tension]).abs()
        for models in bundle.folds
    ]
    np.testing.assert_allclose(errors[known:], np.mean(each, axis=0))


def test_a_phase_that_a_version_may_have_seen_is_left_out(
    table: pd.DataFrame, bundle: Bundle, spec: SoftSensor
) -> None:
    """The new version keeps pairs of experiments together, of which the present one saw one."""
    paired = table.assign(**{GROUP: table["experimentnummer"] // 2})
    comparison = gate.compare(made_from(paired, spec), bundle, spec)
    fold = bundle.reference.groupby("experimentnummer")[FOLD].first()
    split = int((fold[::2].to_numpy() != fold[1::2].to_numpy()).sum())
    assert split > 10 and comparison.left_out == 4 * split
    assert _overall(comparison)["groups"] == 40 - split


def test_versions_that_share_no_comparable_group_are_not_compared(
    table: pd.DataFrame, spec: SoftSensor
) -> None:
    apart = made_from(table.assign(**{GROUP: table["experimentnummer"] % 10}), spec)
    comparison = gate.compare(apart, made_from(table, spec), spec)
    assert comparison.outcome == Outcome.TOO_FEW and comparison.left_out == len(table)
    assert comparison.in_words("1").endswith("worse than version 1: 0 can be compared")


def test_a_group_that_goes_on_is_not_new_to_the_version_that_has_its_beginning(
    table: pd.DataFrame, spec: SoftSensor
) -> None:
    blocks = table.assign(**{GROUP: "block " + (table["experimentnummer"] // 4).astype(str)})
    begun = made_from(blocks[blocks["experimentnummer"] % 4 < 2].reset_index(drop=True), spec)
    rows = gate.labelled(made_from(blocks, spec), spec)
    errors = gate.unseen_errors(begun, rows, spec)
    fold = begun.reference.drop_duplicates(GROUP).set_index(GROUP)[FOLD]
    row = rows[rows["experimentnummer"] == 7].iloc[[0]]
    models = begun.folds[fold[row[GROUP].iloc[0]]]
    expected = (replace(begun, folds=[models]).values(row, spec) - row[spec.target_names]).abs()
    np.testing.assert_allclose(errors.loc[row.index], expected)


def test_a_large_loss_is_refused_and_a_small_comparison_says_what_it_cannot_tell(
    table: pd.DataFrame, spec: SoftSensor
) -> None:
    lines = pd.DataFrame({"target": ["a", ALL_TARGETS], "low": [-0.5, -0.4]})
    large = lines.assign(change=[0.1, LARGE + 0.01], high=[0.7, 0.9])
    unclear = lines.assign(change=[0.1, 0.1], high=[0.7, LARGE + 0.01])
    clear = lines.assign(change=[0.1, 0.1], high=[0.7, LARGE - 0.01])
    outcomes = [gate.outcome_of(table) for table in (large, unclear, clear)]
    assert outcomes == [Outcome.WORSE, Outcome.TOO_FEW, Outcome.NOT_WORSE]

    few = [made_from(_experiments(table, first, first + 10), spec, FOREST) for first in (0, 10)]
    comparison = gate.compare(few[0], few[1], spec)
    words = comparison.in_words("3")
    assert f"a loss of {_overall(comparison)['detectable']:.0%} can be detected" in words
    assert "version 3" in words and "in 20 groups" in words
