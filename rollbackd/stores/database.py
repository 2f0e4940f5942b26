"""Opens the SQLite file, migrates it, and runs one transaction at a time. Knows no rollback."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rollbackd.core.errors import (
    ConfigError,
    PermanentError,
    RollbackdError,
    TemporaryError,
    UsageError,
)
from rollbackd.stores.schema_sql import MIGRATIONS, SCHEMA_VERSION

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def make_directory(directory: Path) -> None:
    """The state names releases, machines and people: for its owner only."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise untouchable(error, f"the state directory {directory}") from error


def untouchable(error: OSError, what: str) -> RollbackdError:
    """The system's refusal as ours: a full disk passes, what is not ours stays so."""
    if error.errno in _FULL:
        return TemporaryError(f"no space left for {what}", hint="free space; nothing is lost")
    return ConfigError(
        f"cannot use {what}: {error.strerror}",
        hint="set ROLLBACKD_STATE to a directory this user owns",
    )


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection whose every commit is on disk when it returns.

    `isolation_level=None`: the module's implicit transactions keep the write lock after a failed
    statement. The caller uses it in the thread that opened it.
    """
    if not read_only:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    elif not path.exists():
        raise UsageError(f"there is no state in {path.parent}", hint="see ROLLBACKD_STATE")
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA busy_timeout = 5000")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA temp_store = MEMORY")  # sorting must not need the full disk
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path, now: float) -> None:
    """Check the file, refuse one from a newer rollbackd, and bring an older one up to date."""
    _quick_check(connection, path)
    version = _version(connection)
    refuse_newer(version, path)
    if version == SCHEMA_VERSION:
        return
    with transaction(connection):
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        facts = {
            "schema_version": str(SCHEMA_VERSION),
            "instance": uuid.uuid4().hex,
            "created_at": str(now),
        }
        if version:
            facts = {"schema_version": str(SCHEMA_VERSION)}
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())


def refuse_newer(version: int, path: Path) -> None:
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path} was written by a newer rollbackd (state version {version}, "
            f"this one knows {SCHEMA_VERSION})",
            hint="run the newer rollbackd, or move the state directory aside",
        )


def check_readable(connection: sqlite3.Connection, path: Path) -> None:
    """For a reader: it can neither migrate nor guess."""
    version = _version(connection)
    refuse_newer(version, path)
    if version < SCHEMA_VERSION:
        raise UsageError(f"{path} is not set up yet", hint="start the daemon once: rollbackd run")


@contextlib.contextmanager
def unsynced(connection: sqlite3.Connection) -> Iterator[None]:
    """What is committed inside outlives this process at once, and a power cut only when the next
    commit outside has returned: the log is read up to where it is whole, so it is never lost
    without what came after it.
    """
    connection.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous = FULL")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the start: no reader turns writer half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled it back already
            connection.execute("ROLLBACK")
        raise


# Nobody can read from it whether a rollback was begun: let-go.sh asks the platform instead.
_BEYOND_US: Final = (
    "an unfinished rollback may stand in it: scripts/rollback/let-go.sh shows what is held and"
    " gives it back; then move it aside, or put back a snapshot of the volume, and start again"
)


def translated(error: sqlite3.Error, path: Path) -> RollbackdError:
    """SQLite's error as ours: what passes by itself, and what a person must look at."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        return PermanentError(
            f"{path} is damaged: {error}",
            hint=_BEYOND_US,
        )
    if code == sqlite3.SQLITE_FULL:
        return TemporaryError(
            f"no space left for {path}", hint=f"free space under {path.parent}; nothing is lost"
        )
    if isinstance(error, sqlite3.OperationalError):
        return TemporaryError(f"cannot use {path}: {error}", hint="is the volume mounted?")
    return PermanentError(f"{path} refused a write: {error}", hint="this is a bug in rollbackd")


def _quick_check(connection: sqlite3.Connection, path: Path) -> None:
    (answer,) = connection.execute("PRAGMA quick_check (1)").fetchone()
    if answer != "ok":
        raise PermanentError(
            f"{path} is damaged: {answer}",
            hint=_BEYOND_US,
        )


def _version(connection: sqlite3.Connection) -> int:
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if known is None:
        return 0
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    return int(row["value"])
