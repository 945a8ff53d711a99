"""What became of everything that was read: the closing table of a load or a training."""

from __future__ import annotations

from dataclasses import dataclass, field

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
