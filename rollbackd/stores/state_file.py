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

import structlog

from rollbackd.core.ports import Clock
from rollbackd.stores import audit, database, retention
from rollbackd.stores.ballast import Ballast
from rollbackd.stores.tenancy import Tenancy
from rollbackd.telemetry import events

log = structlog.get_logger()

_WEIGH_EVERY_SECONDS: Final = 10.0
_FORGET_AGAIN_SECONDS: Final = 600.0  # after it failed
T = TypeVar("T")


class StateFile:
    """`tenancy` None opens it to read beside a living daemon."""

    def __init__(self, path: Path, clock: Clock, tenancy: Tenancy | None) -> None:
        self._path = path
        self._clock = clock
        self._tenancy = tenancy
        self._ballast = Ballast(path.parent)
        self._weighed_at = clock.monotonic()
        self._forget_at = self._weighed_at  # by the steady clock, as that is
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

    def write(
        self,
        work: Callable[[sqlite3.Connection], T],
        *,
        syncs: Callable[[sqlite3.Connection], bool] = lambda _: True,
    ) -> T:
        """In one transaction; on disk when it returns. Where it need not `syncs`, a power cut may
        take it back until the next one that does.
        """
        if syncs(self.connection):
            return self._write(work)
        with database.unsynced(self.connection):
            return self._write(work)

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
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
        while self._forget():
            pass
        self._forget_at = self._clock.monotonic() + retention.EVERY_SECONDS

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
        """Now and then, after a write that went well: the ballast back, some of the old forgotten.

        What was asked for is on disk by then: a failure here is logged, and nobody repeats a write
        because of it. Raises Fenced.
        """
        now = self._clock.monotonic()
        if now - self._weighed_at >= _WEIGH_EVERY_SECONDS:
            self._weighed_at = now
            self._ballast.hold()
        if now < self._forget_at:
            return
        try:
            if self._forget() == 0:
                self._transact(lambda c: audit.prune(c, self._clock.now()))
                self._forget_at = now + retention.EVERY_SECONDS
        except sqlite3.Error as error:
            self._forget_at = now + _FORGET_AGAIN_SECONDS
            log.warning(events.STORE_FAILED, op="forget", error=str(error))

    def _forget(self) -> int:
        """One chunk: a rollback that runs waits for one, and the next write for the next."""
        return self._transact(lambda c: retention.prune(c, self._clock.now()))
