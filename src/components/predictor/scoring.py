"""Features in, rows of the ledger out: no database, no registry, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.components.predictor.flags import Flag
from src.components.predictor.reasons import Reason
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

    from src.components.predictor.bundle import Bundle
    from src.components.predictor.correction import Correction

# Column of features: whether rows were stamped later than they arrived (bool or NULL).
CLOCK_AHEAD = "impress_clock_ahead"
# Column of features: whether an unreadable file may hold more of the rows (bool).
MAY_LACK_ROWS = "impress_may_lack_rows"


@dataclass(frozen=True)
class Served:
    """The model that predicts.

    Attributes:
        version: its version in the registry.
        cached: it is the verified copy of an earlier run, as the registry did not answer.
    """

    bundle: Bundle
    version: str
    cached: bool = False


@dataclass(frozen=True)
class Scored:
    """What became of some phases.

    Attributes:
        model_version: of the model that was asked.
        ledger: keys, n_samples, first_timestamp, last_timestamp, features, targets with their
            intervals, verdict, flags and model_version, one row a phase; and the columns of
            `Correction.recorded` if there is a correction.
        refused: keys and `reason` of the phases that have no sound prediction.
    """

    model_version: str
    ledger: pd.DataFrame
    refused: pd.DataFrame


def score(
    features: pd.DataFrame, model: Served, spec: SoftSensor, correction: Correction | None = None
) -> Scored:
    """Predict phases, flag and judge them, and set apart those without a sound prediction.

    Args:
        features: what `features_query` gives, one row a phase; and CLOCK_AHEAD and MAY_LACK_ROWS
            where they are known.
        correction: by recent laboratory values; it counts with `adaptation: on`, and is otherwise
            only recorded.

    Raises:
        BundleRefused: when the model was trained for other features or targets.
    """
    import pandas as pd

    keys = spec.columns.keys
    values = features[spec.features]
    reason = pd.Series("", index=features.index, dtype=object)
    reason = reason.mask(values.isna().all(axis=1), Reason.NO_SENSOR_VALUES)
    reason = reason.mask((values.abs() == math.inf).any(axis=1), Reason.INFINITE_FEATURES)
    unusable = features[keys].assign(reason=reason)[reason != ""]
    usable = features[reason == ""].reset_index(drop=True)
    if usable.empty:
        return Scored(model.version, usable.reindex(columns=keys), unusable)

    from src.components.predictor.judgement import reject_reasons

    applied = correction if spec.adaptation == "on" else None
    predicted = model.bundle.predict(usable, spec, applied)
    if correction is not None:
        predicted = correction.recorded(predicted, usable[spec.columns.phase], spec)
    predicted = predicted.assign(flags=_with_origin_flags(predicted["flags"], usable, model))
    reasons = reject_reasons(predicted, spec)
    sound = reasons == ""
    known = [*keys, "n_samples", "first_timestamp", "last_timestamp", *spec.features]
    ledger = usable[known].join(predicted).assign(model_version=model.version)
    unsound = usable.loc[~sound, keys].assign(reason=reasons[~sound])
    return Scored(model.version, ledger[sound], pd.concat([unusable, unsound]))


def _with_origin_flags(flags: pd.Series, features: pd.DataFrame, model: Served) -> pd.Series:
    """Add the flags that the features alone do not show."""
    if model.cached:
        flags = _add(flags, Flag.CACHED_MODEL)
    if CLOCK_AHEAD in features:
        ahead = features[CLOCK_AHEAD].fillna(False).astype(bool)
        flags = flags.mask(ahead, _add(flags, Flag.CLOCK_AHEAD))
    if MAY_LACK_ROWS in features:
        flags = flags.mask(features[MAY_LACK_ROWS], _add(flags, Flag.MAY_LACK_ROWS))
    return flags


def _add(flags: pd.Series, flag: Flag) -> pd.Series:
    return flags.where(flags == "", flags + ",") + flag
