"""What a month is dated by."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from src.soft_sensor import SoftSensor
from tests.builders.months import compared, phases


@pytest.mark.parametrize("stray", [float("nan"), 1e12], ids=["unknown", "far in the future"])
def test_a_month_ends_with_its_newest_phase_that_is_not_dated_into_the_future(
    stray: float, spec: SoftSensor
) -> None:
    month = phases(spec, 5, 0)
    newest = pd.Timestamp(month["last_timestamp"].max(), unit="s", tz="UTC")
    evidence = compared(month, month, spec)
    period = replace(evidence.period, until=newest + pd.Timedelta(days=30))
    odd = month.assign(last_timestamp=stray).head(1)
    for rows, end in (
        (pd.concat([month, odd]), newest),
        (odd, period.until),
    ):
        assert replace(evidence, period=period, month=rows).last_end == end
