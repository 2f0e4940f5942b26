"""Looks at one target's database while its release is well, and keeps what it sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import psycopg

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.model import Release, TargetName
from rollbackd.core.ports import Clock, Store
from rollbackd.plugins import DatabaseAccess
from rollbackd.postgres.connection import Connection, problem
from rollbackd.postgres.fingerprint import fingerprint
from rollbackd.postgres.histories import applied
from rollbackd.postgres.observations import Observations
from rollbackd.postgres.reader import Reader, Row, select
from rollbackd.postgres.words import Applied, Fingerprint, Observed

ANEW_SECONDS: Final = 600.0  # what changes a schema without a migration is seen this late
STILL_SECONDS: Final = 60.0  # between two writes that only say that nothing changed
_LOOK_SECONDS: Final = 60.0  # 2,000 tables take one
_COUNT_SECONDS: Final = 20.0


class Observer:
    """`look` while the release is well; nothing is kept open between two looks."""

    def __init__(
        self,
        store: Store,
        target: TargetName,
        access: DatabaseAccess,
        policy: DatabasePolicy,
        clock: Clock,
    ) -> None:
        self._ledger = Observations(store, target)
        self._policy = policy
        self._clock = clock
        self._reader = Reader(access.url, name="observer")
        self._known: tuple[str, tuple[Applied, ...]] | None = None
        self._whole_at = self._written_at = 0.0

    async def look(self, release: Release, *, still: Callable[[], bool]) -> str:
        """What is new, in words, "" for nothing. `still`: whether the release is well by now.

        Raises `core.errors` where the database or the disk does not answer.
        """
        try:
            return await self._look(release, still)
        except (psycopg.Error, OSError) as error:
            raise problem(error) from None
        finally:
            await self._reader.close()

    async def _look(self, release: Release, still: Callable[[], bool]) -> str:
        at = self._clock.now()
        rows = await self._reader.ask(self._applied, within_seconds=_LOOK_SECONDS)
        seen = (release.content, rows)
        if seen == self._known and 0 <= at - self._whole_at < ANEW_SECONDS:
            if still() and not 0 <= at - self._written_at < STILL_SECONDS:
                await self._ledger.still(release.content, release.version, at)
                self._written_at = at
            return ""
        rows, found = await self._reader.ask(self._whole, within_seconds=_LOOK_SECONDS)
        counts = await self._counts()
        if not still():
            return ""  # somebody deployed, or it broke, while we looked
        await self._ledger.keep(
            Observed(
                version=release.version,
                content=release.content,
                at=at,
                applied=rows,
                fingerprint=found,
                row_counts=counts,
            )
        )
        before, self._known = self._known, (release.content, rows)
        self._whole_at = self._written_at = at
        return "" if before == self._known else _words(rows, found)

    async def _applied(self, connection: Connection) -> tuple[Applied, ...]:
        return tuple(await applied(connection, self._policy.histories))

    async def _whole(self, connection: Connection) -> tuple[tuple[Applied, ...], Fingerprint]:
        """Both from one snapshot: no migration ends between the two."""
        rows = await self._applied(connection)
        return rows, await fingerprint(connection, self._policy.schemas)

    async def _counts(self) -> dict[str, int]:
        """Of the critical tables; one that is not there, or too large to count, is left out."""
        found = {}
        for table in (critical.table for critical in self._policy.critical_tables):
            try:
                rows = await self._reader.ask(partial(_count, table), within_seconds=_COUNT_SECONDS)
            except (psycopg.Error, TimeoutError):
                continue
            found[table] = int(rows[0][0])
        return found


async def _count(table: str, connection: Connection) -> list[Row]:
    return await select(connection, f"SELECT count(*) FROM {table}")  # noqa: S608 -- checked at load


def _words(rows: tuple[Applied, ...], found: Fingerprint) -> str:
    return f"{len(rows)} migrations, {len(found.objects)} objects"
