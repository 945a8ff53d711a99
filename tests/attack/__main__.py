"""Attack for some time and say what came of it: `python -m tests.attack SECONDS`, or `make attack`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.attack.runner import ATTACKS, attack_for

if __name__ == "__main__":
    SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    FAILED = False
    for name in ATTACKS:
        with tempfile.TemporaryDirectory() as scratch:
            tally = attack_for(SECONDS / len(ATTACKS), name, Path(scratch))
        print(f"{name}: {tally}", flush=True)
        FAILED = FAILED or bool(tally.faults)
    sys.exit(FAILED)
