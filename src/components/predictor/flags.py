"""Quality flags: why a reader should be careful with a prediction.

The ledger keeps the flags of a prediction as comma-separated codes in the column `flags`.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING

from src.soft_sensor import Sensor, SoftSensor

if TYPE_CHECKING:
    import pandas as pd


class Flag(StrEnum):
    """Code of a flag and its meaning. Those about one sensor carry its name, see `of`."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Flag:
        """A member that is its code."""
        flag = str.__new__(cls, code)
        flag._value_ = code
        flag.meaning = meaning
        return flag

    FEW_SAMPLES = "few_samples", "fewer valid rows than prediction.min_samples"
    CLOCK_JUMP = "clock_jump", "time stamps further apart than a phase can last"
    MISSING = "missing", "the sensor has no usable value"
    OUT_OF_BOUNDS = "out_of_bounds", "readings outside the instrument's range were left out"
    OUTSIDE_TRAINING = "outside_training", "a feature is beyond the range of the training phases"
    CACHED_MODEL = "cached_model", "the registry did not answer, so the cached model served"
    CLOCK_AHEAD = "clock_ahead", "rows are stamped later than they arrived"
    MAY_LACK_ROWS = "may_lack_rows", "a file that could not be read may hold more of its rows"

    def of(self, sensor: Sensor) -> str:
        """The flag about one sensor: its name, then the code."""
        return f"{sensor.name}_{self}"


# Nothing is learned from the features of phases with one of these.
DOUBTFUL = (Flag.FEW_SAMPLES, Flag.CLOCK_JUMP)


def quality_flags(
    features: pd.DataFrame, reference: pd.DataFrame, spec: SoftSensor
) -> pd.DataFrame:
    """Which flags the features of phases call for.

    Args:
        features: what `features_query` gives, one row a phase.
        reference: training rows: phase and features.

    Returns:
        Rows by flags, bool.
    """
    import pandas as pd

    flags = {str(Flag.FEW_SAMPLES): features["n_samples"] < spec.prediction.min_samples}
    if spec.prediction.max_phase_minutes is not None:
        seconds = features["last_timestamp"] - features["first_timestamp"]
        flags[Flag.CLOCK_JUMP] = seconds > 60 * spec.prediction.max_phase_minutes
    phase = features[spec.columns.phase]
    trained = reference.groupby(spec.columns.phase)[spec.features]
    low = trained.min().reindex(phase).set_axis(features.index)
    high = trained.max().reindex(phase).set_axis(features.index)
    for sensor in spec.sensors:
        names = spec.features_of(sensor)
        missing = features[names].isna().any(axis=1)
        beyond = (features[names] < low[names]) | (features[names] > high[names])
        flags[Flag.MISSING.of(sensor)] = missing
        flags[Flag.OUT_OF_BOUNDS.of(sensor)] = features[sensor.out_of_bounds] > 0
        flags[Flag.OUTSIDE_TRAINING.of(sensor)] = beyond.any(axis=1) & ~missing
    return pd.DataFrame(flags)


def number_reused(features: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Phases that are two: their rows are further apart than `prediction.reused_after_hours`.

    Args:
        features: first_timestamp and last_timestamp (Unix seconds), one row a phase.

    Returns:
        One bool a row; all False without that setting.
    """
    hours = spec.prediction.reused_after_hours
    seconds = features["last_timestamp"] - features["first_timestamp"]
    return seconds > (math.inf if hours is None else 3600 * hours)


def unreliable(flags: pd.DataFrame, spec: SoftSensor) -> pd.Series:
    """Rows whose interval promises nothing: it was calibrated on whole phases with all sensors."""
    return flags[unreliable_codes(spec)].any(axis=1)


def unreliable_codes(spec: SoftSensor) -> list[str]:
    """Flags with which a verdict is always uncertain."""
    return [Flag.FEW_SAMPLES, *(Flag.MISSING.of(sensor) for sensor in spec.sensors)]


def joined(flags: pd.DataFrame) -> pd.Series:
    """Rows by flags as the text that the ledger keeps, empty where no flag is set."""
    import pandas as pd

    codes = flags.columns.to_numpy()
    rows = [",".join(codes[row]) for row in flags.to_numpy(dtype=bool)]
    return pd.Series(rows, index=flags.index, dtype=object)


def has_flag(texts: pd.Series, code: str) -> pd.Series:
    """Whether a flag is among those of each row of the ledger's column `flags`."""
    return texts.fillna("").map(lambda text: code in text.split(",")).astype(bool)


def describe(text: str, spec: SoftSensor) -> dict[str, str]:
    """Flags of one row of the ledger and their meanings; empty for one that is not known here."""
    meanings = {str(flag): flag.meaning for flag in Flag}
    for sensor in spec.sensors:
        for flag in (Flag.MISSING, Flag.OUT_OF_BOUNDS, Flag.OUTSIDE_TRAINING):
            meanings[flag.of(sensor)] = f"{sensor.title}: {flag.meaning}"
    return {code: meanings.get(code, "") for code in text.split(",") if code}
