"""The daemon's own record of what it heard, for `replay`: bounded, beside the store, may be lost.

One thread owns the file. A full disk, a damaged file or another version of it costs the record and
nothing else: what cannot be written is dropped, what cannot be read is begun anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import Fact
from rollbackd.core.readers import Odd
from rollbackd.stores.record_rows import fact_of, packed, row_of, unpacked

FILE_NAME: Final = "record.db"
VERSION: Final = 1
MOST_BYTES: Final = 64 * 2**20
SPARE_BYTES: Final = 32 * 2**20  # left free on the disk: the journal goes before the record
USED_AGAIN_SECONDS: Final = 3600.0
T = TypeVar("T")

_SCHEMA: Final = (
    "CREATE TABLE batch (id INTEGER PRIMARY KEY, first_at REAL, last_at REAL, body BLOB)",
    # What rarely changes, machines and releases, once: batches name it by its number.
    "CREATE TABLE shape (id INTEGER PRIMARY KEY, body TEXT UNIQUE, used_at REAL)",
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
        self._shapes: dict[str, int] = {}  # used since the last sweep
        self._swept_at = -math.inf

    async def append(self, heard: Sequence[tuple[float, Fact]]) -> None:
        """Raises TemporaryError where the disk takes nothing: they are dropped then."""
        if heard:
            await self._ask(lambda: self._append(heard))

    async def read(self, since: float) -> Sequence[tuple[float, Fact]]:
        """What was heard at or after `since`, in that order. Nothing where there is no record."""
        return await self._ask(lambda: self._read(since))

    async def close(self) -> None:
        await self._ask(self._close)
        self._thread.shutdown(wait=True)

    async def _ask(self, work: Callable[[], T]) -> T:
        with self._translated():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def read_now(self, since: float) -> Sequence[tuple[float, Fact]]:
        """As `read`, in the caller's thread, and closed again."""
        with self._translated():
            try:
                return self._read(since)
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
        connection = self._opened()
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < SPARE_BYTES:
            raise OSError(f"less than {SPARE_BYTES >> 20} MB are free")
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
        known = self._shapes.get(text)
        if known is not None:
            return known
        (number,) = (
            self._opened()
            .execute(
                "INSERT INTO shape (body, used_at) VALUES (?1, ?2)"
                " ON CONFLICT (body) DO UPDATE SET used_at = ?2 RETURNING id",
                (text, now),
            )
            .fetchone()
        )
        self._shapes[text] = int(number)
        return int(number)

    def _forget(self, connection: sqlite3.Connection, now: float) -> None:
        oldest = connection.execute("SELECT id, last_at, length(body) FROM batch ORDER BY id")
        gone = []
        for number, last_at, length in oldest:
            if last_at >= now - self._keep_seconds and self._bytes <= self._most_bytes:
                break
            self._bytes -= length
            gone.append((number,))
        oldest.close()
        connection.executemany("DELETE FROM batch WHERE id = ?", gone)
        if now - self._swept_at > USED_AGAIN_SECONDS:
            self._sweep(connection, now)

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        """Forget the shapes that no batch names any more; those in use say so again from now on."""
        self._swept_at = now
        self._shapes.clear()
        (first,) = connection.execute("SELECT min(first_at) FROM batch").fetchone()
        unused = first - 2 * USED_AGAIN_SECONDS
        connection.execute("DELETE FROM shape WHERE used_at < ?", (unused,))

    def _read(self, since: float) -> list[tuple[float, Fact]]:
        if self._read_only and not self._path.exists():
            return []
        connection = self._opened()
        shapes = dict(connection.execute("SELECT id, body FROM shape").fetchall())
        bodies = connection.execute(
            "SELECT body FROM batch WHERE last_at >= ? ORDER BY id", (since,)
        )
        found: list[tuple[float, Fact]] = []
        for (body,) in bodies:
            with contextlib.suppress(zlib.error, KeyError, TypeError, ValueError, IndexError, Odd):
                rows = unpacked(zlib.decompress(body).decode())
                found += [(at, fact_of(row, shapes.__getitem__)) for at, row in rows if at >= since]
        return found

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError:
                if self._read_only:
                    raise
                for tail in ("", "-wal", "-shm"):
                    self._path.with_name(f"{FILE_NAME}{tail}").unlink(missing_ok=True)
                self._connection = self._open()
            self._bytes = _bytes(self._connection)
        return self._connection

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


def _refuse(version: int) -> NoReturn:
    raise sqlite3.DatabaseError(f"its version is {version}, not {VERSION}")


def _bytes(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT coalesce(sum(length(body)), 0) FROM batch").fetchone()
    return int(found)


def open_record(directory: Path, since: float) -> Sequence[tuple[float, Fact]]:
    """Read a record beside a living daemon, without asyncio; empty where there is none.

    Raises TemporaryError where it cannot be read.
    """
    record = SqliteRecord(directory, read_only=True)
    return record.read_now(since)
