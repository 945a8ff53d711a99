"""Why the rows of a phase are set aside instead of scored, and what to do about it."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Code in the column `reason` of the rejected rows, and the remedy before a replay."""

    remedy: str

    def __new__(cls, code: str, remedy: str) -> Reason:
        """A member that is its code."""
        reason = str.__new__(cls, code)
        reason._value_ = code
        reason.remedy = remedy
        return reason

    NO_EXPERIMENT = "no_experiment", "the experiment is empty: correct it in rejected_data"
    UNUSABLE_NAME = (
        "unusable_name",
        "the experiment has more than 200 bytes or a control character: rename it in rejected_data",
    )
    UNKNOWN_PHASE = (
        "unknown_phase",
        "the phase is empty or not in params.yaml: correct it, or add the phase there",
    )
    LATE_AFTER_PURGE = (
        "late_after_purge",
        "rows came after those of their phase were removed: see `--reopen`; if the rig counts from "
        "1 again, give them another number",
    )
    IMPOSSIBLE_TIMESTAMP = (
        "impossible_timestamp",
        "time stamps are missing or decades away, or are not Unix seconds: correct them in "
        "rejected_data",
    )
    NUMBER_REUSED = (
        "number_reused",
        "rows of one phase are further apart than reused_after_hours: give the later ones "
        "another number",
    )
    NO_VALID_ROWS = (
        "no_valid_rows",
        "no row of the phase counts by valid_rows: correct the rows or the rule",
    )
    NO_SENSOR_VALUES = (
        "no_sensor_values",
        "no sensor gave a usable value: check low and high in params.yaml",
    )
    INFINITE_FEATURES = (
        "infinite_features",
        "readings are too large to compute with: narrow low and high in params.yaml",
    )
    NO_FINITE_PREDICTION = (
        "no_finite_prediction",
        "the model did not give a number: promote another one",
    )
    IMPOSSIBLE_PREDICTION = (
        "impossible_prediction",
        "the model left what is physically possible: promote another one",
    )
