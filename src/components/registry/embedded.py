"""What the embedded registry knows, read from its SQLite file without importing MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from src.components.registry.versions import Version, moment

_BY_ALIAS = """
    SELECT version, source, run_id, creation_time
    FROM registered_model_aliases JOIN model_versions USING (name, version)
    WHERE name = ? AND alias = ?
"""
_TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"


def find(database: Path, name: str, alias: str) -> Version | None:
    """The version that an alias names, None when there is none.

    Raises:
        sqlite3.Error: when the file is not one of this version of MLflow.
    """
    if not database.exists():
        return None
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        row = connection.execute(_BY_ALIAS, (name, alias)).fetchone()
        if row is None:
            return None
        number, source, run_id, registered_at = row
        tags = connection.execute(_TAGS, (name, number)).fetchall()
    return Version(str(number), source, run_id or "", moment(registered_at), dict(tags))
