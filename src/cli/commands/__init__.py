"""The command line: each command is a few lines over a pipeline or a component.

Exit codes: 0 done or nothing to do, 1 failed, 2 wrong use, 3 partly done (rows were rejected).
"""

from src.cli.commands.app import main, process

# In this order they are listed by `impress --help`.
from src.cli.commands import data, models, runs, reading  # isort: skip

__all__ = ["data", "main", "models", "process", "reading", "runs"]
