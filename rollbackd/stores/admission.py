"""Whether a rollback may be opened: one at a time, and one automatic one per bad release, ever.

The last gate, on disk: whatever the engine believes, a second one is refused here.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from rollbackd.core.errors import Rejected
from rollbackd.core.model import RollBack, TargetName
from rollbackd.core.runbook import Plan, RollbackState

TRIES_BEFORE_EFFECT: Final = 3
_TERMINAL: Final = tuple(state.value for state in RollbackState if state.terminal)
OPEN: Final = f"state NOT IN ({', '.join(repr(word) for word in _TERMINAL)})"


def refuse_second(connection: sqlite3.Connection, target: TargetName) -> None:
    row = connection.execute(
        f"SELECT id, state FROM rollback WHERE target = ? AND {OPEN}",  # noqa: S608 - words of ours
        (target,),
    ).fetchone()
    if row is not None:
        raise Rejected(
            f"{target} has a rollback already: {row['id']} is {row['state']}",
            hint="wait for it; one that holds is ended by: rollbackd unlock",
        )


def refuse_repeat(connection: sqlite3.Connection, key: str, decision: RollBack) -> None:
    """The key binds once an effect was applied; a failure before that, or one whose few effects
    were undone, may be tried again.
    """
    tries = connection.execute(
        "SELECT r.id, r.state <> 'compensated' AND EXISTS"
        "  (SELECT 1 FROM step s WHERE s.rollback = r.id AND s.mutates"
        "  AND s.state IN ('started', 'done', 'unknown')) AS applied"
        " FROM rollback r JOIN incident i ON i.id = r.incident WHERE i.dedupe_key = ?",
        (key,),
    ).fetchall()
    pruned = connection.execute(
        "SELECT spent_by AS id, 1 AS applied FROM incident"
        " WHERE dedupe_key = ? AND spent_by IS NOT NULL",
        (key,),
    ).fetchall()
    spent = next((row["id"] for row in (*tries, *pruned) if row["applied"]), None)
    if spent is not None:
        raise Rejected(
            f"v{decision.bad.version} of {decision.target} was already rolled back from: {spent}",
            hint="one automatic rollback per bad release; a person can: rollbackd rollback",
        )
    if len(tries) >= TRIES_BEFORE_EFFECT:
        raise Rejected(
            f"rolling back from v{decision.bad.version} of {decision.target} failed"
            f" {len(tries)} times before touching anything",
            hint="see rollbackd history, then: rollbackd rollback",
        )


def incident(
    connection: sqlite3.Connection, decision: RollBack, plan: Plan, key: str | None
) -> str:
    connection.execute(
        "INSERT INTO incident (id, target, dedupe_key, trigger, opened_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (dedupe_key) DO NOTHING",
        (plan.rollback, plan.target, key, decision.trigger, decision.onset_at or decision.at),
    )
    row = connection.execute(
        "SELECT id FROM incident WHERE dedupe_key = ? OR id = ?", (key, plan.rollback)
    ).fetchone()
    return str(row["id"])
