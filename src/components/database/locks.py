"""Advisory locks that keep runs apart."""

from __future__ import annotations

from psycopg2.errorcodes import LOCK_NOT_AVAILABLE
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

# Any constant will do, as long as every version of IMPRESS takes the same one.
LOCK = 0x1A9BE55
REPORT_LOCK = LOCK + 1_000  # keeps reports apart; predictions have locks of their own
LOCK_WAIT = 5  # s; a report holds the lock for a moment, a killed run until its statement ends


def take_lock(connection: Connection, key: int, wait: float) -> bool:
    """Take a lock for the session. Whether it was to be had within `wait` seconds."""
    connection.execute(text(f"SET lock_timeout = '{wait:g}s'"))
    try:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        connection.rollback()
        return False
    return True
