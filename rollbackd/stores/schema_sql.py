"""The tables of the state directory, as numbered migrations. Never edits one that was shipped.

Times are epoch seconds. What must hold whatever the program does is said here, to SQLite: one
active rollback per target, one incident per bad release, an audit that only grows.
"""

from __future__ import annotations

from typing import Final

_V1: Final = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # A bad release. `dedupe_key` is NULL where a person asked: people may ask twice.
    """CREATE TABLE incident (
        id TEXT PRIMARY KEY,
        target TEXT NOT NULL,
        dedupe_key TEXT UNIQUE,
        trigger TEXT,
        opened_at REAL NOT NULL
    )""",
    """CREATE TABLE rollback (
        id TEXT PRIMARY KEY,
        incident TEXT NOT NULL REFERENCES incident (id),
        target TEXT NOT NULL,
        decision TEXT NOT NULL,
        plan TEXT NOT NULL,
        plan_hash TEXT NOT NULL,
        state TEXT NOT NULL,
        outcome TEXT,
        reason TEXT NOT NULL DEFAULT '',
        fence INTEGER NOT NULL DEFAULT 1,
        owner TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        finished_at REAL
    )""",
    """CREATE UNIQUE INDEX one_active_rollback_per_target ON rollback (target)
        WHERE state IN ('pending', 'running', 'holding', 'compensating')""",
    "CREATE INDEX rollback_by_time ON rollback (target, created_at)",
    """CREATE TABLE step (
        rollback TEXT NOT NULL REFERENCES rollback (id),
        seq INTEGER NOT NULL,
        phase INTEGER NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        op_key TEXT NOT NULL UNIQUE,
        mutates INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0,
        result TEXT NOT NULL DEFAULT '{}',
        error TEXT NOT NULL DEFAULT '',
        started_at REAL,
        finished_at REAL,
        PRIMARY KEY (rollback, seq)
    )""",
    """CREATE TABLE attempt (
        id INTEGER PRIMARY KEY,
        rollback TEXT NOT NULL,
        seq INTEGER NOT NULL,
        n INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        started_at REAL NOT NULL,
        finished_at REAL,
        outcome TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX attempt_of_step ON attempt (rollback, seq, n)",
    """CREATE TABLE claim (
        rollback TEXT NOT NULL REFERENCES rollback (id),
        fence INTEGER NOT NULL,
        owner TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (rollback, fence)
    )""",
    # `rollback` is there for facts about one: told twice, they are still one fact.
    """CREATE TABLE fact (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        target TEXT NOT NULL,
        kind TEXT NOT NULL,
        rollback TEXT NOT NULL DEFAULT '',
        body TEXT NOT NULL
    )""",
    "CREATE INDEX fact_by_kind ON fact (kind, target, id)",
    "CREATE INDEX fact_by_rollback ON fact (rollback, kind, id)",
    "CREATE TABLE blob (key TEXT PRIMARY KEY, body TEXT NOT NULL, updated_at REAL NOT NULL)",
    """CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        target TEXT NOT NULL,
        rollback TEXT NOT NULL,
        data TEXT NOT NULL,
        prev_hash TEXT NOT NULL,
        hash TEXT NOT NULL
    )""",
    "CREATE INDEX audit_by_target ON audit (target, id)",
    """CREATE TRIGGER audit_is_never_rewritten BEFORE UPDATE ON audit
        BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END""",
    # Retention deletes through one guarded path (`audit.prune`), which leaves an anchor behind.
    """CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit
        WHEN NOT EXISTS (SELECT 1 FROM meta WHERE key = 'pruning')
        BEGIN SELECT RAISE (ABORT, 'the audit is append-only'); END""",
)

# Retention forgets a rollback; that its release was rolled back from must outlive it.
_V2: Final = ("ALTER TABLE incident ADD COLUMN spent_by TEXT",)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_V1, _V2)
SCHEMA_VERSION: Final = len(MIGRATIONS)
