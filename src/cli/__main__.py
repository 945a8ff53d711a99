"""Lets `python -m src.cli` do what `impress` does."""

from src.cli.commands import process

process()
