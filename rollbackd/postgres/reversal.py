"""Reverses migrations: all in one transaction, which is committed only when the result is proven.

Before COMMIT the schema is what the rehearsal foresaw, the history has just those rows fewer, and
the owner's invariants hold; any doubt rolls everything back. The transaction's id is on disk before
COMMIT is sent, so that whoever comes after a crash can ask the server what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import psycopg
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy
from rollbackd.core.errors import RollbackdError
from rollbackd.core.ports import Clock
from rollbackd.postgres import checks, guard, histories, holding, invariants, limits, outcome
from rollbackd.postgres.agreed import CommitUnknown, NotProven, Reversal, Reversed, Stale
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import compare, fingerprint
from rollbackd.postgres.locks import lock_keys
from rollbackd.postgres.outcome import Outcome
from rollbackd.postgres.watchdog import Watchdog
from rollbackd.postgres.words import Applied

_SETTLE_SECONDS: Final = 15.0  # to learn what became of a COMMIT that nobody answered
_SPARE_SECONDS: Final = 60.0  # beyond every limit there is: then the network is to blame
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 3.0

Journal = Callable[[str], Awaitable[None]]


async def reverse(
    url: SecretStr,
    reversal: Reversal,
    *,
    policy: DatabasePolicy,
    run: str,
    clock: Clock,
    rng: random.Random,
    journal: Journal,
) -> Reversed:
    """Committed and proven when it returns. `journal` has the id on disk when it returns.

    Raises holding.OtherRun, holding.InTheWay, Stale, NotProven, CommitUnknown, or what `guard.run`
    and `connection.problem` give; but for CommitUnknown the database is then as before.
    """
    if reversal.left:
        raise NotProven(
            f"it would not be the good release's schema: {reversal.left[0]}",
            hint="; ".join(reversal.left[1:]),
        )
    try:
        async with (
            await connect(url, name=run) as connection,
            await connect(url, name=f"{run}/watch") as own,
        ):
            dog = Watchdog(
                own,
                connection.info.backend_pid,
                clock,
                end_idle_after_seconds=policy.end_idle_after_seconds,
            )
            work = _Work(connection, dog, reversal, policy=policy, clock=clock, journal=journal)
            try:
                return await work.go(rng)
            except (psycopg.Error, TimeoutError) as error:
                if work.committing is None:
                    raise
                xid, locked = work.committing
                broken = error
    except psycopg.Error as error:
        raise problem(error) from error
    await _ask(url, reversal, xid, policy=policy, run=run, clock=clock, broken=broken)
    return Reversed(
        xid=xid,
        seconds=clock.monotonic() - work.began_at,
        locked_seconds=locked,
        tries=work.tries,
        ended=tuple(map(str, dog.ended)),
    )


async def _ask(
    url: SecretStr,
    reversal: Reversal,
    xid: str,
    *,
    policy: DatabasePolicy,
    run: str,
    clock: Clock,
    broken: Exception,
) -> None:
    """Returns when it was committed. COMMIT was sent, and no answer came."""
    found = Outcome.IN_PROGRESS
    try:
        async with await connect(url, name=f"{run}/after") as connection:
            found = await outcome.settled(
                connection,
                xid,
                run=run,
                before=reversal.before,
                after=reversal.after,
                histories=policy.histories,
                schemas=policy.schemas,
                clock=clock,
                within_seconds=_SETTLE_SECONDS,
            )
    except (psycopg.Error, RollbackdError) as error:
        raise CommitUnknown(f"COMMIT of {xid} was sent, nobody answered") from error
    if found is Outcome.ABORTED:
        raise problem(broken) from broken
    if found is not Outcome.COMMITTED:
        raise CommitUnknown(f"COMMIT of {xid} was sent; the server says: {found}") from broken


class _Work:
    """One reversal over one session. `committing`: id and seconds of locks, once it was sent."""

    def __init__(
        self,
        connection: Connection,
        dog: Watchdog,
        reversal: Reversal,
        *,
        policy: DatabasePolicy,
        clock: Clock,
        journal: Journal,
    ) -> None:
        self._connection = connection
        self._dog = dog
        self._reversal = reversal
        self._policy = policy
        self._clock = clock
        self._journal = journal
        self._rows: Mapping[str, int] = {}
        self.committing: tuple[str, float] | None = None
        self.began_at = clock.monotonic()
        self.tries = 0

    async def go(self, rng: random.Random) -> Reversed:
        """Try until the locks are there, or their budget is spent."""
        found = await fingerprint(self._connection, self._policy.schemas)
        if found.sha256 != self._reversal.before.schema:
            raise Stale("the schema changed since the plan was made", hint="make a new plan")
        self._rows = await checks.count(self._connection, self._critical)
        until = self._clock.monotonic() + self._policy.lock_budget_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self.tries += 1
            try:
                async with asyncio.timeout(self._longest_seconds):
                    return await self._attempt()
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                who = "; ".join(map(str, self._dog.seen)) or "nobody that can be seen"
                refused = holding.InTheWay(f"a lock is held by {who}")
                refused.__cause__ = error
            except holding.InTheWay as error:
                refused = error
            if self._clock.monotonic() + pause >= until:
                raise refused
            await self._clock.sleep(pause * rng.uniform(0.5, 1.5))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    @property
    def _critical(self) -> tuple[str, ...]:
        return tuple(table.table for table in self._policy.critical_tables)

    @property
    def _longest_seconds(self) -> float:
        policy = self._policy
        steps = len(self._reversal.steps) + 1
        return (
            policy.statement_timeout_seconds * steps
            + policy.lock_timeout_seconds * (len(self._reversal.locks) + steps)
            + _SPARE_SECONDS
        )

    async def _attempt(self) -> Reversed:
        try:
            await self._connection.execute("BEGIN")
            return await self._transaction()
        except BaseException:
            if self.committing is None:
                # Where even that fails the session is gone, and its transaction with it.
                with contextlib.suppress(psycopg.Error):
                    await self._connection.execute("ROLLBACK")
            raise

    async def _transaction(self) -> Reversed:
        await limits.limit(self._connection, self._policy)
        await holding.ours(self._connection)
        await holding.tools(self._connection, self._tool_keys)
        async with self._dog.waiting():
            await holding.histories(self._connection, self._history_tables)
            await self._history_is(self._reversal.before.applied)
            locked_at = self._clock.monotonic()
            await holding.tables(self._connection, self._reversal.locks)
        await self._rows_agreed_to()
        for step in self._reversal.steps:
            async with self._dog.within(self._policy.statement_timeout_seconds):
                await guard.run(self._connection, step)
            await limits.limit(self._connection, self._policy)  # a file may set others
            await histories.forget(self._connection, step.applied)
        async with self._dog.within(self._policy.statement_timeout_seconds):
            await self._prove()
        return await self._commit(locked_at)

    @property
    def _history_tables(self) -> frozenset[str]:
        steps = (step.applied for step in self._reversal.steps)
        return frozenset(each.table for each in (*self._reversal.before.applied, *steps))

    @property
    def _tool_keys(self) -> Sequence[int]:
        steps = [step.applied for step in self._reversal.steps]
        return lock_keys(steps, database=self._connection.info.dbname)

    async def _history_is(self, expected: Sequence[Applied]) -> None:
        now = await histories.applied(self._connection, self._policy.histories)
        if not outcome.same_history(now, expected):
            raise Stale("migrations were applied or taken back since the plan was made")

    async def _rows_agreed_to(self) -> None:
        """Under the locks: from here on nobody adds a row."""
        now = await checks.count(self._connection, self._reversal.rows_lost)
        if more := checks.grown(self._reversal.rows_lost, now):
            raise Stale(more[0], hint="make a new plan")

    async def _prove(self) -> None:
        """Raises NotProven, all that is wrong in its hint."""
        await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        found = await fingerprint(self._connection, self._policy.schemas)
        if found.sha256 != self._reversal.after.schema:
            expected = self._reversal.expected
            told = checks.lines(compare(expected, found)) if expected is not None else ()
            raise NotProven("the schema is not what the rehearsal foresaw", hint="; ".join(told))
        now = await histories.applied(self._connection, self._policy.histories)
        if not outcome.same_history(now, self._reversal.after.applied):
            raise NotProven("the history is not what it should be afterwards")
        rows = await checks.count(self._connection, self._critical)
        if lost := checks.critical(self._policy.critical_tables, self._rows, rows):
            raise NotProven(lost[0], hint="; ".join(lost[1:]))
        if failed := await invariants.broken(self._connection, self._policy.invariants):
            raise NotProven(f"an invariant does not hold: {failed[0]}", hint="; ".join(failed[1:]))

    async def _commit(self, locked_at: float) -> Reversed:
        await self._connection.execute("NOTIFY pgrst, 'reload schema'")  # heard only if committed
        row: Any = await (
            await self._connection.execute("SELECT pg_current_xact_id()::text")
        ).fetchone()
        xid = str(row[0])
        await self._journal(xid)
        locked = self._clock.monotonic() - locked_at
        self.committing = xid, locked
        done = await self._connection.execute("COMMIT")
        if done.statusmessage != "COMMIT":  # the server's answer where the transaction had failed
            self.committing = None
            raise NotProven("the server rolled it back at COMMIT")
        return Reversed(
            xid=xid,
            seconds=self._clock.monotonic() - self.began_at,
            locked_seconds=self._clock.monotonic() - locked_at,
            tries=self.tries,
            ended=tuple(map(str, self._dog.ended)),
        )
