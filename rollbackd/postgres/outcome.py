"""Whether a transaction was committed whose end nobody heard. Asks the server, never guesses.

Source: PostgreSQL's "Transaction ID and Snapshot Information Functions": pg_xact_status answers
NULL for what is too old to be known, and an error for an id that was not given out yet.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from rollbackd.core.database import History
from rollbackd.core.ports import Clock
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.histories import applied
from rollbackd.postgres.words import Applied

_LOOK_SECONDS: Final = 0.1
_STATUS: Final = "SELECT pg_xact_status(%s::xid8)"
_END_OURS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = left(%s, 63) AND usename = session_user AND pid <> pg_backend_pid()
"""


class Outcome(enum.StrEnum):
    """What became of a transaction. `unknown`: the database is neither as before nor as after."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    IN_PROGRESS = "in_progress"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A database as a plan knows it. `schema`: the sum of its fingerprint."""

    applied: tuple[Applied, ...]
    schema: str


async def state_of(
    connection: Connection, *, histories: Sequence[History], schemas: Sequence[str]
) -> State:
    """As it is now."""
    found = await fingerprint(connection, schemas)
    return State(applied=tuple(await applied(connection, histories)), schema=found.sha256)


def same_history(one: Sequence[Applied], other: Sequence[Applied]) -> bool:
    """By which migrations, failed or not: a time or a checksum read anew is no other history."""
    return {(a.key, a.failed) for a in one} == {(a.key, a.failed) for a in other}


async def after_crash(
    connection: Connection,
    xid: str,
    *,
    before: State,
    after: State,
    histories: Sequence[History],
    schemas: Sequence[str],
) -> Outcome:
    """By the transaction's id; where the server has forgotten it, by what is there now."""
    status: str | None = None
    # An id of the future: the database was restored to an earlier time, and its ids start over.
    with contextlib.suppress(psycopg.errors.InvalidParameterValue):
        row: Any = await (await connection.execute(sql.SQL(_STATUS), [xid])).fetchone()
        status = row[0]
    if status == "in progress":
        return Outcome.IN_PROGRESS
    if status is not None:
        return Outcome(status)
    now = await state_of(connection, histories=histories, schemas=schemas)
    if now.schema == after.schema and same_history(now.applied, after.applied):
        return Outcome.COMMITTED
    if now.schema == before.schema and same_history(now.applied, before.applied):
        return Outcome.ABORTED
    return Outcome.UNKNOWN


async def settled(
    connection: Connection,
    xid: str,
    *,
    run: str,
    before: State,
    after: State,
    histories: Sequence[History],
    schemas: Sequence[str],
    clock: Clock,
    within_seconds: float,
) -> Outcome:
    """As `after_crash`, but end the session that `run` left, and wait for its end."""
    until = clock.monotonic() + within_seconds
    while True:
        found = await after_crash(
            connection, xid, before=before, after=after, histories=histories, schemas=schemas
        )
        if found is not Outcome.IN_PROGRESS or clock.monotonic() >= until:
            return found
        await connection.execute(_END_OURS, [f"rollbackd/{run}"])
        await clock.sleep(_LOOK_SECONDS)
