"""What is forgotten, and when: what is both old and more than anybody reads. Never what is open.

Facts that still bind (a lock-out, a quarantine, a rollback that was) are kept for ever: a handful
per target and year.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from rollbackd.stores.admission import OPEN

EVERY_SECONDS: Final = 86_400.0
KEPT_SECONDS: Final = 400 * 86_400.0
KEPT_ROLLBACKS: Final = 10_000
ATTEMPTS_KEPT_SECONDS: Final = 90 * 86_400.0
PLANS_KEPT_SECONDS: Final = 86_400.0  # that never became a rollback
ORDERS_KEPT: Final = 200  # per target and kind; only the newest counts
_CHUNK: Final = 500  # in one transaction: a rollback that runs waits for no more than that
_PLANS: Final = "fly/plan/"
_OF_A_ROLLBACK: Final = (_PLANS, "fly/backup/", "fly/logs/", "fly/record/")
_ORDERS: Final = (
    "paused", "resumed", "approved", "rejected", "announced", "proposed", "withdrawn", "mode_set",
)  # fmt: skip


def prune(connection: sqlite3.Connection, now: float) -> int:
    """Forget one chunk, inside the caller's transaction; how many rows. 0: there is no more."""
    forgotten = _rollbacks(connection, now) + _attempts(connection, now)
    return forgotten + _orders(connection) + _plans(connection, now)


def _rollbacks(connection: sqlite3.Connection, now: float) -> int:
    """Terminal ones with all their rows. The incident stays: its release is never blamed again."""
    gone = connection.execute(
        f"SELECT id FROM rollback WHERE NOT ({OPEN}) AND finished_at < ?1"  # noqa: S608 - words of ours
        " AND rowid NOT IN (SELECT rowid FROM rollback ORDER BY rowid DESC LIMIT ?2) LIMIT ?3",
        (now - KEPT_SECONDS, KEPT_ROLLBACKS, _CHUNK),
    ).fetchall()
    for row in gone:
        connection.execute(
            "UPDATE incident SET spent_by = ?1 WHERE id = (SELECT incident FROM rollback"
            " WHERE id = ?1) AND EXISTS (SELECT 1 FROM step WHERE rollback = ?1 AND mutates"
            "  AND state IN ('started', 'done', 'unknown'))",
            (row["id"],),
        )
        for statement in (
            "DELETE FROM attempt WHERE rollback = ?",
            "DELETE FROM step WHERE rollback = ?",
            "DELETE FROM claim WHERE rollback = ?",
            "DELETE FROM rollback WHERE id = ?",
        ):
            connection.execute(statement, (row["id"],))
        for folder in _OF_A_ROLLBACK:
            connection.execute(
                "DELETE FROM blob WHERE key = ?1 OR key GLOB ?1 || '/*'", (folder + row["id"],)
            )
    return len(gone)


def _plans(connection: sqlite3.Connection, now: float) -> int:
    """What was written down for plans that nobody began: dry runs, questions that were withdrawn.
    One that is still asked is written down again every minute.
    """
    return connection.execute(
        "DELETE FROM blob WHERE key IN (SELECT key FROM blob WHERE key GLOB ?1 || '*'"
        " AND updated_at < ?2 AND substr(key, ?3, instr(substr(key, ?3), '/') - 1)"
        " NOT IN (SELECT id FROM rollback) LIMIT ?4)",
        (_PLANS, now - PLANS_KEPT_SECONDS, len(_PLANS) + 1, _CHUNK),
    ).rowcount


def _attempts(connection: sqlite3.Connection, now: float) -> int:
    return connection.execute(
        "DELETE FROM attempt WHERE id IN (SELECT a.id FROM attempt a"  # noqa: S608 - words of ours
        " JOIN rollback r ON r.id = a.rollback"
        f" WHERE a.started_at < ? AND NOT ({OPEN}) LIMIT ?)",
        (now - ATTEMPTS_KEPT_SECONDS, _CHUNK),
    ).rowcount


def _orders(connection: sqlite3.Connection) -> int:
    kinds = ", ".join("?" * len(_ORDERS))
    return connection.execute(
        "DELETE FROM fact WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER"  # noqa: S608 - words of ours
        f" (PARTITION BY target, kind ORDER BY id DESC) AS age FROM fact WHERE kind IN ({kinds}))"
        " WHERE age > ? LIMIT ?)",
        (*_ORDERS, ORDERS_KEPT, _CHUNK),
    ).rowcount
