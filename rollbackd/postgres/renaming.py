"""Two databases change names in the caller's transaction, in a session of a third one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from rollbackd.core.database import DatabasePolicy
from rollbackd.postgres import holding
from rollbackd.postgres.agreed import NotProven
from rollbackd.postgres.connection import Connection

# Nothing of theirs is lost: they do nothing at this moment, or are ours. Whoever does something
# else is in the way, and named.
_END: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = ANY (%s) AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND usename = session_user AND (state = 'idle' OR starts_with(application_name, 'rollbackd/'))
"""
_LEFT: Final = """
SELECT state,
  'pid ' || pid || ' (' || concat_ws('/', usename, nullif(application_name, '')) || '), '
  || coalesce(state, backend_type)
FROM pg_stat_activity WHERE datname = ANY (%s) AND pid <> pg_backend_pid()
  AND backend_type NOT LIKE 'autovacuum%%' ORDER BY pid
"""
_BUSY: Final = frozenset({"active", "idle in transaction", "idle in transaction (aborted)"})
_OF: Final = """
SELECT pg_get_userbyid(datdba)::text, datconnlimit, shobj_description(oid, 'pg_database')
FROM pg_database WHERE datname = %s
"""
_RIGHTS: Final = """
SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END,
  a.privilege_type, a.is_grantable
FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
WHERE d.datname = %s ORDER BY 1 NULLS FIRST, 2
"""
_SETTINGS: Final = """
SELECT r.rolname::text, c FROM pg_db_role_setting s
JOIN pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS c
WHERE d.datname = %s ORDER BY 1 NULLS FIRST, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """`made` becomes `live`, and `live` becomes `kept`."""

    live: str
    made: str
    kept: str

    async def go(self, connection: Connection, policy: DatabasePolicy) -> None:
        """Raises InTheWay with who has not left. What belongs to the database itself (owner,
        privileges, settings, comment) comes along, or NotProven.
        """
        both = [self.live, self.made]
        limit = f"{policy.lock_timeout_seconds * 1000:.0f}ms"
        await connection.execute("SELECT set_config('lock_timeout', %s, true)", [limit])
        await holding.ours(connection)
        await connection.execute(_END, [both])
        await self._refuse_busy(connection)  # at once: a rename waits for five seconds
        try:
            await self._rename(connection, self.live, self.kept)
            await self._rename(connection, self.made, self.live)
        except psycopg.errors.ObjectInUse as error:
            await connection.execute("ROLLBACK")
            left = [str(who) for _, who in await _rows(connection, _LEFT, [both])]
            who = "; ".join(left) or "somebody who just left"
            raise holding.InTheWay(f"the database is in use by {who}") from error
        await self._dress(connection)

    async def _refuse_busy(self, connection: Connection) -> None:
        found = await _rows(connection, _LEFT, [[self.live, self.made]])
        busy = [who for state, who in found if state in _BUSY]
        if busy:
            raise holding.InTheWay(f"the database is in use by {'; '.join(busy)}")

    async def _rename(self, connection: Connection, name: str, new: str) -> None:
        alter = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        await connection.execute(alter.format(sql.Identifier(name), sql.Identifier(new)))

    async def _dress(self, connection: Connection) -> None:
        """The new one as the old one is."""
        live = sql.Identifier(self.live)
        ((owner, most, comment),) = await _rows(connection, _OF, [self.kept])
        await connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(live))
        await connection.execute(
            sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(live, sql.Literal(most))
        )
        if comment is not None:
            await connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(live, sql.Literal(comment))
            )
        for grantee, right, grantable in await _rows(connection, _RIGHTS, [self.kept]):
            to = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
            more = sql.SQL(" WITH GRANT OPTION" if grantable else "")
            grant = sql.SQL("GRANT {} ON DATABASE {} TO {}{}")
            await connection.execute(grant.format(sql.SQL(right), live, to, more))
        await connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(live, sql.Identifier(owner))
        )
        for role, setting in await _rows(connection, _SETTINGS, [self.kept]):
            await self._set(connection, role, setting)
        for what, query in (("owner", _OF), ("privileges", _RIGHTS), ("settings", _SETTINGS)):
            was = await _rows(connection, query, [self.kept])
            if await _rows(connection, query, [self.live]) != was:
                raise NotProven(f"the {what} of the database would not be what they were")

    async def _set(self, connection: Connection, role: str | None, setting: str) -> None:
        """By way of our own transaction: so the server takes a list of names as a list."""
        name, _, value = setting.partition("=")
        await connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        whose = sql.SQL("DATABASE {}").format(sql.Identifier(self.live))
        if role is not None:
            whose = sql.SQL("ROLE {} IN DATABASE {}").format(
                sql.Identifier(role), sql.Identifier(self.live)
            )
        alter = sql.SQL("ALTER {} SET {} FROM CURRENT")
        await connection.execute(alter.format(whose, sql.Identifier(*name.split("."))))


async def _rows(connection: Connection, query: str, values: list[Any]) -> list[Any]:
    return await (await connection.execute(query.encode(), values)).fetchall()
