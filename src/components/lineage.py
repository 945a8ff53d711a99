"""From which code and libraries something was made, and by whom."""

from __future__ import annotations

import getpass
import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from src.settings import Settings

UNKNOWN = "unknown"
_LIBRARIES = (
    "numpy",
    "pandas",
    "scikit-learn",
    "xgboost",
    "xgboost-cpu",
    "duckdb",
    "mlflow",
)


def code_version(settings: Settings) -> str:
    """GIT_HASH where an image sets it, else the checkout's commit (`-dirty` when edited)."""
    if settings.git_hash:
        return settings.git_hash
    here = Path(__file__).resolve().parent
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return UNKNOWN
    return found.stdout.strip() or UNKNOWN


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape a model."""
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def user() -> str:
    """Who runs this; in a container a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
