"""The daemon's own record of what it heard, for `replay`: bounded, beside the store, may be lost.

One thread owns the file. A full disk, a damaged file or another version of it costs the record and
nothing else: what cannot be written is dropped, what cannot be read is put aside and begun anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import structlog

from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import Fact
from rollbackd.core.readers import Odd
from rollbackd.stores.record_rows import fact_of, packed, row_of, unpacked
from rollbackd.telemetry import events

log = structlog.get_logger()

FILE_NAME: Final = "record.db"
ASIDE: Final = "record.db.damaged"  # one only: the next one takes its place
VERSION: Final = 2
MOST_BYTES: Final = 64 * 2**20
SPARE_BYTES: Final = 32 * 2**20  # left free on the disk: the journal goes before the record
USED_AGAIN_SECONDS: Final = 60.0  # how exactly it is known until when a shape was named
_SWEEP_SECONDS: Final = 3600.0
_ROW_BYTES: Final = 64  # what a row takes besides its body, about
_ROOM: Final = 16  # where it is too large, it loses this part and not one batch at a time
T = TypeVar("T")
_BEYOND_REPAIR: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})

_SCHEMA: Final = (
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, first_at REAL, last_at REAL, body BLOB)",
    # What rarely changes, machines and releases, once: batches name it by its number.
    "CREATE TABLE shape (id INTEGER PRIMARY KEY, digest BLOB UNIQUE, body BLOB, used_at REAL)",
    f"PRAGMA user_version = {VERSION}",
)


class SqliteRecord:
    """Fits `core.ports.FactRecord`. Opens itself; `close` when nobody writes any more.

    Keeps `keep_seconds`, and less where that would be more than `most_bytes`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep_seconds: float = 86_400.0,
        most_bytes: int = MOST_BYTES,
        read_only: bool = False,
    ) -> None:
        self._path = directory / FILE_NAME
        self._keep_seconds = keep_seconds
        self._most_bytes = most_bytes
        self._read_only = read_only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="record")
        self._connection: sqlite3.Connection | None = None
        self._bytes = 0
        self._shapes: dict[str, tuple[int, float]] = {}  # number and when it was last said so
        self._swept_at = -math.inf

    async def append(self, heard: Sequence[tuple[float, Fact]]) -> None:
        """Raises TemporaryError where the disk takes nothing: they are dropped then."""
        if heard:
            await self._ask(lambda: self._append(heard))

    async def read(self, since: float) -> Sequence[tuple[float, Fact]]:
        """What was heard at or after `since`, in that order. Nothing where there is no record."""
        return await self._ask(lambda: list(self._read(since)))

    async def close(self) -> None:
        await self._ask(self._close)
        self._thread.shutdown(wait=True)

    async def _ask(self, work: Callable[[], T]) -> T:
        with self._translated():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def read_now(self, since: float) -> Iterator[tuple[float, Fact]]:
        """As `read`, in the caller's thread and as it is asked for; closed at the end."""
        with self._translated():
            try:
                yield from self._read(since)
            finally:
                self._close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise TemporaryError(
                f"cannot use {self._path}: {error}", hint="only a replay of this time misses it"
            ) from error

    # In the thread -------------------------------------------------------------------------

    def _append(self, heard: Sequence[tuple[float, Fact]]) -> None:
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < SPARE_BYTES:
            raise OSError(f"less than {SPARE_BYTES >> 20} MB are free")
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            newest = heard[-1][0]
            rows = [(at, row_of(fact, lambda t: self._shape(t, newest))) for at, fact in heard]
            body = zlib.compress(packed(rows).encode(), 6)
            first = min(at for at, _ in heard)
            connection.execute(
                "INSERT INTO batch (first_at, last_at, body) VALUES (?, ?, ?)",
                (first, newest, body),
            )
            self._bytes += len(body)
            self._forget(connection, newest)
            connection.execute("COMMIT")
        except BaseException:
            self._shapes.clear()
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            self._bytes = _bytes(connection)
            raise

    def _shape(self, text: str, now: float) -> int:
        number, used_at = self._shapes.get(text, (0, -math.inf))
        if now - used_at <= USED_AGAIN_SECONDS:
            return number
        connection, raw = self._opened(), text.encode()
        digest = hashlib.sha256(raw).digest()
        found = connection.execute(
            "UPDATE shape SET used_at = ? WHERE digest = ? RETURNING id", (now, digest)
        ).fetchone()
        if found is None:
            body = zlib.compress(raw, 6)
            found = connection.execute(
                "INSERT INTO shape (digest, body, used_at) VALUES (?, ?, ?) RETURNING id",
                (digest, body, now),
            ).fetchone()
            self._bytes += len(body) + _ROW_BYTES
        self._shapes[text] = int(found[0]), now
        return int(found[0])

    def _forget(self, connection: sqlite3.Connection, now: float) -> None:
        """What is too old, and the oldest while it is too large; the newest batch stays."""
        old = now - self._keep_seconds
        gone = connection.execute("DELETE FROM batch WHERE last_at < ?", (old,)).rowcount
        if gone and now - self._swept_at > _SWEEP_SECONDS:
            self._swept_at = now
            self._sweep(connection)
        while self._bytes > self._most_bytes:
            dropped = connection.execute(
                "DELETE FROM batch WHERE id IN (SELECT id FROM batch ORDER BY id LIMIT"
                " (SELECT min(count(*) - 1, 1 + count(*) / ?) FROM batch))",
                (_ROOM,),
            ).rowcount
            self._sweep(connection)
            if dropped == 0:
                break

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Forget the shapes that no batch names any more."""
        (first,) = connection.execute("SELECT min(first_at) FROM batch").fetchone()
        unused = first - USED_AGAIN_SECONDS
        connection.execute("DELETE FROM shape WHERE used_at < ?", (unused,))
        self._shapes = {text: each for text, each in self._shapes.items() if each[1] >= unused}
        self._bytes = _bytes(connection)

    def _read(self, since: float) -> Iterator[tuple[float, Fact]]:
        """Batch by batch, and no longer in one transaction than one of them takes."""
        if self._read_only and not self._path.exists():
            return
        connection = self._opened()

        @lru_cache(maxsize=256)
        def find(number: int) -> str:
            return zlib.decompress(_body(connection, "shape", number)).decode()

        batches = "SELECT id FROM batch WHERE last_at >= ? ORDER BY id"
        for (number,) in connection.execute(batches, (since,)).fetchall():
            with contextlib.suppress(zlib.error, KeyError, TypeError, ValueError, IndexError, Odd):
                rows = unpacked(zlib.decompress(_body(connection, "batch", number)).decode())
                yield from [(at, fact_of(row, find)) for at, row in rows if at >= since]

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if self._read_only or not _beyond_repair(error):
                    raise
                self._put_aside(error)
                self._connection = self._open()
            self._bytes = _bytes(self._connection)
        return self._connection

    def _put_aside(self, why: sqlite3.DatabaseError) -> None:
        """A person may still get something out of it, with the tail SQLite had not taken in."""
        for tail in ("-wal", "-shm", ""):
            aside = self._path.with_name(f"{ASIDE}{tail}")
            aside.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(f"{FILE_NAME}{tail}").rename(aside)
        hint = f"begun anew; what it held is in {ASIDE} and may be deleted"
        log.warning(events.RECORD_FAILED, error=f"cannot use {self._path}: {why}", hint=hint)

    def _open(self) -> sqlite3.Connection:
        """Raises sqlite3.DatabaseError where the file is damaged, or of another version."""
        if not self._read_only:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
        try:
            if self._read_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA journal_size_limit = 4194304")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0 and not self._read_only:
                for statement in _SCHEMA:
                    connection.execute(statement)
            elif version != VERSION:
                _refuse(version)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _OtherVersionError(sqlite3.DatabaseError):
    pass


def _refuse(version: int) -> NoReturn:
    raise _OtherVersionError(f"its version is {version}, not {VERSION}")


def _beyond_repair(error: sqlite3.DatabaseError) -> bool:
    """Not what passes: a disk that does not answer for a moment costs no day's record."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, _OtherVersionError) or code in _BEYOND_REPAIR


def _bytes(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute(
        "SELECT coalesce(sum(length(body) + ?1), 0) FROM"
        " (SELECT body FROM batch UNION ALL SELECT body FROM shape)",
        (_ROW_BYTES,),
    ).fetchone()
    return int(found)


def _body(connection: sqlite3.Connection, table: str, number: int) -> bytes:
    """Raises KeyError where it was forgotten meanwhile."""
    statement = f"SELECT body FROM {table} WHERE id = ?"  # noqa: S608 -- a word of ours
    found = connection.execute(statement, (number,)).fetchone()
    if found is None:
        raise KeyError(number)
    return bytes(found[0])


def open_record(directory: Path, since: float) -> Iterator[tuple[float, Fact]]:
    """Read a record beside a living daemon, without asyncio; empty where there is none.

    Iterating raises TemporaryError where it cannot be read.
    """
    return SqliteRecord(directory, read_only=True).read_now(since)
