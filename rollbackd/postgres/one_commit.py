"""One transaction over the real database that is committed once, or not at all.

Its id is on disk before COMMIT is sent; a second session holds it to its time, and names who is in
its way. What becomes of a COMMIT that nobody answered the server is asked, never guessed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import PermanentError, RollbackdError
from rollbackd.core.ports import Clock
from rollbackd.postgres import holding
from rollbackd.postgres.agreed import CommitUnknown, NotProven
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.outcome import Outcome
from rollbackd.postgres.watchdog import Watchdog

T = TypeVar("T")
Journal = Callable[[str], Awaitable[None]]
Work = Callable[[Connection, Watchdog], Awaitable[T]]

_SETTLE_SECONDS: Final = 15.0
_SPARE_SECONDS: Final = 30.0  # beyond the server's own limit: then the network is to blame
_PAUSE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.1
_STATUS: Final = "SELECT pg_xact_status(%s::xid8)"
_END_OURS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = left(%s, 63) AND usename = session_user AND pid <> pg_backend_pid()
"""


class OutOfTime(PermanentError):
    """The limit for the whole of a restore was reached. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The wall-clock limit of one restore, from its first look to COMMIT."""

    clock: Clock
    limit_seconds: float
    began_at: float = field(default=0.0)

    @classmethod
    def of(cls, clock: Clock, limit_seconds: float) -> Deadline:
        return cls(clock, limit_seconds, clock.monotonic())

    def left(self) -> float:
        """Seconds, more than 0. OutOfTime when there are none."""
        left = self.began_at + self.limit_seconds - self.clock.monotonic()
        if left <= 0:
            raise self.over()
        return left

    @property
    def passed(self) -> bool:
        return self.clock.monotonic() >= self.began_at + self.limit_seconds

    def over(self) -> OutOfTime:
        return OutOfTime(
            f"the restore was not done within {self.limit_seconds:g} s: nothing was changed",
            hint="snapshot.limit is how long it may take; or restore single tables",
        )


@dataclass(slots=True, kw_only=True)
class Committed(Generic[T]):
    """`ended`: sessions of others that were ended for it, in words."""

    xid: str
    result: T
    ended: tuple[str, ...] = ()


async def committed(
    url: SecretStr,
    work: Work[T],
    *,
    policy: DatabasePolicy,
    run: str,
    deadline: Deadline,
    journal: Journal,
    watched_at: SecretStr | None = None,
) -> Committed[T]:
    """`work` is done between BEGIN and COMMIT, anew while a lock is in the way and the budget for
    locks lasts. `watched_at`: where the second session stands, if not beside the first.

    Raises what `work` raises, holding.InTheWay, OutOfTime, CommitUnknown, or what
    `connection.problem` gives; but for CommitUnknown the database is then as before.
    """
    one = _One(work, policy, deadline, journal)
    try:
        async with (
            await connect(url, name=run) as connection,
            await connect(watched_at or url, name=f"{run}/watch") as own,
        ):
            dog = Watchdog(
                own,
                connection.info.backend_pid,
                deadline.clock,
                end_idle_after_seconds=policy.end_idle_after_seconds,
            )
            try:
                return await one.go(connection, dog)
            except (psycopg.Error, TimeoutError) as error:
                if one.sent is None:
                    raise
                broken = error
    except (psycopg.Error, TimeoutError) as error:
        raise deadline.over() if deadline.passed else problem(error) from error
    xid, result = one.sent
    await _ask(url, xid, run=run, clock=deadline.clock, broken=broken)
    return Committed(xid=xid, result=result, ended=tuple(map(str, dog.ended)))


class _One(Generic[T]):
    """`sent`: the id and what `work` gave, once COMMIT may be on its way."""

    def __init__(
        self, work: Work[T], policy: DatabasePolicy, deadline: Deadline, journal: Journal
    ) -> None:
        self._work = work
        self._policy = policy
        self._deadline = deadline
        self._journal = journal
        self.sent: tuple[str, T] | None = None

    async def go(self, connection: Connection, dog: Watchdog) -> Committed[T]:
        clock = self._deadline.clock
        until = clock.monotonic() + self._policy.lock_budget_seconds
        while True:
            try:
                return await self._attempt(connection, dog)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                who = "; ".join(map(str, dog.seen)) or "nobody that can be seen"
                refused = holding.InTheWay(f"a lock is held by {who}")
                refused.__cause__ = error
            except holding.InTheWay as error:
                refused = error
            if clock.monotonic() + _PAUSE_SECONDS >= until:
                raise refused
            await clock.sleep(_PAUSE_SECONDS)

    async def _attempt(self, connection: Connection, dog: Watchdog) -> Committed[T]:
        try:
            await connection.execute("BEGIN")
            left = self._deadline.left()
            async with asyncio.timeout(left + _SPARE_SECONDS), dog.within(left):
                result = await self._work(connection, dog)
                asked = await connection.execute("SELECT pg_current_xact_id()::text")
                row: Any = await asked.fetchone()
            xid = str(row[0])
            self._deadline.left()
            await self._journal(xid)
            self.sent = xid, result
            done = await connection.execute("COMMIT")
        except BaseException:
            if self.sent is None:
                # Where even that fails the session is gone, and its transaction with it.
                with contextlib.suppress(psycopg.Error):
                    await connection.execute("ROLLBACK")
            raise
        if done.statusmessage != "COMMIT":  # the server's answer where the transaction had failed
            self.sent = None
            raise NotProven("the server rolled it back at COMMIT")
        return Committed(xid=xid, result=result, ended=tuple(map(str, dog.ended)))


async def _ask(url: SecretStr, xid: str, *, run: str, clock: Clock, broken: Exception) -> None:
    """Returns when it was committed. COMMIT was sent, and no answer came."""
    try:
        async with await connect(url, name=f"{run}/after") as connection:
            found = await fate(connection, xid, run=run, clock=clock)
    except (psycopg.Error, RollbackdError) as error:
        raise CommitUnknown(f"COMMIT of {xid} was sent, nobody answered") from error
    if found is Outcome.ABORTED:
        raise problem(broken) from broken
    if found is not Outcome.COMMITTED:
        raise CommitUnknown(f"COMMIT of {xid} was sent; the server says: {found}") from broken


async def fate(connection: Connection, xid: str, *, run: str, clock: Clock) -> Outcome:
    """What became of the transaction, by its id alone; a session that `run` left is ended first.

    Source: PostgreSQL's "Transaction ID and Snapshot Information Functions": NULL for an id that is
    too old to be known, an error for one that was not given out yet. Both are UNKNOWN.
    """
    until = clock.monotonic() + _SETTLE_SECONDS
    while True:
        status: str | None = None
        with contextlib.suppress(psycopg.errors.InvalidParameterValue):
            row: Any = await (await connection.execute(sql.SQL(_STATUS), [xid])).fetchone()
            status = row[0]
        if status is None:
            return Outcome.UNKNOWN
        if status != "in progress":
            return Outcome(status)
        if clock.monotonic() >= until:
            return Outcome.IN_PROGRESS
        await connection.execute(_END_OURS, [f"rollbackd/{run}"])
        await clock.sleep(_LOOK_SECONDS)
