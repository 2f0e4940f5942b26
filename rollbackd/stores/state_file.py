"""The open database: whole transactions, the ballast, forgetting. Used from one thread only.

A full disk is met with the ballast; only when that is spent does a write fail, and it may then be
repeated for as long as it takes. Knows no rollback.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from rollbackd.core.ports import Clock
from rollbackd.stores import audit, database, retention
from rollbackd.stores.ballast import Ballast
from rollbackd.stores.tenancy import Tenancy

_WEIGH_EVERY_SECONDS: Final = 10.0
T = TypeVar("T")


class StateFile:
    """`tenancy` None opens it to read beside a living daemon."""

    def __init__(self, path: Path, clock: Clock, tenancy: Tenancy | None) -> None:
        self._path = path
        self._clock = clock
        self._tenancy = tenancy
        self._ballast = Ballast(path.parent)
        self._pruned_at = self._weighed_at = clock.monotonic()
        self._connection: sqlite3.Connection | None = None

    def open(self, owner: str) -> None:
        """Check, migrate, prune, and begin our tenancy. Raises sqlite3.Error and ours."""
        if self._tenancy is None:
            self._connection = database.connect(self._path, read_only=True)
            database.check_readable(self._connection, self._path)
            return
        database.make_directory(self._path.parent)
        self._tenancy.take()
        try:
            self._begin(self._tenancy, owner)
        except sqlite3.Error as error:
            self._disconnect()
            if not self._ballast.missed(error) or not self._ballast.give_up():
                raise
            self._begin(self._tenancy, owner)
        self._ballast.hold()

    def close(self) -> None:
        self._disconnect()
        if self._tenancy is not None:
            self._tenancy.end()

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return work(self.connection)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In one transaction; on disk when it returns."""
        try:
            answer = self._transact(work)
        except sqlite3.Error as error:
            if not self._ballast.missed(error):
                raise
            self._make_room()
            answer = self._transact(work)
        self._keep_house()
        return answer

    @property
    def connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection

    def _begin(self, tenancy: Tenancy, owner: str) -> None:
        now = self._clock.now()
        connection = self._connection = database.connect(self._path, read_only=False)
        database.prepare(connection, self._path, now)
        with database.transaction(connection):
            tenancy.begin(connection)
            audit.prune(connection, now)
            audit.append(connection, "boot", at=now, data={"owner": owner})
        self._prune()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with database.transaction(self.connection):
            if self._tenancy is not None:
                self._tenancy.check(self.connection)
            return work(self.connection)

    def _make_room(self) -> None:
        """Fold the log into the file and cut it; once more with the ballast's space."""
        self._weighed_at = self._clock.monotonic()
        self._fold()
        if self._ballast.give_up():
            self._fold()

    def _fold(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchone()

    def _keep_house(self) -> None:
        """Now and then, after a write that went well: the ballast back, the old forgotten."""
        now = self._clock.monotonic()
        if now - self._weighed_at >= _WEIGH_EVERY_SECONDS:
            self._weighed_at = now
            self._ballast.hold()
        if now - self._pruned_at >= retention.EVERY_SECONDS:
            self._transact(lambda c: audit.prune(c, self._clock.now()))
            self._prune()

    def _prune(self) -> None:
        """In chunks: a rollback that runs waits for one of them, not for all."""
        self._pruned_at = self._clock.monotonic()
        while self._transact(lambda c: retention.prune(c, self._clock.now())):
            pass
