"""The facts a new process must know to go on. Keeps what it is given, concludes nothing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Final

from rollbackd.core.facts import (
    ReleasesSeen,
    RollbackEnded,
    RollbackStarted,
    RollbackSwitched,
    TargetFact,
)
from rollbackd.stores import codec

RELEASES_KEPT: Final = 200  # changes of the release list per target; a year at one every two days


def keep(connection: sqlite3.Connection, fact: TargetFact) -> None:
    """Add a fact, or none when it is known already; inside the caller's transaction."""
    match fact:
        case ReleasesSeen():
            _keep_releases(connection, fact)
        case RollbackStarted() | RollbackSwitched() | RollbackEnded():
            _keep_once(connection, fact)
        case _:
            _insert(connection, fact, rollback="")


def load(connection: sqlite3.Connection, since: float, now: float) -> list[TargetFact]:
    """In the order they entered. `since` bounds the release lists only: a lock-out has no age.

    What was heard by a clock that was later set back happened now: from a future it would keep
    out everything that comes.
    """
    rows = connection.execute(
        "SELECT kind, body FROM fact WHERE kind <> 'releases_seen' OR at >= ?"
        " OR id IN (SELECT max(id) FROM fact WHERE kind = 'releases_seen' GROUP BY target)"
        " ORDER BY id",
        (since,),
    )
    facts = (codec.fact_from(row["kind"], row["body"]) for row in rows)
    return [fact if fact.at <= now else replace(fact, at=now) for fact in facts]


def _keep_releases(connection: sqlite3.Connection, fact: ReleasesSeen) -> None:
    last = connection.execute(
        "SELECT kind, body FROM fact WHERE kind = 'releases_seen' AND target = ?"
        " ORDER BY id DESC LIMIT 1",
        (fact.target,),
    ).fetchone()
    if last is not None:
        known = codec.fact_from(last["kind"], last["body"])
        if isinstance(known, ReleasesSeen) and known.releases == fact.releases:
            return
    _insert(connection, fact, rollback="")
    connection.execute(
        "DELETE FROM fact WHERE kind = 'releases_seen' AND target = ?1 AND id NOT IN"
        " (SELECT id FROM fact WHERE kind = 'releases_seen' AND target = ?1"
        "  ORDER BY id DESC LIMIT ?2)",
        (fact.target, RELEASES_KEPT),
    )


def _keep_once(
    connection: sqlite3.Connection, fact: RollbackStarted | RollbackSwitched | RollbackEnded
) -> None:
    last = connection.execute(
        "SELECT id, kind, body FROM fact WHERE rollback = ? AND kind = ? ORDER BY id DESC LIMIT 1",
        (fact.rollback, codec.fact_kind(fact)),
    ).fetchone()
    if (
        last is None
        or _begun_anew(connection, fact, last["id"])
        or not _same(codec.fact_from(last["kind"], last["body"]), fact)
    ):
        _insert(connection, fact, rollback=fact.rollback)
    elif isinstance(fact, RollbackEnded):
        # The later telling may know more (when it was proved); its place in the order stays.
        connection.execute("UPDATE fact SET body = ? WHERE id = ?", (codec.text(fact), last["id"]))


def _begun_anew(connection: sqlite3.Connection, fact: TargetFact, since: int) -> bool:
    """Whether a person let the rollback go on after `since`: what it tells now is news."""
    if isinstance(fact, RollbackStarted):
        return False
    row = connection.execute(
        "SELECT 1 FROM fact WHERE rollback = ? AND kind = 'rollback_started' AND id > ?",
        (getattr(fact, "rollback", ""), since),
    ).fetchone()
    return row is not None


def _same(known: TargetFact, fact: TargetFact) -> bool:
    match known, fact:
        case RollbackStarted(), RollbackStarted():
            return known.at == fact.at  # begun anew by a person after a hold: another fact
        case RollbackEnded(), RollbackEnded():
            return known.outcome is fact.outcome
        case _:
            return True


def _insert(connection: sqlite3.Connection, fact: TargetFact, *, rollback: str) -> None:
    connection.execute(
        "INSERT INTO fact (at, target, kind, rollback, body) VALUES (?, ?, ?, ?, ?)",
        (fact.at, fact.target, codec.fact_kind(fact), rollback, codec.text(fact)),
    )
