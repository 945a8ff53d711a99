"""The partitions of the inbox, and which of them `retention: partitions` may drop."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from src.components.inbox import purge_plan
from src.components.inbox.purge_plan import EXPIRED
from src.components.inbox.states import Inbox

NONE = (
    "`retention: partitions` needs a table that is partitioned by range and has a default "
    "partition; rows are deleted instead: see Documentation/large-inbox.md"
)


@dataclass(frozen=True)
class Partitions:
    """The partitions of an inbox that is partitioned by range, by their names as SQL wants them.

    Attributes:
        default: for rows that have no other; it is never dropped.
        ranges: the others, in the order in which they were made.
        owned: whether the role that is logged in may use and drop all of them.
    """

    default: str
    ranges: list[str]
    owned: bool


def find(inbox: Inbox) -> Partitions | None:
    """The partitions of the inbox, or None when it has none that may be dropped.

    Without a default partition nobody could insert late rows of one that was dropped, and they
    would be lost. So the table must be partitioned by range and have one.
    """
    query = text("""
        SELECT CAST(CAST(c.oid AS regclass) AS text) AS name, c.oid = p.partdefid AS is_default,
               pg_has_role(c.relowner, 'USAGE') AS owned
        FROM pg_partitioned_table AS p
        JOIN pg_inherits AS i ON i.inhparent = p.partrelid
        JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE p.partrelid = to_regclass(quote_ident(:name))
          AND p.partstrat = 'r' AND p.partdefid <> 0
        ORDER BY c.oid""")
    found = inbox.connection.execute(query, {"name": inbox.names.online.name}).all()
    if not found:
        return None
    # A colon would look like a parameter of the statement.
    names = {each.name.replace(":", "\\:"): each for each in found}
    (default,) = (name for name, each in names.items() if each.is_default)
    ranges = [name for name in names if name != default]
    return Partitions(default, ranges, owned=all(each.owned for each in found))


def of_no_range(inbox: Inbox, partitions: Partitions) -> str:
    """SQL of those phases of EXPIRED that go with no partition: with rows in the default one."""
    there = f"SELECT FROM {partitions.default} AS t WHERE {purge_plan.same_phase(inbox)}"
    return f"SELECT * FROM ({EXPIRED}) AS s WHERE EXISTS ({there})"


def doubts(inbox: Inbox) -> list[str]:
    """Why rows will not go with their partitions, and what to do: sentences for people."""
    if inbox.spec.prediction.retention != "partitions":
        return []
    table, found = inbox.names.online.name, find(inbox)
    if found is None:
        return [f"{table}: {NONE}"]
    if not found.owned:
        return [f"DB_USERNAME may not drop partitions of {table}: grant it the role of their owner"]
    if inbox.connection.scalar(text(f"SELECT EXISTS (SELECT FROM {found.default})")):
        return [
            f"rows lie in {found.default}, which is never dropped: make partitions before their "
            "time comes, see Documentation/large-inbox.md"
        ]
    return []
