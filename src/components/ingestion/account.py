"""What became of everything that was read: the closing table of a load or a training."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from src.soft_sensor import SoftSensor

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

SHOWN = 5  # names in one line


@dataclass(frozen=True)
class Entry:
    """A line of the table: how many of what.

    Attributes:
        what: begins with a noun in the plural.
        left_out: somebody may have wanted them.
    """

    count: int
    what: str
    left_out: bool = False

    def line(self, width: int) -> str:
        """The line, its count right-aligned."""
        noun, blank, rest = self.what.partition(" ")
        return f"{self.count:>{width},} {noun[:-1] if self.count == 1 else noun}{blank}{rest}"


@dataclass
class Account:
    """The table, in the order in which things happened."""

    entries: list[Entry] = field(default_factory=list)

    def note(self, count: int, what: str) -> None:
        """Add a line: how many of what."""
        self.entries.append(Entry(int(count), what))

    def note_left_out(self, count: int, what: str) -> None:
        """Add a line about what was left out, if anything was."""
        if count:
            self.entries.append(Entry(int(count), what, left_out=True))

    def lines(self) -> list[str]:
        """The lines of the table."""
        width = max((len(f"{entry.count:,}") for entry in self.entries), default=0)
        return [entry.line(width) for entry in self.entries]

    def log(self) -> None:
        """Log the table; what was left out as a warning."""
        for entry, line in zip(self.entries, self.lines()):
            logger.log(logging.WARNING if entry.left_out else logging.INFO, "%s", line)


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
        count = int((both["_merge"] == side).sum())
        account.note_left_out(count, f"phases with {what} only: experiments {names}")
    matched = int((both["_merge"] == "both").sum())
    account.note_left_out(matched - len(table), "phases with both, but without a usable value")
    account.note(len(table), "phases to train on")
