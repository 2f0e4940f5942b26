"""Looks at our own session from a second one: ends what takes too long, names who is in its way.

Reverse SQL may set its own time limits: only somebody else's session can hold it to ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from rollbackd.core.ports import Clock
from rollbackd.postgres.connection import Connection

_TERMINATE_AFTER_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.05
_QUERY_LIMIT: Final = 80
_TEXTS: Final = re.compile(r"'(?:[^']|'')*('|$)")  # values of rows are nobody's business

_BLOCKERS: Final = """
SELECT pid, concat_ws('/', usename, nullif(application_name, '')), coalesce(state, backend_type),
  coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8,
  coalesce(extract(epoch FROM clock_timestamp() - state_change), 0)::float8,
  coalesce(query, '')
FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%s)) ORDER BY xact_start
"""
# Looked at once more in the statement that ends it: it may have gone on meanwhile.
_END_IDLE: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = %s AND starts_with(state, 'idle in transaction') AND backend_type = 'client backend'
  AND extract(epoch FROM clock_timestamp() - state_change) >= %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A session that holds what we want. Seconds: of its transaction, and in its present state."""

    pid: int
    who: str
    state: str
    transaction_seconds: float
    state_seconds: float
    query: str

    def __str__(self) -> str:
        return (
            f"pid {self.pid} ({self.who}), {self.state}, in a transaction for"
            f" {self.transaction_seconds:.0f} s: {self.query}"
        )


class Watchdog:
    """Over one session. `ended`: the sessions of others that were ended for it."""

    def __init__(
        self,
        own: Connection,
        pid: int,
        clock: Clock,
        *,
        end_idle_after_seconds: float | None = None,
    ) -> None:
        self._own = own
        self._pid = pid
        self._clock = clock
        self._end_idle_after_seconds = end_idle_after_seconds
        self.ended: list[Blocker] = []
        self.seen: tuple[Blocker, ...] = ()

    @contextlib.asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Cancel what the session does by then; end the session itself 5 s later."""
        async with _beside(lambda: self._bite(seconds)):
            yield

    @contextlib.asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Keep in `seen` who is in the way, and end idle ones where that is allowed."""
        async with _beside(self._look):
            yield

    async def _bite(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        await self._own.execute("SELECT pg_cancel_backend(%s)", [self._pid])
        await self._clock.sleep(_TERMINATE_AFTER_SECONDS)
        await self._own.execute("SELECT pg_terminate_backend(%s)", [self._pid])

    async def _look(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            if found := await blockers(self._own, self._pid):
                self.seen = found
                for one in found:
                    await self._end_idle(one)

    async def _end_idle(self, blocker: Blocker) -> None:
        if self._end_idle_after_seconds is None:
            return
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):  # it stays in the way
            # Told before: the lock it gives up ends this watch before the answer is here.
            self.ended.append(blocker)
            asked = await self._own.execute(_END_IDLE, [blocker.pid, self._end_idle_after_seconds])
            if await asked.fetchone() == (True,):
                return
        self.ended.remove(blocker)


async def blockers(connection: Connection, pid: int) -> tuple[Blocker, ...]:
    """Who holds what the session `pid` waits for at this moment, oldest transaction first."""
    rows: list[tuple[Any, ...]] = await (await connection.execute(_BLOCKERS, [pid])).fetchall()
    return tuple(
        Blocker(
            pid=pid,
            who=who,
            state=state,
            transaction_seconds=in_transaction,
            state_seconds=in_state,
            query=trimmed(query),
        )
        for pid, who, state, in_transaction, in_state, query in rows
    )


def trimmed(query: str) -> str:
    """One short line without the texts in it."""
    line = " ".join(_TEXTS.sub("'…'", query).split())
    return line if len(line) <= _QUERY_LIMIT else f"{line[:_QUERY_LIMIT]}…"


@contextlib.asynccontextmanager
async def _beside(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Runs for as long as the block does. A watch that fails must not fail what it watches."""

    async def quietly() -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            await work()

    task = asyncio.create_task(quietly())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
