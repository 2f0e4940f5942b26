"""Puts rows of a snapshot back into tables that live on: missing ones only, or all as they were.

The tables themselves stay, and so do policies, privileges and whatever refers to them. All tables
in one transaction, proven before it is committed.
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
from rollbackd.postgres import around, checks, quiet, staging
from rollbackd.postgres.agreed import NotProven
from rollbackd.postgres.archive import Archive, Rows, Table, read_live
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.one_commit import Deadline, Journal, committed
from rollbackd.postgres.restored import restored
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.postgres.staging import quoted
from rollbackd.postgres.watchdog import Watchdog

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
    """By table: rows added, put back as they were, and taken away. `seconds` of locks. `stale`:
    views that keep rows of these tables and are not ours to refresh.
    """

    added: Mapping[str, int]
    changed: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    locked_seconds: float = 0.0
    stale: tuple[str, ...] = ()
    xid: str = ""


async def restore_rows(
    url: SecretStr,
    chosen: Snapshot,
    tables: Sequence[Table],
    how: How,
    *,
    policy: DatabasePolicy,
    run: str,
    clock: Clock,
    journal: Journal,
    common: bool = False,
) -> RowsRestored:
    """Committed and proven when it returns; otherwise nothing was changed. `journal` has the
    transaction's id on disk when it returns. `common`: only columns that are there in both.

    Raises BadSnapshot, PlanRefused (a table has no primary key, or no longer fits), NotProven,
    InTheWay, OutOfTime, CommitUnknown, or what `connection.problem` gives.
    """
    deadline = Deadline.of(clock, policy.snapshots.limit_seconds)
    try:
        async with (
            await connect(url, name=f"{run}/beside") as source,
            restored(url, source, chosen, deadline=deadline, run=run) as (beside, archive),
        ):

            async def work(live: Connection, dog: Watchdog) -> RowsRestored:
                one = _Work(live, beside, archive, policy=policy, clock=clock, common=common)
                return await one.go(dog, tables, how, chosen.manifest.schemas)

            done = await committed(
                url, work, policy=policy, run=run, deadline=deadline, journal=journal
            )
    except psycopg.Error as error:
        raise problem(error) from error
    found = done.result
    return RowsRestored(
        added=found.added,
        changed=found.changed,
        removed=found.removed,
        locked_seconds=found.locked_seconds,
        stale=found.stale,
        xid=done.xid,
    )


async def columns_of(live: Connection, table: Table, rows: Rows, *, common: bool) -> Rows:
    """Which columns come back. PlanRefused where one is gone and nobody said `common`."""
    query = """SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s)
    AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
    found = {name for (name,) in await (await live.execute(query, [quoted(table)])).fetchall()}
    if not found:
        raise PlanRefused(f"{'.'.join(table)} is gone, or has no columns")
    gone = [name for name in rows.names if name not in found]
    if gone and not common:
        raise PlanRefused(
            f"{'.'.join(table)} has no column {', '.join(gone)} any more",
            hint="--common-columns restores the others",
        )
    if not gone:
        return rows
    kept = ", ".join(sql.Identifier(name).as_string() for name in rows.names if name in found)
    return Rows(f"({kept})", -1, 0)


class _Work:
    def __init__(
        self,
        live: Connection,
        beside: Connection,
        archive: Archive,
        *,
        policy: DatabasePolicy,
        clock: Clock,
        common: bool,
    ) -> None:
        self._live = live
        self._beside = beside
        self._archive = archive
        self._policy = policy
        self._clock = clock
        self._common = common

    async def go(
        self, dog: Watchdog, tables: Sequence[Table], how: How, schemas: Sequence[str]
    ) -> RowsRestored:
        for table in tables:
            if table not in self._archive.tables:
                raise PlanRefused(f"{'.'.join(table)} is not in the snapshot")
        ordered = await around.parents_first(self._live, tables)
        await quiet.lock(self._live, dog, self._policy, ordered)
        began_at = self._clock.monotonic()
        before = await fingerprint(self._live, self._policy.schemas)
        others = await self._others(ordered)
        triggers = [(table, await quiet.silence(self._live, table)) for table in ordered]
        stages = [await self._stage(n, table) for n, table in enumerate(ordered)]
        done = await self._write(stages, how)
        for table, names in triggers:
            await quiet.wake(self._live, table, names)
        await self._live.execute("SET CONSTRAINTS ALL IMMEDIATE")
        stale = await around.refresh_views(self._live, ordered)
        await self._prove(stages, how)
        if await self._others(ordered) != others:
            raise NotProven("rows of tables that refer to these would go too")
        await quiet.prove_rules(self._live, self._policy)
        if (await fingerprint(self._live, self._policy.schemas)).sha256 != before.sha256:
            raise NotProven("the schema would not be what it was before")
        await around.raise_sequences(self._live, self._beside, schemas)
        added, changed, removed = done
        return RowsRestored(
            added=added,
            changed=changed,
            removed=removed,
            locked_seconds=self._clock.monotonic() - began_at,
            stale=stale,
        )

    async def _others(self, tables: Sequence[Table]) -> dict[str, int]:
        """Rows of what refers to these tables: a cascade would reach them."""
        rows: Any = await (await self._live.execute(_REFERS_TO)).fetchall()
        children = {(cs, c) for cs, c, ps, p in rows if (ps, p) in tables and (cs, c) not in tables}
        return await checks.count(self._live, sorted(map(quoted, children)))

    async def _stage(self, number: int, table: Table) -> staging.Stage:
        rows = self._archive.tables[table]
        chosen = await columns_of(self._live, table, rows, common=self._common)
        return await staging.staged(self._live, self._beside, table, chosen, number)

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
            if how is not How.EXACT:
                continue
            wanted = self._archive.tables[stage.table]
            chosen = await columns_of(self._live, stage.table, wanted, common=self._common)
            if chosen is not wanted:
                async with self._beside.transaction():
                    wanted = await read_live(self._beside, stage.table, chosen)
            if await read_live(self._live, stage.table, wanted) != wanted:
                raise NotProven(f"{name} would not be what the snapshot has")
