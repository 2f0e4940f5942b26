"""Reads an archive of pg_dump to its last byte, and says what is in it. Trusts no name and no size.

`pg_restore -l` is content with a file that was cut off in the middle: only reading the rows tells.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from psycopg import sql

from rollbackd.core.errors import PermanentError
from rollbackd.postgres import tools
from rollbackd.postgres.connection import Connection

_MAGIC: Final = b"PGDMP"
_NAME: Final = rb'("(?:[^"]|"")*"|[^". ]+)'
_COPY: Final = re.compile(rb"^COPY " + _NAME + rb"\." + _NAME + rb" (.*?) ?FROM stdin;$")
_COLUMN: Final = re.compile(r'"(?:[^"]|"")*"|[^",() ]+')
_END: Final = b"\\."
_DIGEST_BYTES: Final = 16
_MODULUS: Final = 1 << (8 * _DIGEST_BYTES)
_LIST_SECONDS: Final = 60.0

Table = tuple[str, str]  # schema, name; unquoted


class BadSnapshot(PermanentError):
    """This file is no snapshot to rely on; the message says why."""


@dataclass(slots=True)
class Rows:
    """A table's rows: how many, and a sum over them that no order changes.

    `columns`: the list in brackets as pg_dump wrote it, quoted; empty for a table without columns.
    """

    columns: str = ""
    count: int = 0
    digest: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, unquoted, in their order."""
        return tuple(_unquoted(name.encode()) for name in _COLUMN.findall(self.columns))

    def add(self, line: bytes) -> None:
        hashed = hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest()
        self.count += 1
        self.digest = (self.digest + int.from_bytes(hashed, "big")) % _MODULUS


@dataclass(slots=True, kw_only=True)
class Archive:
    """What a whole archive holds. `major`: of the server that it was taken from."""

    database: str
    major: int
    tables: dict[Table, Rows] = field(default_factory=dict)


def read(path: Path, *, limit_seconds: float) -> Archive:
    """Every row of it. BadSnapshot for what is no whole custom-format archive with table data."""
    _look(path)
    archive = _heading(path)
    reader = _Reader(archive)
    program = tools.find(archive.major).pg_restore
    try:
        tools.run(
            [program, "--data-only", "--file=-", str(path)],
            limit_seconds=limit_seconds,
            each_chunk=reader.take,
        )
    except tools.ToolFailed as failed:
        raise BadSnapshot("it is cut off or damaged", hint=failed.hint) from failed
    if reader.unfinished:
        raise BadSnapshot("it is cut off in the midst of a table")
    if not archive.tables:
        raise BadSnapshot("it holds no table data: a dump of the schema only")
    return archive


def _look(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except OSError as error:
        raise BadSnapshot(f"it cannot be read: {error.strerror}") from error
    if size == 0:
        raise BadSnapshot("it is empty: 0 bytes")
    if start != _MAGIC:
        raise BadSnapshot("it is no custom-format archive of pg_dump; plain SQL cannot be verified")


def _heading(path: Path) -> Archive:
    """By the newest pg_restore: an archive's own version is known only once it is read."""
    said: list[bytes] = []
    try:
        tools.run(
            [tools.newest().pg_restore, "--list", str(path)],
            limit_seconds=_LIST_SECONDS,
            each_chunk=said.append,
        )
    except tools.ToolFailed as failed:
        raise BadSnapshot("its table of contents is damaged", hint=failed.hint) from failed
    lines = b"".join(said).decode("utf-8", "replace").splitlines()
    heading = dict(
        line.removeprefix(";").strip().split(": ", 1)
        for line in lines
        if line.startswith(";") and ": " in line
    )
    version = re.match(r"\d+", heading.get("Dumped from database version", ""))
    if version is None or "dbname" not in heading:
        raise BadSnapshot("it does not say which database it was taken from")
    return Archive(database=heading["dbname"], major=int(version[0]))


class _Reader:
    """Follows the COPY blocks of `pg_restore --data-only`; rows may be of any length."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._within: Rows | None = None
        self._rest = b""

    @property
    def unfinished(self) -> bool:
        return self._within is not None or bool(self._rest)

    def take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if self._within is not None:
            if line == _END:
                self._within = None
            else:
                self._within.add(line)
        elif head := _COPY.match(line):
            table = _unquoted(head[1]), _unquoted(head[2])
            self._within = self._archive.tables.setdefault(table, Rows(head[3].decode()))


def _unquoted(name: bytes) -> str:
    text = name.decode()
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


async def read_live(connection: Connection, table: Table, like: Rows) -> Rows:
    """The same sum over a table as it is now, of the archive's columns and in its way of writing.

    In the caller's transaction. psycopg's errors when the table or a column is not there.
    """
    for name, value in (
        ("DateStyle", "ISO"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        ("row_security", "off"),  # an error rather than half the rows
    ):
        await connection.execute("SELECT set_config(%s, %s, true)", [name, value])
    rows = Rows(like.columns)
    columns = sql.SQL(like.columns)  # pg_dump's own words, quoted by it
    query = sql.SQL("COPY {} {} TO STDOUT").format(sql.Identifier(*table), columns)
    async with connection.cursor() as cursor, cursor.copy(query) as copy:
        async for row in copy:  # one at a time: so the protocol sends them
            rows.add(bytes(row).removesuffix(b"\n"))
    return rows
