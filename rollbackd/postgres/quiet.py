"""Tables of the real database while rows are put back into them: locked, and their triggers silent.

The app's triggers saw these rows once. Keys and references are the server's own triggers: those
stay awake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from psycopg import sql

from rollbackd.core.database import DatabasePolicy
from rollbackd.postgres import checks, histories, holding, invariants
from rollbackd.postgres.agreed import NotProven
from rollbackd.postgres.archive import Table
from rollbackd.postgres.connection import Connection
from rollbackd.postgres.locks import lock_keys
from rollbackd.postgres.staging import quoted
from rollbackd.postgres.watchdog import Watchdog

_TRIGGERS: Final = """
SELECT tgname, tgenabled::text FROM pg_trigger
WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal AND tgparentid = 0
  AND tgenabled IN ('O', 'A', 'R')
"""
_ENABLE: Final = {
    "O": "ENABLE TRIGGER",
    "A": "ENABLE ALWAYS TRIGGER",
    "R": "ENABLE REPLICA TRIGGER",
}


async def lock(
    live: Connection, dog: Watchdog, policy: DatabasePolicy, tables: Iterable[Table]
) -> None:
    """Readers stay out too: half of the rows are no answer. So do migration tools. Nothing here
    has a time limit of the server's own but a lock: the watchdog has all of it.
    """
    await holding.ours(live)
    for name, value in (
        ("lock_timeout", f"{policy.lock_timeout_seconds * 1000:.0f}ms"),
        ("statement_timeout", "0"),
        ("client_connection_check_interval", "1s"),  # killed, we keep nobody out for long
        ("idle_in_transaction_session_timeout", "0"),  # it idles while the other session is read
        ("row_security", "off"),  # an error rather than half of the rows
    ):
        await live.execute("SELECT set_config(%s, %s, true)", [name, value])
    applied = await histories.applied(live, policy.histories)
    await holding.tools(live, lock_keys(applied, database=live.info.dbname))
    async with dog.waiting():
        await holding.tables(live, {quoted(t): "AccessExclusiveLock" for t in tables})


async def silence(live: Connection, table: Table) -> dict[str, str]:
    """What has to be woken again: trigger and how it was enabled."""
    found: Any = await (await live.execute(_TRIGGERS, [quoted(table)])).fetchall()
    for name, _ in found:
        await _alter(live, table, "DISABLE TRIGGER", name)
    return dict(found)


async def wake(live: Connection, table: Table, names: Mapping[str, str]) -> None:
    for name, enabled in names.items():
        await _alter(live, table, _ENABLE[enabled], name)


async def _alter(live: Connection, table: Table, words: str, name: str) -> None:
    alter = sql.SQL("ALTER TABLE {} {} {}")
    await live.execute(alter.format(sql.Identifier(*table), sql.SQL(words), sql.Identifier(name)))


async def prove_rules(connection: Connection, policy: DatabasePolicy) -> None:
    """What the owner says must hold, of the rows as they would be. That rows of now are fewer
    afterwards is what was asked for. Raises NotProven.
    """
    least = [one for one in policy.critical_tables if one.least_rows]
    rows = await checks.count(connection, [one.table for one in least])
    few: Sequence[str] = [
        f"{one.table} would have {rows.get(one.table, 0)} rows, at least {one.least_rows} are"
        " asked for"
        for one in least
        if rows.get(one.table, 0) < one.least_rows
    ]
    if few:
        raise NotProven(few[0], hint="; ".join(few[1:]))
    if broken := await invariants.broken(connection, policy.invariants):
        raise NotProven(f"an invariant does not hold: {broken[0]}", hint="; ".join(broken[1:]))
