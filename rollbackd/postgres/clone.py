"""The schema once more, without its rows, in a scratch database: where reverse SQL is tried.

On the same server where our role may make one, else on a server of our own on this machine. How
like it came out is for the caller to see, by the fingerprint: what a role may not restore is
missing here, and no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.errors import PermanentError
from rollbackd.core.ports import Clock
from rollbackd.postgres import excerpt, scratch, tools
from rollbackd.postgres.connection import Connection, connect
from rollbackd.postgres.local_server import PostgresServer

_SUPERUSER: Final = "rollbackd_local"  # a name that no server to be cloned has
_DATABASE: Final = "rollbackd_clone"
# What a multi-statement makes is locked until its end, and a server has room for some thousands.
_AT_ONCE: Final = 300
_ENTRY: Final = b"\n--\n-- Name: "  # before each entry of a script
_THROWN_AWAY: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_locks_per_transaction": "512",
}
_FLAGS: Final = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolbypassrls": "BYPASSRLS",
}
_ROLES: Final = f"""
SELECT rolname, {", ".join(_FLAGS)} FROM pg_roles WHERE NOT starts_with(rolname, 'pg_')
"""  # noqa: S608 - of constants
_MEMBERS: Final = """
SELECT r.rolname, m.rolname FROM pg_auth_members a
JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
"""


@contextlib.asynccontextmanager
async def cloned(
    url: SecretStr,
    source: Connection,
    dump: Path,
    *,
    only: Path | None = None,
    with_rows: Sequence[sql.Identifier],
    limit_seconds: float,
    clock: Clock,
) -> AsyncIterator[Connection]:
    """A session in the clone of what `dumped` wrote, as the same role. `with_rows`: tables whose
    rows are copied too. `only`: of `excerpt_of`.

    PermanentError where there can be none; else what psycopg and `tools` raise.
    """
    async with contextlib.AsyncExitStack() as stack:
        owner, address = await stack.enter_async_context(place(url, source, clock))
        async with await connect(owner, name="clone") as loader:
            await load(loader, dump, limit_seconds, only=only)
            for table in with_rows:
                await _copy(source, loader, table)
        connection = await stack.enter_async_context(await connect(address, name="rehearsal"))
        yield connection


@contextlib.asynccontextmanager
async def place(
    url: SecretStr, source: Connection, clock: Clock, *, of: str = ""
) -> AsyncIterator[tuple[SecretStr, SecretStr]]:
    """An empty database: its address for who may do the most there, and for our own role. `of`: as
    `scratch` has it.
    """
    if await scratch.allowed(source):
        async with scratch.scratch(url, clock, of=of) as address:
            yield address, address
    else:
        async with _elsewhere(source) as addresses:
            yield addresses


@contextlib.asynccontextmanager
async def dumping(
    source: Connection, schemas: Sequence[str], limit_seconds: float
) -> AsyncIterator[asyncio.Task[Path]]:
    """The schema as an archive, written beside whatever the caller does; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="rollbackd-clone-") as directory:
        dump = Path(directory) / "schema.dump"
        task = asyncio.create_task(_dump(source, dump, schemas, limit_seconds))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # whoever wanted it has asked


async def excerpt_of(
    source: Connection, dump: Path, names: Collection[str], limit_seconds: float
) -> Path | None:
    """What of it to load where only `names` can be reached; None where all is as quick."""
    listing = await _printed(["--list", "--verbose", str(dump)], limit_seconds)
    found = excerpt.entries(listing.decode("utf-8", "replace"))
    if sum(one.relation for one in found) < excerpt.SMALL:
        return None
    kept = excerpt.reachable(found, await excerpt.named(source, names))
    chosen = dump.with_suffix(".list")
    lines = "".join(f"{one.number};\n" for one in found if one.number in kept)
    await asyncio.to_thread(chosen.write_text, lines, "utf-8")
    return chosen


async def _printed(arguments: Sequence[str], limit_seconds: float) -> bytes:
    """By pg_restore."""
    chunks: list[bytes] = []
    program = await asyncio.to_thread(tools.newest)
    await asyncio.to_thread(
        tools.run,
        [program.pg_restore, *arguments],
        limit_seconds=limit_seconds,
        each_chunk=chunks.append,
    )
    return b"".join(chunks)


