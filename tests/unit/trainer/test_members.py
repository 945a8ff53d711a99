"""One record a member is enough to train, store and load it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from src.components.registry import bundle_files
from src.components.trainer import export, fitting
from src.components.trainer.members import MEMBERS, Member, Params, Trial, of_library
from src.soft_sensor import SoftSensor
from tests.builders.training import FOREST, phase_table


@pytest.mark.parametrize("name", [name for name, member in MEMBERS.items() if member.space])
def test_a_search_can_begin_with_the_start_and_covers_its_parameters(name: str) -> None:
    member = MEMBERS[name]
    assert member.space is not None
    study = optuna.create_study()
    study.enqueue_trial(member.start)
    trial = study.ask()
    drawn = member.space(trial)
    assert drawn == {name: member.start[name] for name in drawn}
    assert set(member.start) - set(drawn) == {"n_estimators"}


def test_one_more_record_is_one_more_member(
    spec: SoftSensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def space(trial: Trial) -> Params:
        return {"max_features": trial.suggest_float("max_features", 0.1, 1.0)}

    start = {"n_estimators": 5, "max_features": 0.5}
    stumps = Member("stumps", of_library(ExtraTreesRegressor), start, space, export.forest)
    monkeypatch.setitem(MEMBERS, "stumps", stumps)
    table = phase_table(30, spec)
    bundle = fitting.assemble(table, {**FOREST, "stumps": start}, spec)
    assert "stumps" in bundle.weights.index
    bundle_files.save(bundle, tmp_path / "bundle")
    loaded = bundle_files.load(tmp_path / "bundle")
    predicted, again = bundle.predict(table, spec), loaded.predict(table, spec)
    pd.testing.assert_frame_equal(predicted, again)
    assert np.isfinite(predicted[spec.target_names]).all(axis=None)

    monkeypatch.delitem(MEMBERS, "stumps")
    pd.testing.assert_frame_equal(
        bundle_files.load(tmp_path / "bundle").predict(table, spec), predicted
    )
