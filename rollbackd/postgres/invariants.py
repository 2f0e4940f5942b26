"""Asks the invariants: SQL that the owner says must hold. Changes nothing, wherever it asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import psycopg
from psycopg import errors

from rollbackd.core.database import Invariant
from rollbackd.postgres.connection import Connection

MOST_ROWS: Final = 100  # counted of what breaks one
# What it asks about is gone. That is no accident of asking: it does not hold.
_GONE: Final = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InvalidSchemaName,
)


async def broken(connection: Connection, invariants: Iterable[Invariant]) -> tuple[str, ...]:
    """One line for each that does not hold: its name, and how it is broken. No values of rows.

    Sees what the transaction of the connection has changed, and leaves that as it is. Raises
    psycopg.Error where one cannot be asked: no privilege, too slow, no database.
    """
    found = [(one.name, await _how(connection, one.sql)) for one in invariants]
    return tuple(f"{name}: {how}" for name, how in found if how)


async def _how(connection: Connection, sql: str) -> str:
    """How it is broken, "" where it holds."""
    try:
        # Rolled back, so that neither "read only" nor a failed query outlives it.
        async with connection.transaction(force_rollback=True):
            await connection.execute("SET LOCAL transaction_read_only = on")
            rows = await _rows(connection, sql)
    except _GONE as error:
        return f"what it asks about is not there ({error.sqlstate})"
    if len(rows) == 1 and len(rows[0]) == 1 and isinstance(rows[0][0], bool):
        return "" if rows[0][0] else "false"
    if len(rows) > MOST_ROWS:
        return f"more than {MOST_ROWS} rows"
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''}" if rows else ""


async def _rows(connection: Connection, sql: str) -> list[tuple[object, ...]]:
    # A line of its own: the query may end in a comment. A binary answer makes it the extended
    # protocol, which takes one statement only.
    wrapped = f"SELECT * FROM (\n{sql}\n) AS invariant LIMIT {MOST_ROWS + 1}"  # noqa: S608 -- the owner's
    async with psycopg.AsyncCursor[tuple[object, ...]](connection) as cursor:
        await cursor.execute(wrapped, binary=True)
        return await cursor.fetchall()
