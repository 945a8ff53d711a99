"""How many laboratory analyses the next month needs, so that a change is found and corrected."""

from __future__ import annotations

import pandas as pd

from src.components.adaptation.replay import State

# A change that matters, and what may remain of it: SD of the usual error.
CHANGE, REMAINS = 2.0, 0.5
WIDER = 1.1  # factor of the intervals' width by which they may be wider for want of values
MOST = 20  # analyses of a month

COUNT, REMAINING, WIDTH = "count", "remaining", "width"


def prospects(state: State) -> pd.DataFrame:
    """What some analyses, each of another day, would bring.

    Returns:
        For each COUNT from 0 to MOST: what would be REMAINING of a shift by CHANGE if it began now,
        in SD of the usual error; and the WIDTH of intervals, as a factor, if all values agree with
        the predictions. Both are those of the target and phase where they are largest.
    """
    lines = []
    shifts = list(state.shifts.values())
    changed, agreeing = shifts, shifts
    for count in range(MOST + 1):
        remaining = [before.mean + CHANGE - after.mean for before, after in zip(shifts, changed)]
        width = [(1 + shift.variance) ** 0.5 for shift in agreeing]
        lines.append({COUNT: count, REMAINING: max(remaining), WIDTH: max(width)})
        changed = [after.after(before.mean + CHANGE, 1) for before, after in zip(shifts, changed)]
        agreeing = [shift.after(shift.mean, 1) for shift in agreeing]
    return pd.DataFrame(lines)


def needed(expected: pd.DataFrame) -> int:
    """The fewest analyses that correct a CHANGE up to REMAINS, and leave intervals narrow.

    MOST if not even these do.

    Args:
        expected: what `prospects` returns.
    """
    enough = expected[(expected[REMAINING] <= REMAINS) & (expected[WIDTH] <= WIDER)]
    return int(enough[COUNT].min()) if len(enough) else MOST
