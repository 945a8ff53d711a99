"""Makes `python -m src.cli` the same as `impress`."""

from src.cli.commands import process

process()
