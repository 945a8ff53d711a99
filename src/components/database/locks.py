"""Advisory locks that keep runs apart."""

from __future__ import annotations

from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

# Any constant will do, as long as every version of IMPRESS uses the same one.
LOCK = 0x1A9BE55
REPORT_LOCK = LOCK + 1_000  # for reports; predictions have locks of their own
LOAD_LOCK = LOCK + 2_000  # for files
BACKFILL_LOCK = LOCK + 4_000  # for units of histories
LETTER_LOCK = LOCK + 3_000  # for the one letter of a week
LOCK_WAIT = 5  # s; a killed run holds its lock until its statement ends


def take_lock(connection: Connection, key: int, wait: float) -> bool:
    """Take a lock for the session; False when another one holds it for `wait` seconds."""
    connection.execute(text(f"SET lock_timeout = '{wait:g}s'"))
    try:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        connection.rollback()
        return False
    return True
