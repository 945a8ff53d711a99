"""Attack for some time and say what came of it: `python -m tests.attack SECONDS`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.attack.runner import ATTACKS, attack_for


def main(seconds: float) -> int:
    """Divide the time among the attacks. Returns the number of inputs that did harm."""
    faults = 0
    for name in ATTACKS:
        with tempfile.TemporaryDirectory() as scratch:
            tally = attack_for(seconds / len(ATTACKS), name, Path(scratch))
        print(f"{name}: {tally}", flush=True)
        faults += len(tally.faults)
    return faults


if __name__ == "__main__":
    sys.exit(bool(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600)))
