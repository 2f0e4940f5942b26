"""A snapshot, restored beside the real database and compared with its archive row by row."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
from pydantic import SecretStr

from rollbackd.core.ports import Clock
from rollbackd.postgres import clone, snapshot, tools
from rollbackd.postgres.archive import Archive, BadSnapshot, read_live
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.snapshot_files import Snapshot


@contextlib.asynccontextmanager
async def restored(
    url: SecretStr,
    source: Connection,
    chosen: Snapshot,
    *,
    limit_seconds: float,
    clock: Clock,
) -> AsyncIterator[tuple[Connection, Archive]]:
    """A session where every table has the very rows of the snapshot. BadSnapshot otherwise."""
    expected = await snapshot.origin(source)
    archive = await snapshot.verified(chosen, expected, limit_seconds=limit_seconds)
    async with contextlib.AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rollbackd-beside-"))
        owner, _ = await stack.enter_async_context(clone.place(url, source, clock))
        connection = await stack.enter_async_context(await connect(owner, name="restored"))
        around = Path(directory) / "around.dump"
        await clone.surroundings(source, around, chosen.manifest.schemas, limit_seconds)
        if around.exists() and around.stat().st_size:
            await clone.load(connection, around, limit_seconds)
        await _restore(connection, chosen, limit_seconds)
        await _compare(connection, archive)
        yield connection, archive


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


async def _compare(connection: Connection, archive: Archive) -> None:
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
