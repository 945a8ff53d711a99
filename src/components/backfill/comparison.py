"""Two models on the same history: which verdicts change, and how far predictions move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from src.components.backfill.results import Results
from src.errors import DataError
from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

OLD, NEW = "_old", "_new"  # ends of column names


@dataclass(frozen=True)
class Comparison:
    """Results by one model against those by another.

    Attributes:
        versions: of the old and the new model.
        phases: how many both have.
        only_old, only_new: how many only one of them has.
        verdicts: judged phases, old verdicts by new ones.
        moves: of each target and phase: number of phases, mean change and mean absolute change.
    """

    versions: tuple[str, str]
    phases: int
    only_old: int
    only_new: int
    verdicts: pd.DataFrame
    moves: pd.DataFrame

    @property
    def changed(self) -> int:
        """Phases with another verdict."""
        same = sum(
            int(self.verdicts.loc[name, name])
            for name in self.verdicts.index
            if name in self.verdicts.columns
        )
        return int(self.verdicts.to_numpy().sum()) - same


def compare(old: Results, new: Results, spec: SoftSensor) -> Comparison:
    """Compare the results of the same history by two models.

    Raises:
        DataError: when one of them is not complete, or they have no phase in common.
    """
    import pandas as pd

    keys = spec.columns.keys
    columns = [*keys, "verdict", *spec.target_names]
    before, after = old.phases(columns), new.phases(columns)
    nothing = DataError(f"{old.root} and {new.root} have no phase in common")
    if before.empty or after.empty:
        raise nothing
    both = before.merge(after, on=keys, how="outer", suffixes=(OLD, NEW), indicator="side")
    sides = both["side"].value_counts()
    common = both[both["side"] == "both"]
    if common.empty:
        raise nothing
    judged = common[common[f"verdict{OLD}"] != ""]
    moves = [
        {
            "target": target.name,
            "phase": phase.name,
            "phases": len(change),
            "mean_change": float(change.mean()),
            "mean_absolute_change": float(change.abs().mean()),
        }
        for target in spec.targets
        for phase in spec.phases
        for change in [_change(common, target.name, phase.value, spec)]
        if len(change)
    ]
    return Comparison(
        versions=(old.manifest()["model_version"], new.manifest()["model_version"]),
        phases=len(common),
        only_old=int(sides["left_only"]),
        only_new=int(sides["right_only"]),
        verdicts=pd.crosstab(judged[f"verdict{OLD}"], judged[f"verdict{NEW}"]),
        moves=pd.DataFrame(moves),
    )


def _change(common: pd.DataFrame, target: str, phase: int | str, spec: SoftSensor) -> pd.Series:
    rows = common[common[spec.columns.phase] == phase]
    return rows[f"{target}{NEW}"] - rows[f"{target}{OLD}"]
