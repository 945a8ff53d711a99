"""What a test, or a month as a whole, comes to."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Value of the column `status` of `monitoring_tests`, and outcome of a report in `runs`."""

    ALARM = "alarm"  # a sensor or the model is at fault; a message is sent
    WATCH = "watch"  # something has changed; it is in the report only
    NO_DRIFT = "no drift"
    TOO_FEW = "not enough rows"  # to call a month healthy
