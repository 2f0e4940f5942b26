"""Takes a snapshot of a database and proves that it is one, before anything is changed there.

Holds the app's data, so nobody but us may read it. A file that was not read to its end is no
snapshot, whatever its name: what cannot be verified is refused with its reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.database import History
from rollbackd.core.errors import PermanentError
from rollbackd.core.ports import Clock
from rollbackd.postgres import archive, histories, tools
from rollbackd.postgres import snapshot_files as files
from rollbackd.postgres.archive import BadSnapshot
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.snapshot_files import Manifest, Origin, Snapshot

_LOCK_SECONDS: Final = 10.0

# Ordinary tables, and the leaves of partitioned ones: what pg_dump writes as TABLE DATA.
_TABLES: Final = """
SELECT n.nspname, c.relname, pg_table_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname = ANY (%s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""


async def origin(connection: Connection) -> Origin:
    row = await (await connection.execute("SELECT current_database()")).fetchone()
    assert row is not None
    cluster = ""
    with contextlib.suppress(psycopg.Error):  # a managed server may keep it to itself
        async with connection.transaction():
            asked = await connection.execute("SELECT system_identifier FROM pg_control_system()")
            found = await asked.fetchone()
            cluster = str(found[0]) if found else ""
    major = connection.info.server_version // 10_000
    return Origin(database=row[0], cluster=cluster, major=major)


async def take(
    url: SecretStr,
    *,
    directory: Path,
    schemas: Sequence[str],
    limit_seconds: float,
    clock: Clock,
    label: str = "database",
    tools_of: Sequence[History] | None = None,
) -> Snapshot:
    """On disk and verified when it returns. Leaves no part of a dump that failed. `tools_of`: the
    schemas of these histories are in it too, of every known one where it is empty.

    PermanentError: no room, no pg_dump for this server, or BadSnapshot. TookTooLong at the limit;
    else as `connection.problem` has it.
    """
    files.private(directory)
    name = f"{files.label(label)}-{clock.now():.0f}-{secrets.token_hex(3)}.dump"
    part = directory / f"{name}.part"
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        dumped = await _dump(url, part, schemas, tools_of, limit_seconds)
        await asyncio.to_thread(files.sync, part)
        manifest = replace(
            dumped,
            taken_at=clock.now(),
            sha256=await asyncio.to_thread(files.sha256_of, part),
            size=part.stat().st_size,
        )
        draft = Snapshot(path=part, manifest=manifest)
        await verified(draft, manifest.origin, limit_seconds=limit_seconds)
        return files.settle(part, directory / name, manifest)
    except psycopg.Error as error:
        raise problem(error) from error
    except OSError as error:
        raise PermanentError(f"the snapshot cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def verify(snapshot: Snapshot, expected: Origin, *, limit_seconds: float) -> archive.Archive:
    """Read all of it against its manifest and the database it is for. BadSnapshot: the reason."""
    found = archive.read(snapshot.path, limit_seconds=limit_seconds)
    manifest = snapshot.manifest
    size = snapshot.path.stat().st_size
    if size != manifest.size:
        raise BadSnapshot(f"it has {size} bytes, its manifest says {manifest.size}")
    if files.sha256_of(snapshot.path) != manifest.sha256:
        raise BadSnapshot("its bytes changed since it was taken: the checksum differs")
    for where, there in (("file", found.database), ("manifest", manifest.origin.database)):
        if there != expected.database:
            raise BadSnapshot(
                f"it is of another database: the {where} says {there}, not {expected.database}"
            )
    if manifest.origin.cluster and manifest.origin.cluster != (expected.cluster or "unknown"):
        raise BadSnapshot("it is of a database of the same name on another server")
    if found.major != expected.major:
        raise BadSnapshot(
            f"it is of PostgreSQL {found.major}, the server is PostgreSQL {expected.major}"
        )
    _same_rows(found, manifest)
    return found


async def verified(
    snapshot: Snapshot, expected: Origin, *, limit_seconds: float
) -> archive.Archive:
    """As `verify`, in a thread: it reads and sums up all of it."""
    return await asyncio.to_thread(verify, snapshot, expected, limit_seconds=limit_seconds)


async def _dump(
    url: SecretStr,
    part: Path,
    named: Sequence[str],
    tools_of: Sequence[History] | None,
    limit_seconds: float,
) -> Manifest:
    """Count and dump one and the same moment; the file's own figures are left to the caller."""
    async with await connect(url, name="snapshot") as connection:
        found = await origin(connection)
        program = tools.find(found.major).pg_dump
        async with connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            await _limits(connection, limit_seconds)
            more = () if tools_of is None else await histories.schemas(connection, tools_of)
            schemas = tuple(dict.fromkeys((*named, *more)))
            before = await fingerprint(connection, schemas)
            tables = await (await connection.execute(_TABLES, [list(schemas)])).fetchall()
            _room(part.parent, sum(size for _, _, size in tables))
            exported = await (await connection.execute("SELECT pg_export_snapshot()")).fetchone()
            assert exported is not None
            await tools.run_async(
                [
                    *(program, "--format=custom", f"--file={part}", f"--snapshot={exported[0]}"),
                    f"--lock-wait-timeout={int(min(limit_seconds, _LOCK_SECONDS) * 1000)}",
                    *(f'--schema="{schema.replace(chr(34), chr(34) * 2)}"' for schema in schemas),
                ],
                limit_seconds=limit_seconds,
                access=tools.access_of(connection, "snapshot"),
            )
            rows = {
                (schema, table): await _count(connection, schema, table)
                for schema, table, _ in tables
            }
        if (await fingerprint(connection, schemas)).sha256 != before.sha256:
            raise BadSnapshot("the schema changed while it was taken")
    return Manifest(
        origin=found,
        taken_at=0.0,
        schemas=schemas,
        rows=rows,
        sha256="",
        size=0,
        fingerprint=before,
    )


async def _limits(connection: Connection, limit_seconds: float) -> None:
    milliseconds = str(int(limit_seconds * 1000))
    for name, value in (
        ("statement_timeout", milliseconds),
        ("lock_timeout", str(int(_LOCK_SECONDS * 1000))),
        ("idle_in_transaction_session_timeout", "0"),  # it idles while pg_dump works
        ("row_security", "off"),  # an error rather than half the rows
    ):
        await connection.execute("SELECT set_config(%s, %s, true)", [name, value])


async def _count(connection: Connection, schema: str, table: str) -> int:
    query = sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, table))
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


def _same_rows(found: archive.Archive, manifest: Manifest) -> None:
    there = {table: rows.count for table, rows in found.tables.items()}
    for table, rows in sorted(manifest.rows.items()):
        if there.get(table) != rows:
            has = f"{there[table]} rows" if table in there else "no data"
            raise BadSnapshot(f"{'.'.join(table)} has {has} in it, there were {rows} rows")
    if more := sorted(set(there) - set(manifest.rows)):
        raise BadSnapshot(f"it holds {'.'.join(more[0])}, which was not there")


def _room(directory: Path, needed: int) -> None:
    """Rows rarely grow in a compressed dump: as much as the tables have is enough."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise PermanentError(
            f"no room for a snapshot: {needed >> 20} MiB of tables, {free >> 20} MiB free",
            hint="enlarge the volume, or name another directory",
        )
