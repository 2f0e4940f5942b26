"""Past rollbacks as JSON for people and the API. Reads only."""

from __future__ import annotations

import sqlite3

from rollbackd.core.model import Json, JsonObject, RollbackId, TargetName
from rollbackd.core.runbook import Journal
from rollbackd.stores import codec, journal_rows


def load(
    connection: sqlite3.Connection, target: TargetName | None, limit: int, now: float
) -> list[JsonObject]:
    """Newest first."""
    rows = connection.execute(
        "SELECT * FROM rollback WHERE ?1 IS NULL OR target = ?1"
        " ORDER BY created_at DESC, rowid DESC LIMIT ?2",
        (target, limit),
    ).fetchall()
    return [_entry(row, journal_rows.load(connection, RollbackId(row["id"]), now)) for row in rows]


def one(connection: sqlite3.Connection, rollback: RollbackId, now: float) -> JsonObject | None:
    row = connection.execute("SELECT * FROM rollback WHERE id = ?", (rollback,)).fetchone()
    return None if row is None else _entry(row, journal_rows.load(connection, rollback, now))


def _entry(row: sqlite3.Row, journal: Journal) -> JsonObject:
    decision = codec.rollback_from(row["decision"])
    return {
        "id": row["id"],
        "target": row["target"],
        "state": row["state"],
        "outcome": row["outcome"],
        "detail": row["reason"],
        "trigger": decision.trigger,
        "why": decision.why,
        "requested_by": decision.requested_by,
        "undoes": decision.undoes,
        "plan": journal.plan.name,
        "plan_hash": journal.plan.hash,
        "from_version": journal.plan.from_version,
        "to_version": journal.plan.to_version,
        "onset_at": decision.onset_at,
        "decided_at": decision.at,
        "created_at": row["created_at"],
        "recovered_at": _proof(journal, "recovered_at"),
        "proved_at": _proof(journal, "proved_at"),
        "finished_at": row["finished_at"],
        "notes": list(journal.plan.notes),
        "evidence": codec.plain(decision.evidence),
        "steps": _steps(journal),
    }


def _proof(journal: Journal, name: str) -> Json:
    """A time of the last step's proof; None while, or when, it is not proved."""
    found = (r.result.get(name) for r in journal.rows if r.step.kind == "prove")
    return next(found, None)


def _steps(journal: Journal) -> list[Json]:
    return [
        {
            "seq": r.step.seq,
            "phase": r.step.phase.value,
            "kind": r.step.kind,
            "name": r.step.name,
            "state": r.state.value,
            "attempts": r.attempts,
            "result": codec.plain(r.result),
            "error": r.error,
            "started_at": r.started_at,
            "finished_at": r.finished_at,
        }
        for r in journal.rows
    ]
