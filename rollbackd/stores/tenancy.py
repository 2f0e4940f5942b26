"""Whose the state directory is: one daemon at a time, however the one before it ended.

Two fences, for two kinds of harm. A number in the database is compared in every transaction, so
two daemons never write; the lock file is looked at before every call to a platform, so one that
was frozen and woke up too late sends nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rollbackd.core.errors import Fenced, Rejected
from rollbackd.core.ports import Clock
from rollbackd.stores.lock import DirectoryLock

FROZEN_SECONDS: Final = 5.0  # ten beats: a busy machine is late, never that late
_POLL_SECONDS: Final = 0.25
_FROZEN_POLLS: Final = int(FROZEN_SECONDS / _POLL_SECONDS)


class Tenancy:
    """Our time in the directory: waited for, begun, lost or given back."""

    def __init__(self, lock_path: Path, clock: Clock) -> None:
        self._directory = lock_path.parent
        self._lock = DirectoryLock(lock_path)
        self._clock = clock
        self._number: int | None = None

    def take(self) -> None:
        """Raise Rejected when another process has the directory. Ours already: nothing to do."""
        self._lock.take()

    async def stand_by(self, told: Callable[[str], None]) -> bool:
        """Wait until the directory is ours; True when its holder was frozen and is deposed.

        `told` once, with who has it. A holder counts as frozen after 20 looks of ours in a row
        without a beat: were we frozen ourselves, we would not have looked.
        """
        sign, same, said = (0, 0), 0, False
        while True:
            try:
                self._lock.take()
            except Rejected as rejected:
                if not said:
                    told(rejected.message)
                    said = True
            else:
                return False
            now = self._lock.sign_of_life()
            same = same + 1 if now == sign else 0
            sign = now
            if same >= _FROZEN_POLLS and self._lock.take_over(sign):
                return True
            await self._clock.sleep(_POLL_SECONDS)

    def begin(self, connection: sqlite3.Connection) -> None:
        """From this transaction on every other daemon's are refused."""
        connection.execute(
            "INSERT INTO meta VALUES ('tenancy', '1') ON CONFLICT (key)"
            " DO UPDATE SET value = CAST(value AS INTEGER) + 1"
        )
        self._number = _number(connection)

    def check(self, connection: sqlite3.Connection) -> None:
        """Inside a transaction: raise Fenced when another daemon has begun since."""
        if _number(connection) != self._number:
            raise Fenced(
                f"another rollbackd took {self._directory} over",
                hint="this one ends; that one goes on",
            )

    def check_lock(self, what: str) -> None:
        """Before anything is sent: raise Fenced when the directory is not ours any more."""
        if not self._lock.held:
            raise Fenced(
                f"another rollbackd took {self._directory} over, not sent: {what}",
                hint="this one ends; that one goes on",
            )

    def end(self) -> None:
        self._lock.release()


def _number(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = 'tenancy'").fetchone()
    return int(row["value"])
