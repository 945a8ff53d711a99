"""Laboratory values of which only a limit is known: below detection (<5), above range (>1000).

A table keeps the limit as the number and `<` or `>` in the column `Target.censored`. What a model
learns in its place is a rule of the target (`below_detection`, `above_range` in params.yaml). What
it is judged by is not: a prediction on the right side of the limit is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from src.soft_sensor import SoftSensor, Target

if TYPE_CHECKING:
    import pandas as pd

BELOW, ABOVE = "<", ">"


def marks(table: pd.DataFrame, target: Target) -> pd.Series:
    """`<`, `>` or an empty text for each row; all empty where the table does not have them."""
    import pandas as pd

    if target.censored not in table:
        return pd.Series("", index=table.index, dtype="str")
    known = table[target.censored].astype(object).where(table[target.name].notna())
    return known.where(known.isin([BELOW, ABOVE]), "").astype("str")


def substituted(table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """The table with numbers in place of limits, by the rule of each target, and no marks.

    `half` is half-way between the lowest possible value and the limit, `zero` is 0, `limit` the
    limit itself; by `missing` there is no value.
    """
    filled = table.copy()
    for target in spec.targets:
        mark, limit = marks(table, target), table[target.name]
        below = {
            "half": (target.low + limit) / 2,
            "limit": limit,
            "zero": limit * 0,
            "missing": limit.where(mark == ""),
        }[target.below_detection]
        above = {"limit": limit, "missing": limit.where(mark == "")}[target.above_range]
        filled[target.name] = limit.mask(mark == BELOW, below).mask(mark == ABOVE, above)
        filled[target.censored] = ""
    return filled


def means(samples: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """Samples to one row per phase.

    Replicates are averaged after limits were replaced as in `substituted`. Where all replicates lie
    on the same side of their limits, so does the phase, on that of their mean limit.

    Args:
        samples: keys and targets; `Target.censored` where limits are known as such.

    Returns:
        Keys, targets (NaN where nothing was measured) and `Target.censored`.
    """
    keys = spec.columns.keys
    filled = substituted(samples, spec)
    table = filled.groupby(keys, as_index=False)[spec.target_names].mean()
    for target in spec.targets:
        mark = marks(samples, target).where(filled[target.name].notna())
        of_phase = mark.groupby([samples[key] for key in keys])
        sides = of_phase.nunique()
        side = of_phase.first().where(sides == 1, "").fillna("")
        limits = samples[target.name].groupby([samples[key] for key in keys]).mean()
        table[target.censored] = side.astype("str").to_numpy()
        table[target.name] = table[target.name].mask(
            table[target.censored] != "", limits.to_numpy()
        )
    return table


def deviation(predicted: Any, measured: Any, mark: Any) -> Any:
    """Prediction minus laboratory value: arrays or series of one shape, or that broadcast.

    Where the value is a limit, 0 for a prediction on the right side of it, else the distance to the
    limit.
    """
    import numpy as np

    off = predicted - measured
    right = ((mark == BELOW) & (off < 0)) | ((mark == ABOVE) & (off > 0))
    return np.where(right, 0.0, off) if isinstance(off, np.ndarray) else off.mask(right, 0.0)


def deviations(predicted: pd.DataFrame, table: pd.DataFrame, spec: SoftSensor) -> pd.DataFrame:
    """`deviation` of all targets, rows by targets, NaN where not measured."""
    import pandas as pd

    return pd.DataFrame(
        {
            target.name: deviation(predicted[target.name], table[target.name], marks(table, target))
            for target in spec.targets
        }
    )


def contained(
    predicted: pd.DataFrame, measured: pd.Series, mark: pd.Series, target: Target
) -> pd.Series:
    """Whether intervals contain laboratory values; where these are limits, reach beyond them.

    Returns:
        bool; False where there is no value.
    """
    reaches_down = (predicted[target.lower] <= measured) | (mark == ABOVE)
    reaches_up = (predicted[target.upper] >= measured) | (mark == BELOW)
    return measured.notna() & reaches_down & reaches_up


def counted(table: pd.DataFrame, spec: SoftSensor) -> list[tuple[int, str]]:
    """How many values lie beyond limits, and of which target, on which side, by which rule."""
    lines = []
    for target in spec.targets:
        mark = marks(table, target)
        for side, where, rule in (
            (BELOW, "below detection", target.below_detection),
            (ABOVE, "above range", target.above_range),
        ):
            count = int((mark == side).sum())
            if count:
                lines.append((count, f"values of {target.name} are {where}, rule `{rule}`"))
    return lines
