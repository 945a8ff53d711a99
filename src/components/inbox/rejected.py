"""Rows that could not be scored: which they are, and how they get another chance after a fix."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import text

from src.components.inbox.states import Inbox
from src.components.inbox.stock import N_ROWS, SCORED_FROM, STATE
from src.components.predictor.reasons import Reason
from src.errors import DataError
from src.safe_text import short

logger = logging.getLogger(__name__)


def summary(inbox: Inbox) -> list[dict[str, Any]]:
    """Rejected rows by reason and phase: both keys, reason, N_ROWS, run_id and rejected_at.

    The last two are those of the newest row; newest first.
    """
    experiment, phase = inbox.keys
    keys = ", ".join(f'{inbox.rejected.read(key)} AS "{key}"' for key in inbox.spec.columns.keys)
    query = f"""
        SELECT {experiment}, {phase}, reason, count(*) AS {N_ROWS}, max(run_id) AS run_id,
               max(rejected_at) AS rejected_at
        FROM (SELECT {keys}, reason, run_id, rejected_at FROM "{inbox.names.rejected.name}") AS rows
        GROUP BY {experiment}, {phase}, reason
        ORDER BY rejected_at DESC, {experiment}, {phase}"""
    return [dict(row) for row in inbox.connection.execute(text(query)).mappings()]


def replay(
    inbox: Inbox, reason: str | None = None, experiment: Any = None, reopen: bool = False
) -> int:
    """Move rejected rows back into the inbox, where the next prediction looks at them again.

    Args:
        inbox: its connection holds the inbox.
        reason, experiment: only such rows.
        reopen: let phases be scored again whose raw rows were removed, because all of their rows
            are there again: loaded once more, or among the rejected ones.

    Returns:
        The number of rows moved.

    Raises:
        DataError: when a phase to be reopened has fewer rows than it was once scored from. Nothing
            is moved then.
    """
    with inbox.connection.begin():
        moved, differs = inbox.connection.execute(
            text(_move_back(inbox, reason, experiment)),
            {"reason": reason, "experiment": experiment},
        ).one()
        if differs:
            raise DataError(
                f"{inbox.names.online.name} computes {', '.join(_generated(inbox))} from columns "
                "that rejected rows do not keep, so it would not get their values back: drop the "
                "expression of the column, or insert these rows yourself; nothing was moved"
            )
        if reopen:
            _reopen(inbox, experiment)
    logger.info("%d rows are back in %s", moved, inbox.names.online.name)
    return int(moved)


def _move_back(inbox: Inbox, reason: str | None, experiment: Any) -> str:
    """SQL that moves rows; it counts them, and tells whether a generated column differs."""
    conditions = ["reason = :reason"] if reason else []
    if experiment is not None:
        key = inbox.rejected.read(inbox.spec.columns.experiment)
        conditions.append(f"{key} = :experiment")
    columns, generated = inbox.spec.columns.online, _generated(inbox)
    values = ", ".join(f'{inbox.rejected.read(name)} AS "{name}"' for name in columns)
    assigned = [name for name in columns if name not in generated]
    insert = f"""
          INSERT INTO "{inbox.names.online.name}" ({", ".join(f'"{name}"' for name in assigned)})
          SELECT {", ".join(inbox.online.write(name) for name in assigned)} FROM back"""
    differs = "false"
    if generated:
        insert += f" RETURNING {', '.join(inbox.online.read(name) for name in generated)}"
        before = ", ".join(f'"{name}"' for name in generated)
        differs = f"EXISTS (SELECT {before} FROM back EXCEPT ALL SELECT * FROM inserted)"
    return f"""
        WITH back AS (
          DELETE FROM "{inbox.names.rejected.name}" WHERE {" AND ".join(conditions) or "true"}
          RETURNING {values}
        ), inserted AS ({insert})
        SELECT count(*), {differs} FROM back"""


def _generated(inbox: Inbox) -> list[str]:
    """Columns of the inbox that PostgreSQL computes, and nobody may write."""
    existing = inbox.online.columns
    return [
        name for name in inbox.spec.columns.online if name in existing and existing[name].generated
    ]


def _reopen(inbox: Inbox, experiment: Any) -> None:
    """Clear the note of the purge for phases all of whose rows are in the inbox again."""
    keys = [f'"{key}"' for key in inbox.spec.columns.keys]
    late = f"SELECT * FROM ({inbox.states()}) AS s WHERE {STATE} = '{Reason.LATE_AFTER_PURGE}'"
    if experiment is not None:
        late += f" AND {keys[0]} = :experiment"
    binds = {**inbox.binds(), "experiment": experiment}
    incomplete = f"SELECT * FROM ({late}) AS late WHERE n_samples < {SCORED_FROM} LIMIT 1"
    if phase := inbox.connection.execute(text(incomplete), binds).mappings().first():
        name, value = inbox.spec.columns.keys
        experiment_shown = short(str(phase[name]))
        raise DataError(
            f"{name}={experiment_shown}, {value}={phase[value]} was scored from "
            f"{phase[SCORED_FROM]} rows, and {phase['n_samples']} are there: `impress load` "
            "those that were removed, or name another --experiment; nothing was moved"
        )
    same = " AND ".join(f"a.{key} = late.{key}" for key in keys)
    forget = f"""
        UPDATE "{inbox.names.archived.name}" AS a SET purged_at = NULL
        FROM ({late}) AS late WHERE {same}"""
    phases = inbox.connection.execute(text(forget), binds).rowcount
    logger.info("%d predictions no longer count as purged", phases)
