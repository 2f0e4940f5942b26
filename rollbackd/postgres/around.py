"""What depends on rows that come back, and is not brought back by copying them: sequences, views
that keep rows of their own, keys between tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from psycopg import sql

from rollbackd.core.errors import PlanRefused
from rollbackd.postgres.archive import Table
from rollbackd.postgres.connection import Connection

_SEQUENCES: Final = """
SELECT schemaname::text, sequencename::text, last_value, increment_by > 0
FROM pg_sequences WHERE schemaname = ANY (%s) AND last_value IS NOT NULL
"""
# A view on a view on a table is reached in that order: nothing there can go in a ring.
_KEPT_VIEWS: Final = """
WITH RECURSIVE given AS (
  SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
), depends AS (
  SELECT DISTINCT w.ev_class AS view, d.refobjid AS on_what
  FROM pg_rewrite w JOIN pg_depend d
    ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    AND d.refclassid = 'pg_class'::regclass
  WHERE d.refobjid <> w.ev_class
), reached (oid, depth) AS (
  SELECT oid, 0 FROM given
  UNION SELECT a.relid, 0 FROM given, pg_partition_ancestors(given.oid) a
  UNION SELECT p.view, r.depth + 1 FROM reached r JOIN depends p ON p.on_what = r.oid
)
SELECT n.nspname::text, c.relname::text, pg_has_role(c.relowner, 'USAGE')
FROM reached r JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated
GROUP BY 1, 2, 3 ORDER BY max(r.depth), 1, 2
"""
_KEYS: Final = """
SELECT cn.nspname::text, c.relname::text, pn.nspname::text, p.relname::text, k.conname::text,
  k.condeferrable
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
"""


async def raise_sequences(
    live: Connection, beside: Connection, schemas: Collection[str]
) -> tuple[str, ...]:
    """To where the snapshot had them, never back: a number that was given out once is not given
    out again. Not undone by a rollback, and harmless then. Which were raised.
    """
    now = {(s, n): value for s, n, value, _ in await _sequences(live, schemas)}
    raised = []
    for schema, name, value, rises in await _sequences(beside, schemas):
        has = now.get((schema, name))
        if has is not None and (has >= value if rises else has <= value):
            continue
        there = await live.execute(
            "SELECT to_regclass(%s) IS NOT NULL", [sql.Identifier(schema, name).as_string(live)]
        )
        if await there.fetchone() == (True,):
            whole = sql.Identifier(schema, name).as_string(live)
            await live.execute("SELECT setval(%s::regclass, %s)", [whole, value])
            raised.append(f"{schema}.{name}")
    return tuple(raised)


async def _sequences(connection: Connection, schemas: Collection[str]) -> list[Any]:
    return await (await connection.execute(_SEQUENCES, [sorted(schemas)])).fetchall()


async def refresh_views(live: Connection, tables: Iterable[Table]) -> tuple[str, ...]:
    """Those that keep rows of these tables, one after what it rests on. The names of what is not
    ours to refresh.
    """
    pairs = sorted(tables)
    asked = await live.execute(_KEPT_VIEWS, [[s for s, _ in pairs], [t for _, t in pairs]])
    foreign = []
    for schema, name, ours in await asked.fetchall():
        if ours:
            view = sql.Identifier(schema, name)
            await live.execute(sql.SQL("REFRESH MATERIALIZED VIEW {}").format(view))
        else:
            foreign.append(f"{schema}.{name}")
    return tuple(foreign)


async def refuse_outer_keys(live: Connection, tables: Collection[Table]) -> None:
    """PlanRefused where rows that do not come back refer to those that do."""
    for schema, child, other, parent, name, _ in await _keys(live):
        if (other, parent) in tables and (schema, child) not in tables:
            raise PlanRefused(
                f"{schema}.{child} refers to {other}.{parent} ({name}), and is not in the snapshot",
                hint="restore single tables: --table",
            )


async def defer_keys(live: Connection, order: Sequence[Table]) -> tuple[sql.Composed, ...]:
    """Let keys that point backwards in `order` be checked at the end; what makes them as they were
    is returned, to be sent once they were checked.
    """
    place = {table: at for at, table in enumerate(order)}
    back = []
    for schema, child, other, parent, name, deferrable in await _keys(live):
        at, of = place.get((schema, child)), place.get((other, parent))
        if deferrable or (at is not None and of is not None and of <= at):
            continue
        alter = sql.SQL("ALTER TABLE {} ALTER CONSTRAINT {} ").format(
            sql.Identifier(schema, child), sql.Identifier(name)
        )
        if at is None and of is None and not await _partitioned(live, (schema, child), place):
            continue
        await live.execute(alter + sql.SQL("DEFERRABLE INITIALLY DEFERRED"))
        back.append(alter + sql.SQL("NOT DEFERRABLE"))
    await live.execute("SET CONSTRAINTS ALL DEFERRED")
    return tuple(back)


async def _partitioned(live: Connection, table: Table, place: Collection[Table]) -> bool:
    """Whether any of these is a partition of it."""
    query = """
    SELECT n.nspname::text, c.relname::text FROM pg_partition_tree(to_regclass(%s)) p
    JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace
    """
    whole = sql.Identifier(*table).as_string(live)
    rows: Any = await (await live.execute(query, [whole])).fetchall()
    return any((schema, name) in place for schema, name in rows)


async def _keys(live: Connection) -> list[Any]:
    return await (await live.execute(_KEYS)).fetchall()


async def parents_first(live: Connection, tables: Collection[Table]) -> list[Table]:
    """By the keys between them; those that refer to each other in a ring as they come."""
    parents: dict[Table, set[Table]] = {table: set() for table in tables}
    for child_schema, child, schema, parent, *_ in await _keys(live):
        one, other = (child_schema, child), (schema, parent)
        if one in parents and other in parents and one != other:
            parents[one].add(other)
    ordered: dict[Table, None] = {}
    while left := sorted(table for table in parents if table not in ordered):
        ready = [t for t in left if all(p in ordered for p in parents[t])]
        ordered |= dict.fromkeys(ready or left)
    return list(ordered)
