"""Which phases of a unit can be scored: the rules by which `impress predict` sets rows aside."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from src.components.backfill.rows import exact_integers
from src.components.backfill.units import Unit
from src.components.predictor.flags import number_reused
from src.components.predictor.reasons import Reason
from src.components.predictor.scoring import MAY_LACK_ROWS
from src.components.transformation.features import typed_features
from src.soft_sensor import FARTHEST_STAMP, SoftSensor, usable_key

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def admit(table: pa.Table, unit: Unit, spec: SoftSensor) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Separate the phases that can be scored from the others.

    Args:
        table: what `Engine.features` gives.

    Returns:
        What `score` takes, with MAY_LACK_ROWS; and keys, n_samples and `reason` of the others.
    """
    features = table.to_pandas(types_mapper=exact_integers)
    reason = _reasons(features, spec)
    keys = spec.columns.keys
    refused = features[[*keys, "n_samples"]].assign(reason=reason)[reason != ""]
    counts = ["n_samples", *(sensor.out_of_bounds for sensor in spec.sensors)]
    exact = {**spec.key_types, **dict.fromkeys(counts, "int64")}
    admitted = features[reason == ""].astype(exact)
    admitted = typed_features(admitted, spec)
    return admitted.assign(**{MAY_LACK_ROWS: _beside_gaps(admitted, unit, spec)}), refused


def _reasons(features: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Why each phase cannot be scored, empty where it can; as `Inbox.states` decides."""
    import pandas as pd

    experiment, phase = (features[key] for key in spec.columns.keys)
    near = [time.time() - FARTHEST_STAMP, time.time() + FARTHEST_STAMP]
    first, last = features["first_timestamp"], features["last_timestamp"]
    possible = (first >= near[0]) & (last <= near[1])
    reason = pd.Series("", index=features.index, dtype=object)
    reason = reason.mask(number_reused(features, spec), Reason.NUMBER_REUSED)
    reason = reason.mask(~possible.fillna(False), Reason.IMPOSSIBLE_TIMESTAMP)
    known = phase.isin([each.value for each in spec.phases])
    reason = reason.mask(~known, Reason.UNKNOWN_PHASE)
    if spec.columns.experiment_type == "text":
        reason = reason.mask(~experiment.map(usable_key), Reason.UNUSABLE_NAME)
        reason = reason.mask(experiment.str.strip() == "", Reason.NO_EXPERIMENT)
    return reason


def _beside_gaps(features: pd.DataFrame, unit: Unit, spec: SoftSensor) -> pd.Series:
    """Phases that an unreadable file may hold more rows of.

    A phase is complete when nothing follows it for `prediction.settle_minutes`.
    """
    import pandas as pd

    settle = 60 * spec.prediction.settle_minutes
    first, last = features["first_timestamp"], features["last_timestamp"]
    beside = pd.Series(False, index=features.index)
    for gap in unit.gaps:
        beside |= (last >= gap.begin - settle) & (first <= gap.end + settle)
    return beside
