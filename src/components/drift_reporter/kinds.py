"""The three kinds of tests, and what the entries of their tables have in common.

Each kind has one table: `SENSOR_INDICATORS` and `TARGET_INDICATORS` in `indicators`, `CHECKS` in
`checks`, `LOSSES` in `performance`. An entry is all there is to say about one test: its name, how
it is computed, how a finding is worded, and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Value of the column `kind` of `monitoring_tests`."""

    DRIFT = "drift"
    CHECK = "check"
    LABORATORY = "laboratory"


@dataclass(frozen=True)
class Entry:
    """What every test has, whatever its kind.

    Attributes:
        name: value of the column `indicator` of `monitoring_tests`; unique among all kinds.
        words: the finding, as a format string. Fields: `shift`; `points` (a change of a share in
            percentage points); `fewer` (the same as a decrease); `first` (name of the first phase
            of params.yaml).
        advice: what to do about it, as a format string. Its fields are those of
            `soft_sensor.Wording`.
    """

    name: str
    words: str
    advice: str
