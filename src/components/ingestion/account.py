"""What became of everything that was read: the closing table of a load or a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 5  # names in one line


@dataclass
class Account:
    """Lines of the table, in the order in which things happened."""

    entries: list[tuple[int, str]] = field(default_factory=list)

    def note(self, count: int, what: str) -> None:
        """Add a line: how many of what."""
        self.entries.append((int(count), what))

    def note_any(self, count: int, what: str) -> None:
        """Add a line unless there are none."""
        if count:
            self.note(count, what)

    def lines(self) -> list[str]:
        """The table, counts right-aligned."""
        width = max((len(f"{count:,}") for count, _ in self.entries), default=0)
        return [f"{count:>{width},} {what}" for count, what in self.entries]


def shortened(names: list[str]) -> str:
    """Names for one line, the first few of many."""
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def note_joined(
    account: Account,
    features: pd.DataFrame,
    targets: pd.DataFrame,
    table: pd.DataFrame,
    spec: SoftSensor,
) -> None:
    """Count what became of features and laboratory values in the training table made of them."""
    keys = spec.columns.keys
    account.note(len(targets), "phases in the laboratory file")
    both = features[keys].merge(targets[keys], on=keys, how="outer", indicator=True)
    for side, what in (("right_only", "laboratory values"), ("left_only", "sensor rows")):
        experiments = both.loc[both["_merge"] == side, spec.columns.experiment].unique()
        names = shortened([str(name) for name in experiments])
        account.note_any(
            int((both["_merge"] == side).sum()), f"phases with {what} only: experiments {names}"
        )
    matched = int((both["_merge"] == "both").sum())
    account.note_any(matched - len(table), "phases with both, but without any usable value")
    account.note(len(table), "phases to train and test on")
