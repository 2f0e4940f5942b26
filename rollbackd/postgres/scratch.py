"""A database beside the real one, for as long as it is looked at. Nobody else may come in.

One that a killed process left is removed by the next who makes one.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from rollbackd.core.ports import Clock
from rollbackd.postgres.connection import Connection, connect

_PREFIX: Final = "rollbackd_scratch_"
_LEFT_SECONDS: Final = 3600.0

_MAY_CREATE: Final = """
SELECT (rolcreatedb OR rolsuper) AND NOT pg_is_in_recovery() FROM pg_roles
WHERE rolname = current_user
"""
_LEFT_BEHIND: Final = """
SELECT datname FROM pg_database d WHERE starts_with(datname, %s)
  AND pg_has_role(datdba, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)
"""


def at(url: SecretStr, database: str) -> SecretStr:
    """The same server and user, another database."""
    return SecretStr(make_conninfo(url.get_secret_value(), dbname=database))


async def allowed(connection: Connection) -> bool:
    """Whether this role may make databases here."""
    row = await (await connection.execute(_MAY_CREATE)).fetchone()
    return bool(row and row[0])


@contextlib.asynccontextmanager
async def scratch(url: SecretStr, clock: Clock, *, of: str = "") -> AsyncIterator[SecretStr]:
    """The address of a new, empty database; it is gone afterwards. Raises psycopg.Error. `of`: for
    which run; what an earlier process of the same run left goes at once.
    """
    mine = _mark(of)
    name = f"{_PREFIX}{clock.now():.0f}_{mine}{secrets.token_hex(4)}"
    named = sql.Identifier(name)
    async with await connect(url, name="scratch") as connection:
        await _remove_left(connection, clock.now(), mine)
        await connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(named))
    try:
        async with await connect(at(url, name), name="scratch") as connection:
            await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(named))
            # It is thrown away: nothing in it has to survive a crash.
            await connection.execute(
                sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(named)
            )
        yield at(url, name)
    finally:
        async with await connect(url, name="scratch") as connection:
            await connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named)
            )


async def clear(connection: Connection, clock: Clock, *, of: str) -> None:
    """What a process of that run left, which nobody is in any more."""
    await _remove_left(connection, clock.now(), _mark(of))


def _mark(of: str) -> str:
    return hashlib.sha256(of.encode()).hexdigest()[:8] if of else ""


async def _remove_left(connection: Connection, now: float, mine: str) -> None:
    left = await (await connection.execute(_LEFT_BEHIND, [_PREFIX])).fetchall()
    for (name,) in left:
        made_at, _, whose = name.removeprefix(_PREFIX).partition("_")
        ours = bool(mine) and whose.startswith(mine)
        if made_at.isdigit() and (ours or now - int(made_at) > _LEFT_SECONDS):
            with contextlib.suppress(psycopg.Error):  # somebody came in: next time
                await connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
                )
