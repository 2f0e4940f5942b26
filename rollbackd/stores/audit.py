"""The record that only grows: every line carries the hash of the one before. Judges nothing."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Final

from rollbackd.core.model import Json
from rollbackd.core.ports import Recorded
from rollbackd.stores import codec

KEPT_SECONDS: Final = 400 * 86400.0
KEPT_LINES: Final = 10_000
_GENESIS: Final = ""


def append(
    connection: sqlite3.Connection,
    kind: str,
    *,
    at: float,
    target: str = "",
    rollback: str = "",
    data: Mapping[str, Json],
) -> None:
    """Add a line, inside the caller's transaction."""
    last = connection.execute("SELECT hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    previous = _GENESIS if last is None else last["hash"]
    body = codec.text(data)
    connection.execute(
        "INSERT INTO audit (at, kind, target, rollback, data, prev_hash, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (at, kind, target, rollback, body, previous,
         _hash(previous, at, (kind, target, rollback, body))),
    )  # fmt: skip


def lines(connection: sqlite3.Connection, target: str | None, limit: int) -> list[Recorded]:
    """The newest `limit` lines, newest last; all of them where it is negative."""
    rows = connection.execute(
        "SELECT * FROM audit WHERE ?1 IS NULL OR target = ?1 ORDER BY id DESC LIMIT ?2",
        (target, limit),
    ).fetchall()
    return [
        Recorded(
            id=row["id"],
            at=row["at"],
            kind=row["kind"],
            target=row["target"],
            rollback=row["rollback"],
            data=codec.parse_object(row["data"]),
            prev_hash=row["prev_hash"],
            hash=row["hash"],
        )
        for row in reversed(rows)
    ]


def broken_at(connection: sqlite3.Connection) -> int | None:
    """The id of the first line that does not follow from the one before, or that is not there any
    more; None when all do. What was cut off the end shows by its numbers, which are not used again.
    """
    connection.execute("BEGIN")  # a line or a pruning of now must not look like a break
    try:
        return _broken_at(connection)
    finally:
        connection.execute("COMMIT")


def _broken_at(connection: sqlite3.Connection) -> int | None:
    anchor = connection.execute("SELECT value FROM meta WHERE key = 'audit_anchor'").fetchone()
    previous = _GENESIS if anchor is None else anchor["value"]
    expected = 1 if anchor is None else None  # after a pruning its hash alone tells
    for row in connection.execute("SELECT * FROM audit ORDER BY id"):
        if expected is not None and row["id"] != expected:
            return int(expected)
        wanted = _hash(
            previous, row["at"], (row["kind"], row["target"], row["rollback"], row["data"])
        )
        if row["prev_hash"] != previous or row["hash"] != wanted:
            return int(row["id"])
        previous, expected = row["hash"], row["id"] + 1
    given = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchone()
    newest = 0 if given is None else int(given["seq"])
    following = expected or 1
    return following if newest >= following else None


def prune(connection: sqlite3.Connection, now: float) -> int:
    """Drop lines that are both old and many, inside the caller's transaction.

    The hash of the last dropped line becomes the anchor, so what is left can still be checked.
    """
    last = connection.execute(
        "SELECT id, hash FROM audit WHERE at < ? AND id <= (SELECT max(id) FROM audit) - ?"
        " ORDER BY id DESC LIMIT 1",
        (now - KEPT_SECONDS, KEPT_LINES),
    ).fetchone()
    if last is None:
        return 0
    connection.execute("INSERT INTO meta VALUES ('pruning', '1')")
    dropped = connection.execute("DELETE FROM audit WHERE id <= ?", (last["id"],)).rowcount
    connection.execute("DELETE FROM meta WHERE key = 'pruning'")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('audit_anchor', ?)", (last["hash"],))
    append(connection, "pruned", at=now, data={"lines": dropped, "last_hash": last["hash"]})
    return dropped


def _hash(previous: str, at: float, words: tuple[str, ...]) -> str:
    line = "\n".join((previous, repr(float(at)), *words))
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()