async def _dump(
    source: Connection, dump: Path, schemas: Sequence[str], limit_seconds: float
) -> Path:
    """All of it, for what lies in other schemas is referred to; ours alone where that is denied."""
    program = tools.find(source.info.server_version // 10_000).pg_dump
    access = tools.access_of(source, "clone")
    whole = [program, "--schema-only", "--format=custom", "--no-subscriptions", f"--file={dump}"]
    lock_wait = f"--lock-wait-timeout={int(min(limit_seconds, 5.0) * 1000)}"
    try:
        await tools.run_async([*whole, lock_wait], limit_seconds=limit_seconds, access=access)
    except tools.ToolFailed:
        named = (f'--schema="{schema.replace(chr(34), chr(34) * 2)}"' for schema in schemas)
        await tools.run_async(
            [*whole, lock_wait, *named], limit_seconds=limit_seconds, access=access
        )
    return dump


async def surroundings(
    source: Connection, dump: Path, schemas: Sequence[str], seconds: float
) -> None:
    """The schema of all but `schemas`: what those refer to. Nothing where that is denied."""
    program = tools.find(source.info.server_version // 10_000).pg_dump
    but = (f'--exclude-schema="{schema.replace(chr(34), chr(34) * 2)}"' for schema in schemas)
    with contextlib.suppress(tools.ToolFailed):
        await tools.run_async(
            [
                *(program, "--schema-only", "--format=custom", "--no-subscriptions"),
                *("--no-publications", f"--file={dump}", *but),
            ],
            limit_seconds=seconds,
            access=tools.access_of(source, "clone"),
        )


async def load(
    loader: Connection, dump: Path, limit_seconds: float, *, only: Path | None = None
) -> None:
    """In few pieces, which is fast; where something in it is not allowed, one by one. `only`:
    nothing but these entries, and psycopg.Error where one is not allowed.
    """
    chosen = [f"--use-list={only}"] if only else []
    script = await _printed([*chosen, "--file=-", str(dump)], limit_seconds)
    try:
        for piece in _pieces(script):
            await loader.execute(piece)
        await loader.execute("RESET ALL")
    except psycopg.Error:
        if only:
            raise
        program = tools.newest().pg_restore
        access = tools.access_of(loader, "clone")
        # It goes on after what is refused, and then ends with an error: see the fingerprint.
        with contextlib.suppress(tools.ToolFailed):
            await tools.run_async(
                [program, f"--dbname={loader.info.dbname}", str(dump)],
                limit_seconds=limit_seconds,
                access=access,
            )


def _pieces(script: bytes) -> Iterator[bytes]:
    # psql's own commands are in it since 17.6; the server knows none of them.
    lines = (line for line in script.split(b"\n") if not line.startswith(b"\\"))
    found = b"\n".join(lines).split(_ENTRY)
    for start in range(0, len(found), _AT_ONCE):
        piece = _ENTRY.join(found[start : start + _AT_ONCE])
        yield _ENTRY + piece if start else piece


async def _copy(source: Connection, target: Connection, table: sql.Identifier) -> None:
    """Small ones: a history has a row a migration."""
    read = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(table)
    write = sql.SQL("COPY {} FROM STDIN").format(table)
    async with (
        source.cursor() as reader,
        target.cursor() as writer,
        reader.copy(read) as rows,
        writer.copy(write) as into,
    ):
        async for row in rows:
            await into.write(row)


@contextlib.asynccontextmanager
async def _elsewhere(source: Connection) -> AsyncIterator[tuple[SecretStr, SecretStr]]:
    """A server of our own with the same roles: the addresses of its superuser and of our role."""
    server = PostgresServer(superuser=_SUPERUSER, settings=_THROWN_AWAY)
    try:
        await asyncio.to_thread(server.start)
        user = source.info.user
        admin = SecretStr(server.url())
        async with await connect(admin, name="clone") as connection:
            if connection.info.server_version // 10_000 < source.info.server_version // 10_000:
                raise PermanentError("no PostgreSQL here is as new as the server to be cloned")
            await _same_roles(source, connection, user, server.password)
            await connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0").format(
                    sql.Identifier(_DATABASE), sql.Identifier(user)
                )
            )
        yield scratch.at(admin, _DATABASE), SecretStr(server.url(_DATABASE, user=user))
    finally:
        await asyncio.to_thread(server.stop, remove=True)


async def _same_roles(source: Connection, target: Connection, user: str, password: str) -> None:
    roles: list[tuple[Any, ...]] = await (await source.execute(_ROLES)).fetchall()
    for name, *flags in roles:
        words = zip(_FLAGS.values(), flags, strict=True)
        chosen = " ".join(word if on else f"NO{word}" for word, on in words)
        create = sql.SQL("CREATE ROLE {} NOLOGIN {}")
        await target.execute(create.format(sql.Identifier(name), sql.SQL(chosen)))
    await target.execute(
        sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), password)
    )
    members: list[tuple[Any, ...]] = await (await source.execute(_MEMBERS)).fetchall()
    for role, member in members:
        with contextlib.suppress(psycopg.Error):  # a role that only that version knows
            await target.execute(
                sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member))
            )
