"""Flags as the ledger keeps them."""

from __future__ import annotations

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from src.components.predictor import flags
from src.components.predictor.flags import Flag
from src.soft_sensor import SoftSensor

CODES = ["few_samples", "ph_missing", "ph_out_of_bounds", "druck1_outside_training"]


def _features(spec: SoftSensor, **columns: object) -> pd.DataFrame:
    """One phase in whose features nothing is unusual, but for the given columns."""
    plain = {
        spec.columns.phase: 1,
        "n_samples": 1000,
        "first_timestamp": 0.0,
        "last_timestamp": 600.0,
        **dict.fromkeys(spec.features, 5.0),
        **{sensor.out_of_bounds: 0 for sensor in spec.sensors},
    }
    return pd.DataFrame([{**plain, **columns}])


def test_what_is_unusual_is_flagged_and_nothing_else(spec: SoftSensor) -> None:
    reference = _features(spec)
    features = _features(
        spec, n_samples=3, ph_median=float("nan"), druck1_mean=6.0, fluss1_out_of_bounds=2
    )
    text = flags.joined(flags.quality_flags(features, reference, spec))
    assert text.tolist() == ["few_samples,druck1_outside_training,fluss1_out_of_bounds,ph_missing"]
    plain = flags.quality_flags(reference, reference, spec)
    assert flags.joined(plain).tolist() == [""]


def test_a_sensor_that_is_called_missing_is_not_missing(spec: SoftSensor) -> None:
    """A search for the text `_missing` would find its other flags."""
    renamed = spec.sensors[0].model_copy(update={"name": "gas_missing"})
    spec = spec.model_copy(update={"sensors": (renamed, *spec.sensors[1:])})
    reference = _features(spec)
    features = _features(spec, gas_missing_out_of_bounds=1)
    flagged = flags.quality_flags(features, reference, spec)
    assert flags.joined(flagged).tolist() == ["gas_missing_out_of_bounds"]
    assert not flags.unreliable(flagged, spec).any()


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from(CODES)), min_size=1, max_size=20))
def test_flags_come_back_from_the_text(rows: list[set[str]]) -> None:
    table = pd.DataFrame([{code: code in row for code in CODES} for row in rows])
    text = flags.joined(table)
    for code in CODES:
        assert flags.has_flag(text, code).tolist() == table[code].tolist()


def test_every_flag_is_explained_with_the_title_of_its_sensor(spec: SoftSensor) -> None:
    text = "few_samples,ph_missing,of_a_later_version"
    assert flags.describe(text, spec) == {
        "few_samples": Flag.FEW_SAMPLES.meaning,
        "ph_missing": f"pH: {Flag.MISSING.meaning}",
        "of_a_later_version": "",
    }
    assert all(flag.meaning for flag in Flag)
