"""Replaces a whole database by the one of a snapshot: made and proven beside it, then the two
change names in one transaction. The one of now stays, under another name.

For a schema that changed since the snapshot, where the role may create and rename databases.
Source: PostgreSQL's ALTER DATABASE: a rename can be rolled back, and needs the database to be
left by everybody.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PlanRefused
from rollbackd.core.ports import Clock
from rollbackd.postgres import around, checks, clone, quiet, scratch, snapshot, tools
from rollbackd.postgres.agreed import NotProven, Stale
from rollbackd.postgres.archive import BadSnapshot
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import compare, fingerprint
from rollbackd.postgres.inside import inside
from rollbackd.postgres.one_commit import Deadline, Journal, committed
from rollbackd.postgres.renaming import Renaming
from rollbackd.postgres.restored import compare as compare_rows
from rollbackd.postgres.snapshot_files import Snapshot
from rollbackd.postgres.swap_fit import unlike, why_not
from rollbackd.postgres.watchdog import Watchdog

_ELSEWHERE: Final = """
SELECT datname::text FROM pg_database
WHERE datallowconn AND datname <> current_database() AND has_database_privilege(oid, 'CONNECT')
  AND NOT starts_with(datname, 'rollbackd_') AND datname <> 'template1'
ORDER BY datname <> 'postgres', 1 LIMIT 1
"""
_SCHEMAS: Final = """
SELECT nspname::text, pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = ANY (%s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """`kept`: the name under which the database of before stays."""

    kept: str
    tables: int
    rows: int
    xid: str = ""


async def restore_swap(
    url: SecretStr,
    chosen: Snapshot,
    before: str,
    *,
    policy: DatabasePolicy,
    run: str,
    clock: Clock,
    journal: Journal,
) -> Swapped:
    """The names were changed when it returns; otherwise nothing was. `before`: the sum of the
    schema of now, as it was agreed to be replaced.

    Raises BadSnapshot, PlanRefused, Stale, NotProven, InTheWay, OutOfTime, CommitUnknown, or what
    `connection.problem` gives.
    """
    deadline = Deadline.of(clock, policy.snapshots.limit_seconds)
    try:
        async with await connect(url, name="beside") as live:
            await refuse(live, chosen)
        async with scratch.scratch(url, clock, of=run) as address:
            try:
                async with asyncio.timeout(deadline.left()):
                    made, tables, rows = await _make(
                        url, address, chosen, before, policy=policy, deadline=deadline
                    )
            except (TimeoutError, tools.TookTooLong) as error:
                raise deadline.over() from error
            renaming = Renaming(live=made.name, made=made.scratch, kept=made.kept(run))

            async def work(elsewhere: Connection, dog: Watchdog) -> None:
                async with dog.waiting():
                    await renaming.go(elsewhere, policy)

            done = await committed(
                scratch.at(url, made.elsewhere),
                work,
                policy=policy,
                run=run,
                deadline=deadline,
                journal=journal,
            )
    except psycopg.Error as error:
        raise problem(error) from error
    return Swapped(kept=renaming.kept, tables=tables, rows=rows, xid=done.xid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """`name`: of the real one. `elsewhere`: a third one, from which two can be renamed."""

    name: str
    scratch: str
    elsewhere: str

    def kept(self, run: str) -> str:
        """The same at every attempt of one run; a name has at most 63 bytes."""
        when = run.rpartition("-")[2]
        return f"{self.name.encode()[:40].decode(errors='ignore')}_before_{when[-14:]}"


async def _make(
    url: SecretStr,
    address: SecretStr,
    chosen: Snapshot,
    before: str,
    *,
    policy: DatabasePolicy,
    deadline: Deadline,
) -> tuple[_Made, int, int]:
    """The whole of it in the scratch database, proven there. No session is left in either."""
    schemas = chosen.manifest.schemas
    async with (
        await connect(url, name="beside") as live,
        await connect(address, name="restored") as made,
    ):
        if (await fingerprint(live, schemas)).sha256 != before:
            raise Stale("the schema changed since the plan was made", hint="make a new plan")
        elsewhere = await _elsewhere(live)
        expected = await snapshot.origin(live)
        archive = await snapshot.verified(chosen, expected, limit_seconds=deadline.left())
        await _load(live, made, chosen, deadline)
        await compare_rows(made, archive)
        await _prove(live, made, chosen, policy)
        await around.raise_sequences(made, live, await _all_schemas(live))
        await made.execute("ANALYZE")
        found = _Made(name=live.info.dbname, scratch=made.info.dbname, elsewhere=elsewhere)
    return found, len(archive.tables), sum(rows.count for rows in archive.tables.values())


async def refuse(live: Connection, chosen: Snapshot) -> None:
    """PlanRefused where this database cannot be replaced by that snapshot."""
    if chosen.manifest.fingerprint is None:
        raise PlanRefused("the snapshot does not say what its schema was", hint="a newer one does")
    if reasons := await why_not(live):
        raise PlanRefused(
            f"the database cannot be replaced: {reasons[0]}", hint="; ".join(reasons[1:])
        )


async def _elsewhere(live: Connection) -> str:
    row: Any = await (await live.execute(_ELSEWHERE)).fetchone()
    if row is None:
        raise PlanRefused(
            "there is no other database to rename this one from", hint="make one named postgres"
        )
    return str(row[0])


async def _all_schemas(live: Connection) -> list[str]:
    rows: Any = await (
        await live.execute("SELECT DISTINCT schemaname::text FROM pg_sequences")
    ).fetchall()
    return [name for (name,) in rows]


async def _load(live: Connection, made: Connection, chosen: Snapshot, deadline: Deadline) -> None:
    """What is around it as it is now, and the snapshot whole: with owners and privileges, and
    without a single error.
    """
    schemas = chosen.manifest.schemas
    with tempfile.TemporaryDirectory(prefix="rollbackd-swap-") as directory:
        outer, listed = Path(directory) / "around.dump", Path(directory) / "list"
        await clone.surroundings(live, outer, schemas, deadline.left())
        if outer.exists() and outer.stat().st_size:
            await clone.load(made, outer, deadline.left())
        there: dict[str, str] = dict(
            await (await made.execute(_SCHEMAS, [list(schemas)])).fetchall()
        )
        owners: dict[str, str] = dict(
            await (await live.execute(_SCHEMAS, [list(schemas)])).fetchall()
        )
        for schema in there.keys() & owners.keys():
            if there[schema] != owners[schema]:
                alter = sql.SQL("ALTER SCHEMA {} OWNER TO {}")
                await made.execute(
                    alter.format(sql.Identifier(schema), sql.Identifier(owners[schema]))
                )
        program = tools.newest().pg_restore
        listed.write_bytes(await _contents(program, chosen.path, there, deadline))
        try:
            await tools.run_async(
                [
                    *(program, "--exit-on-error", f"--use-list={listed}"),
                    *(f"--dbname={made.info.dbname}", str(chosen.path)),
                ],
                limit_seconds=deadline.left(),
                access=tools.access_of(made, "restored"),
            )
        except tools.ToolFailed as failed:
            raise BadSnapshot("it cannot be restored without an error", hint=failed.hint) from None


async def _contents(program: str, path: Path, there: dict[str, str], deadline: Deadline) -> bytes:
    """The archive's own list, without the schemas that every new database has."""
    said: list[bytes] = []
    await asyncio.to_thread(
        tools.run,
        [program, "--list", str(path)],
        limit_seconds=deadline.left(),
        each_chunk=said.append,
    )
    known = [f" SCHEMA - {name} ".encode() for name in there]
    lines = b"".join(said).splitlines(keepends=True)
    return b"".join(line for line in lines if not any(one in line for one in known))


async def _prove(
    live: Connection, made: Connection, chosen: Snapshot, policy: DatabasePolicy
) -> None:
    schemas, should = chosen.manifest.schemas, chosen.manifest.fingerprint
    assert should is not None, "refused before"
    found = inside(await fingerprint(made, schemas), schemas)
    should = inside(should, schemas)
    if found.sha256 != should.sha256:
        lines = checks.lines(compare(should, found))
        raise NotProven(
            "what was restored has not the schema of the snapshot", hint="; ".join(lines)
        )
    if lines := await unlike(live, made, schemas):
        raise NotProven(f"the database cannot be replaced: {lines[0]}", hint="; ".join(lines[1:]))
    await quiet.prove_rules(made, policy)
