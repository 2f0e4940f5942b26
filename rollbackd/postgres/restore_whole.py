"""Puts all rows of a snapshot back into a database whose tables are still those of the snapshot.

Every table is emptied and filled in one transaction, proven before it is committed. No table is
dropped, so owners, privileges, row security, publications and whoever refers to them stay; the
role needs to own its tables, and no more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PlanRefused
from rollbackd.core.ports import Clock
from rollbackd.postgres import around, quiet
from rollbackd.postgres.agreed import NotProven, Stale
from rollbackd.postgres.archive import Archive, Table, read_live
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.one_commit import Deadline, Journal, committed
from rollbackd.postgres.restored import restored
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.postgres.watchdog import Watchdog
from rollbackd.postgres.words import Fingerprint

# What rows rest on. What else differs (functions, policies, privileges, indexes) stays as it is.
ROWS_REST_ON: Final = frozenset(
    {"table", "foreign table", "column", "constraint", "type", "enum", "domain", "sequence"}
)
_TABLES: Final = """
SELECT n.nspname::text, c.relname::text, c.relkind::text,
  (SELECT string_agg(q.relkind::text || ' ' || m.nspname || '.' || q.relname, ', ')
   FROM pg_inherits i JOIN pg_class q ON q.oid = i.inhrelid
   JOIN pg_namespace m ON m.oid = q.relnamespace
   WHERE i.inhparent = c.oid AND (q.relkind = 'f' OR m.nspname <> ALL (%(schemas)s)))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname = ANY (%(schemas)s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRestored:
    """`rows`: in all tables. `stale`: views that keep rows and are not ours to refresh."""

    tables: int
    rows: int
    raised: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    xid: str = ""


async def restore_whole(
    url: SecretStr,
    chosen: Snapshot,
    before: str,
    *,
    policy: DatabasePolicy,
    run: str,
    clock: Clock,
    journal: Journal,
) -> WholeRestored:
    """Committed and proven when it returns; otherwise nothing was changed, but for sequences that
    may stand further. `before`: the sum of the schema that was agreed to be left as it is.

    Raises BadSnapshot, PlanRefused, Stale, NotProven, InTheWay, OutOfTime, CommitUnknown, or what
    `connection.problem` gives.
    """
    deadline = Deadline.of(clock, policy.snapshots.limit_seconds)
    try:
        async with (
            await connect(url, name=f"{run}/beside") as source,
            restored(url, source, chosen, deadline=deadline, run=run) as (beside, archive),
        ):

            async def work(live: Connection, dog: Watchdog) -> WholeRestored:
                one = _Work(live, beside, archive, policy, chosen.manifest.schemas)
                return await one.go(dog, before)

            done = await committed(
                url, work, policy=policy, run=run, deadline=deadline, journal=journal
            )
    except psycopg.Error as error:
        raise problem(error) from error
    found = done.result
    return WholeRestored(
        tables=found.tables, rows=found.rows, raised=found.raised, stale=found.stale, xid=done.xid
    )


async def refuse_unlike(
    live: Connection, tables: Collection[Table], schemas: Collection[str]
) -> tuple[Table, ...]:
    """PlanRefused where emptying and filling these would touch, or leave, rows of others. What is
    partitioned and has to be emptied with its parts.
    """
    rows: Any = await (await live.execute(_TABLES, {"schemas": sorted(schemas)})).fetchall()
    there = {(schema, name) for schema, name, kind, _ in rows if kind == "r"}
    for what, found in (
        ("is not in the snapshot", there - set(tables)),
        ("is gone", set(tables) - there),
    ):
        if found:
            first = ".".join(min(found))
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            raise PlanRefused(f"{first} {what}{more}", hint="restore single tables: --table")
    for schema, name, _, elsewhere in rows:
        if elsewhere:
            raise PlanRefused(
                f"{schema}.{name} has parts that are not in the snapshot: {elsewhere}"
            )
    await around.refuse_outer_keys(live, {(schema, name) for schema, name, _, _ in rows})
    return tuple((schema, name) for schema, name, kind, _ in rows if kind == "p")


class _Work:
    def __init__(
        self,
        live: Connection,
        beside: Connection,
        archive: Archive,
        policy: DatabasePolicy,
        schemas: Sequence[str],
    ) -> None:
        self._live = live
        self._beside = beside
        self._archive = archive
        self._policy = policy
        self._schemas = schemas

    async def go(self, dog: Watchdog, before: str) -> WholeRestored:
        found = await self._as_agreed(before)
        tables = self._archive.tables
        parted = await refuse_unlike(self._live, tables, self._schemas)
        await quiet.lock(self._live, dog, self._policy, [*tables, *parted])
        await self._as_agreed(before)  # now nobody can change it any more
        triggers = [(t, await quiet.silence(self._live, t)) for t in (*tables, *parted)]
        ordered = await around.parents_first(self._live, tables)
        keys = await around.defer_keys(self._live, ordered)
        await self._empty(ordered, parted)
        for table in ordered:
            await self._fill(table)
        await self._live.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for statement in keys:
            await self._live.execute(statement)
        for table, names in triggers:
            await quiet.wake(self._live, table, names)
        stale = await around.refresh_views(self._live, ordered)
        for table in ordered:
            await self._live.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table)))
        await self._prove(found)
        raised = await around.raise_sequences(self._live, self._beside, self._schemas)
        rows = sum(one.count for one in tables.values())
        return WholeRestored(tables=len(ordered), rows=rows, raised=raised, stale=stale)

    async def _as_agreed(self, before: str) -> Fingerprint:
        found = await fingerprint(self._live, self._schemas)
        if found.sha256 != before:
            raise Stale("the schema changed since the plan was made", hint="make a new plan")
        return found

    async def _empty(self, tables: Sequence[Table], parted: Sequence[Table]) -> None:
        """All at once, so that they may refer to each other; nothing else goes with them."""
        listed = [sql.SQL("ONLY {}").format(sql.Identifier(*table)) for table in tables]
        listed += [sql.SQL("{}").format(sql.Identifier(*table)) for table in parted]
        if listed:
            truncate = sql.SQL("TRUNCATE {} RESTRICT").format(sql.SQL(", ").join(listed))
            await self._live.execute(truncate)

    async def _fill(self, table: Table) -> None:
        listed = sql.SQL(self._archive.tables[table].columns)
        real = sql.Identifier(*table)
        async with (
            self._beside.cursor() as reader,
            self._live.cursor() as writer,
            reader.copy(sql.SQL("COPY {} {} TO STDOUT").format(real, listed)) as copied,
            writer.copy(sql.SQL("COPY {} {} FROM STDIN").format(real, listed)) as into,
        ):
            async for rows in copied:
                await into.write(rows)

    async def _prove(self, before: Fingerprint) -> None:
        for table, rows in self._archive.tables.items():
            if await read_live(self._live, table, rows) != rows:
                raise NotProven(f"{'.'.join(table)} would not be what the snapshot has")
        await quiet.prove_rules(self._live, self._policy)
        if (await fingerprint(self._live, self._schemas)).sha256 != before.sha256:
            raise NotProven("the schema would not be what it was before")
