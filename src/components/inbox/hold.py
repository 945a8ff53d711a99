"""Which run holds the inbox: one at a time, by an advisory lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from src.components.database.locks import LOCK, LOCK_WAIT, take_lock


@contextmanager
def hold(engine: Engine, prefix: str = "", wait: float = LOCK_WAIT) -> Iterator[Connection | None]:
    """A connection in repeatable read that holds the inbox, or None when another one does.

    The lock is taken before any transaction of its user, hence before its snapshot: a lock inside
    could be granted to a run that does not yet see what the run before it has committed. It is
    given back when the connection closes, however that comes about.

    Args:
        engine: one that does not pool connections, or the lock would outlive its use.
        wait: seconds to wait for a run that is about to end.
    """
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        held = take_lock(connection, LOCK + len(prefix), wait)
        for setting, value in {
            # A client that vanished without a word is noticed after a minute, not two hours.
            "tcp_keepalives_idle": 30,
            "tcp_keepalives_interval": 10,
            "tcp_keepalives_count": 3,
            # While other connections read for it, the transaction that writes is idle.
            "idle_in_transaction_session_timeout": 0,
            "lock_timeout": 0,
        }.items():
            connection.execute(text(f"SET {setting} = {value}"))
        connection.commit()
        connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection if held else None
