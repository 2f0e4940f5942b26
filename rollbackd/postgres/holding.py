"""The locks of a reversal, all at its start: what it will touch, and what other migrators respect.

Half-way through it waits for nothing more, so it is rarely one half of a deadlock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from psycopg import sql

from rollbackd.core.errors import TemporaryError
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.history_rows import parts

_OUR_KEY: Final = "hashtextextended('rollbackd:db', 0)"
# As pg_locks names them, weakest first, and as SQL does. The weaker ones are a reader's.
MODES: Final = {
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}
_STRENGTH: Final = list(MODES)
_KEY_HOLDER: Final = """
SELECT concat_ws(', ', 'pid ' || a.pid, nullif(a.application_name, ''), a.usename,
    'since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS') || ' UTC')
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::int8 << 32) | l.objid::int8 = %s
"""


class OtherRun(TemporaryError):
    """Another rollbackd is at work in this database; the message says which."""


class InTheWay(TemporaryError):
    """Somebody holds a lock that is needed. Nothing was changed."""


async def ours(connection: Connection) -> None:
    """For this transaction. OtherRun names the holder."""
    row: Any = await (await connection.execute(f"SELECT {_OUR_KEY}")).fetchone()
    if not await _try(connection, row[0]):
        raise OtherRun(f"another rollback is at work here: {await _holder(connection, row[0])}")


async def tools(connection: Connection, keys: Iterable[int]) -> None:
    """What the migration tools lock, for this transaction: a booting app waits. Raises InTheWay."""
    for key in keys:
        if not await _try(connection, key):
            raise InTheWay(f"a migration tool is at work: {await _holder(connection, key)}")


async def histories(connection: Connection, names: Iterable[str]) -> None:
    """Nobody adds or takes a row until the end of the transaction; everybody may read."""
    for name in sorted(names):
        table = sql.Identifier(*parts(name))
        statement = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table)
        await connection.execute(statement)


async def tables(connection: Connection, modes: Mapping[str, str]) -> None:
    """Sorted, in the mode that the rehearsal saw. psycopg's LockNotAvailable after lock_timeout."""
    for table in sorted(modes):
        mode = sql.SQL(MODES[modes[table]])
        statement = sql.SQL("LOCK TABLE ONLY {} IN {} MODE").format(sql.SQL(table), mode)
        await connection.execute(statement)


def stronger(one: str, other: str) -> str:
    return max(one, other, key=_STRENGTH.index)


async def _try(connection: Connection, key: int) -> bool:
    asked = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
    return await asked.fetchone() == (True,)


async def _holder(connection: Connection, key: int) -> str:
    row: Any = await (await connection.execute(_KEY_HOLDER, [key])).fetchone()
    return row[0] if row else "it just ended"
