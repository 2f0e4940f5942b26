"""Puts rows of a snapshot back into tables that live on: missing ones only, or all as they were.

The tables themselves stay, and so do views, policies, privileges and whatever refers to them. All
tables in one transaction, proven before it is committed.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PlanRefused
from rollbackd.core.ports import Clock
from rollbackd.postgres import checks, holding, staging
from rollbackd.postgres.agreed import NotProven
from rollbackd.postgres.archive import Archive, Table, read_live
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.restored import restored
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.postgres.staging import quoted
from rollbackd.postgres.watchdog import Watchdog

_TRIGGERS: Final = """
SELECT tgname, tgenabled::text FROM pg_trigger
WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal AND tgenabled IN ('O', 'A', 'R')
"""
_ENABLE: Final = {
    "O": "ENABLE TRIGGER",
    "A": "ENABLE ALWAYS TRIGGER",
    "R": "ENABLE REPLICA TRIGGER",
}
_REFERS_TO: Final = """
SELECT cn.nspname, c.relname, pn.nspname, p.relname FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND c.oid <> p.oid
"""


class How(enum.StrEnum):
    """`missing`: rows whose primary key is not there. `exact`: the table as it was, no row more."""

    MISSING = "missing"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsRestored:
    """By table: rows added, put back as they were, and taken away. `seconds` of locks."""

    added: Mapping[str, int]
    changed: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    locked_seconds: float = 0.0


async def restore_rows(
    url: SecretStr,
    chosen: Snapshot,
    tables: Sequence[Table],
    how: How,
    *,
    policy: DatabasePolicy,
    run: str,
    clock: Clock,
) -> RowsRestored:
    """Committed and proven when it returns; otherwise nothing was changed.

    Raises BadSnapshot, PlanRefused (a table has no primary key, or no longer fits), NotProven,
    InTheWay, or what `connection.problem` gives.
    """
    limit = policy.snapshots.limit_seconds
    try:
        async with (
            await connect(url, name=run) as live,
            await connect(url, name=f"{run}/watch") as own,
            restored(url, live, chosen, limit_seconds=limit, clock=clock) as (beside, archive),
        ):
            dog = Watchdog(own, live.info.backend_pid, clock)
            work = _Work(live, beside, archive, dog, policy=policy, clock=clock)
            try:
                return await work.go(tables, how)
            except psycopg.errors.LockNotAvailable as error:
                who = "; ".join(map(str, dog.seen)) or "nobody that can be seen"
                raise holding.InTheWay(f"a lock is held by {who}") from error
    except psycopg.Error as error:
        raise problem(error) from error


class _Work:
    def __init__(
        self,
        live: Connection,
        beside: Connection,
        archive: Archive,
        dog: Watchdog,
        *,
        policy: DatabasePolicy,
        clock: Clock,
    ) -> None:
        self._live = live
        self._beside = beside
        self._archive = archive
        self._dog = dog
        self._policy = policy
        self._clock = clock

    async def go(self, tables: Sequence[Table], how: How) -> RowsRestored:
        for table in tables:
            if table not in self._archive.tables:
                raise PlanRefused(f"{'.'.join(table)} is not in the snapshot")
        before = await fingerprint(self._live, self._policy.schemas)
        ordered = await self._ordered(tables)
        async with self._live.transaction(), self._dog.within(self._policy.snapshots.limit_seconds):
            began_at = await self._lock(ordered)
            others = await self._others(ordered)
            triggers = [(table, await self._silence(table)) for table in ordered]
            stages = [await self._stage(n, table) for n, table in enumerate(ordered)]
            done = await self._write(stages, how)
            for table, names in triggers:
                await self._wake(table, names)
            await self._live.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await self._prove(stages, how)
            if await self._others(ordered) != others:
                raise NotProven("rows of tables that refer to these would go too")
            if (await fingerprint(self._live, self._policy.schemas)).sha256 != before.sha256:
                raise NotProven("the schema would not be what it was before")
        added, changed, removed = done
        return RowsRestored(
            added=added,
            changed=changed,
            removed=removed,
            locked_seconds=self._clock.monotonic() - began_at,
        )

    async def _lock(self, tables: Sequence[Table]) -> float:
        """When the first was locked. Readers stay out too: half of the rows are no answer."""
        await holding.ours(self._live)
        for name, value in (
            ("lock_timeout", f"{self._policy.lock_timeout_seconds * 1000:.0f}ms"),
            ("row_security", "off"),
        ):
            await self._live.execute("SELECT set_config(%s, %s, true)", [name, value])
        began_at = self._clock.monotonic()
        async with self._dog.waiting():
            await holding.tables(self._live, {quoted(t): "AccessExclusiveLock" for t in tables})
        return began_at

    async def _ordered(self, tables: Sequence[Table]) -> list[Table]:
        """Parents first; those that refer to each other in a ring as they come."""
        rows: Any = await (await self._live.execute(_REFERS_TO)).fetchall()
        parents: dict[Table, set[Table]] = {table: set() for table in tables}
        for child_schema, child, schema, parent in rows:
            if (child_schema, child) in parents and (schema, parent) in parents:
                parents[child_schema, child].add((schema, parent))
        ordered: list[Table] = []
        while left := sorted(set(parents) - set(ordered)):
            ordered += [t for t in left if parents[t] <= set(ordered)] or left
        return ordered

    async def _others(self, tables: Sequence[Table]) -> dict[str, int]:
        """Rows of what refers to these tables: a cascade would reach them."""
        rows: Any = await (await self._live.execute(_REFERS_TO)).fetchall()
        children = {(cs, c) for cs, c, ps, p in rows if (ps, p) in tables and (cs, c) not in tables}
        return await checks.count(self._live, sorted(map(quoted, children)))

    async def _silence(self, table: Table) -> dict[str, str]:
        """The app's triggers saw these rows once; keys and references are still checked."""
        found = await (await self._live.execute(_TRIGGERS, [quoted(table)])).fetchall()
        for name, _ in found:
            await self._alter(table, "DISABLE TRIGGER", name)
        return dict(found)

    async def _wake(self, table: Table, names: Mapping[str, str]) -> None:
        for name, enabled in names.items():
            await self._alter(table, _ENABLE[enabled], name)

    async def _alter(self, table: Table, words: str, name: str) -> None:
        alter = sql.SQL("ALTER TABLE {} {} {}")
        await self._live.execute(
            alter.format(sql.Identifier(*table), sql.SQL(words), sql.Identifier(name))
        )

    async def _stage(self, number: int, table: Table) -> staging.Stage:
        rows = self._archive.tables[table]
        return await staging.staged(self._live, self._beside, table, rows, number)

    async def _write(
        self, stages: Sequence[staging.Stage], how: How
    ) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Added, changed and removed, by table. Children go before their parents, come after."""
        removed, changed, added = {}, {}, {}
        if how is How.EXACT:
            for stage in reversed(stages):
                removed[".".join(stage.table)] = await staging.take_away(self._live, stage)
        for stage in stages:
            added[".".join(stage.table)] = await staging.add_missing(self._live, stage)
        if how is How.EXACT:
            for stage in stages:
                changed[".".join(stage.table)] = await staging.put_right(self._live, stage)
        return added, changed, removed

    async def _prove(self, stages: Sequence[staging.Stage], how: How) -> None:
        for stage in stages:
            name = ".".join(stage.table)
            if missing := await staging.still_missing(self._live, stage):
                raise NotProven(f"{name} would still miss {missing} rows")
            rows = self._archive.tables[stage.table]
            if how is How.EXACT and await read_live(self._live, stage.table, rows) != rows:
                raise NotProven(f"{name} would not be what the snapshot has")
