"""A snapshot, restored beside the real database and compared with its archive row by row."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
from pydantic import SecretStr

from rollbackd.postgres import clone, snapshot, tools
from rollbackd.postgres.archive import Archive, BadSnapshot, read_live
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.one_commit import Deadline
from rollbackd.postgres.snapshot_files import Snapshot


@contextlib.asynccontextmanager
async def restored(
    url: SecretStr,
    source: Connection,
    chosen: Snapshot,
    *,
    deadline: Deadline,
    run: str = "",
) -> AsyncIterator[tuple[Connection, Archive]]:
    """A session where every table has the very rows of the snapshot. BadSnapshot otherwise, and
    OutOfTime where that lasts too long.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(deadline.left()):
                made = await _made(stack, url, source, chosen, deadline=deadline, run=run)
        except (TimeoutError, tools.TookTooLong) as error:
            raise deadline.over() from error
        yield made


async def _made(
    stack: contextlib.AsyncExitStack,
    url: SecretStr,
    source: Connection,
    chosen: Snapshot,
    *,
    deadline: Deadline,
    run: str,
) -> tuple[Connection, Archive]:
    expected = await snapshot.origin(source)
    archive = await snapshot.verified(chosen, expected, limit_seconds=deadline.left())
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollbackd-beside-"))
    owner, _ = await stack.enter_async_context(clone.place(url, source, deadline.clock, of=run))
    connection = await stack.enter_async_context(await connect(owner, name="restored"))
    around = Path(directory) / "around.dump"
    await clone.surroundings(source, around, chosen.manifest.schemas, deadline.left())
    if around.exists() and around.stat().st_size:
        await clone.load(connection, around, deadline.left())
    await _restore(connection, chosen, deadline.left())
    await compare(connection, archive)
    return connection, archive


async def _restore(connection: Connection, chosen: Snapshot, limit_seconds: float) -> None:
    """What it refers to may be missing here: that is no fault of the rows, they are compared."""
    program = tools.newest().pg_restore
    target = f"--dbname={connection.info.dbname}"
    with contextlib.suppress(tools.ToolFailed):
        await tools.run_async(
            [program, "--no-owner", "--no-privileges", target, str(chosen.path)],
            limit_seconds=limit_seconds,
            access=tools.access_of(connection, "restored"),
        )


async def compare(connection: Connection, archive: Archive) -> None:
    """Every table with what is in the file. BadSnapshot names the first that differs."""
    for table, rows in sorted(archive.tables.items()):
        name = ".".join(table)
        try:
            async with connection.transaction():
                found = await read_live(connection, table, rows)
        except psycopg.Error as error:
            raise BadSnapshot(f"{name} cannot be restored from it") from error
        if found.count != rows.count:
            raise BadSnapshot(f"{name}: {found.count} rows of {rows.count} were restored")
        if found.digest != rows.digest:
            raise BadSnapshot(f"{name}: what was restored is not what is in the archive")
