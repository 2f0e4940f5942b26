"""Measures what a reversal would cost by doing it where it does not count: on a clone, or in place.

A clone has no rows: those that would go are counted in the real tables, and what a step writes to
rows is said, for only in place can it be counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from pydantic import SecretStr

from rollbackd.core.database import DatabasePolicy, Rehearsal
from rollbackd.core.errors import PlanRefused, RollbackdError
from rollbackd.core.ports import Clock
from rollbackd.postgres import checks, clone, costs, excerpt, harm, histories
from rollbackd.postgres.agreed import Reversal
from rollbackd.postgres.connection import Connection, connect, problem
from rollbackd.postgres.fingerprint import after as stepped
from rollbackd.postgres.fingerprint import compare, fingerprint, unlike
from rollbackd.postgres.history_rows import parts
from rollbackd.postgres.limits import limit
from rollbackd.postgres.outcome import State
from rollbackd.postgres.trial_run import Seen, Trial
from rollbackd.postgres.words import Applied, Cost, Difference, Fingerprint, Reverse

_LOCK_SECONDS: Final = 0.5  # in place the app waits behind us
_CLONE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """`costs` one a step, in their order; `total` from the first to the last.

    `alone`: the steps that run outside of the transaction, after it. `after`: when those ran too.
    """

    costs: tuple[Cost, ...]
    total: Cost
    reversal: Reversal
    alone: tuple[Reverse, ...]
    after: State
    where: Rehearsal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """`between`: the history when the transaction is committed; `after`: when `alone` ran too."""

    seen: tuple[Seen, ...]
    alone: tuple[Seen, ...]
    locks: Mapping[str, str]
    between: tuple[Applied, ...]
    after: tuple[Applied, ...]
    where: Rehearsal


async def rehearse(
    url: SecretStr,
    steps: Sequence[Reverse],
    *,
    policy: DatabasePolicy,
    good: Fingerprint | None,
    clock: Clock,
) -> Rehearsed:
    """`steps` newest first; `good`: the schema to come back to, None where it is not known.

    Changes nothing. Raises what `guard.run` says of a step, PlanRefused, or what
    `connection.problem` gives.
    """
    try:
        async with await connect(url, name="plan") as source:
            plan = _Plan(source, url, steps, policy=policy, clock=clock)
            return await plan.make(good)
    except psycopg.Error as error:
        raise problem(error) from error


class _NoClone(Exception):
    """There is none, or what came out is not like its source."""

    def __init__(self, why: Exception) -> None:
        super().__init__(str(why))
        self.why = why


class _Plan:
    def __init__(
        self,
        source: Connection,
        url: SecretStr,
        steps: Sequence[Reverse],
        *,
        policy: DatabasePolicy,
        clock: Clock,
    ) -> None:
        self._source = source
        self._url = url
        self._inside = tuple(step for step in steps if step.transactional)
        self._alone = tuple(step for step in steps if not step.transactional)
        self._steps = (*self._inside, *self._alone)  # in the order in which they will run
        self._policy = policy
        self._clock = clock

    async def make(self, good: Fingerprint | None) -> Rehearsed:
        found = await histories.applied(self._source, self._policy.histories)
        before, measured = await self._measured(found)
        everything = (*measured.seen, *measured.alone)
        over = _over(everything)
        between, final = stepped(before, _over(measured.seen)), stepped(before, over)
        rows = await checks.count(self._source, _tables_lost(everything))
        judge = costs.Judge(self._policy, rows, good)
        residue = compare(good, final) if good is not None else None
        counts = harm.split(residue, self._policy.leftovers)[0] if residue else None
        pairs = zip(self._steps, everything, strict=True)
        total = judge.all(self._steps, everything, over, residue)
        return Rehearsed(
            costs=tuple(judge.one(step, seen) for step, seen in pairs),
            total=total,
            reversal=Reversal(
                steps=self._inside,
                before=State(applied=found, schema=before.sha256),
                after=State(applied=measured.between, schema=between.sha256),
                locks=measured.locks,
                rows_lost=rows,
                expected=between,
                left=checks.said(counts) if counts else (),
            ),
            alone=self._alone,
            after=State(applied=measured.after, schema=final.sha256),
            where=measured.where,
        )

    async def _measured(self, found: Sequence[Applied]) -> tuple[Fingerprint, _Measured]:
        """Of now, and of the steps."""
        schemas = self._policy.schemas
        if self._policy.rehearsal is not Rehearsal.CLONE:
            before = await fingerprint(self._source, schemas)
            return before, await self._in_place(before, found)
        named = sorted({*schemas, *(table[0] for table in _tables_of(found))})
        async with clone.dumping(self._source, named, _CLONE_SECONDS) as dumping:
            before = await fingerprint(self._source, schemas)
            try:
                dump = await _there(dumping)
                measured = await self._on_excerpt(dump, before, found)
                return before, measured or await self._on_whole(dump, before, found)
            except _NoClone as error:
                why = error.why
        if self._alone:
            raise PlanRefused(
                "what runs outside of a transaction can be tried on a clone only",
                hint=f"and there is none: {why}",
            ) from why
        return before, await self._in_place(before, found)

    async def _on_excerpt(
        self, dump: Path, before: Fingerprint, found: Sequence[Applied]
    ) -> _Measured | None:
        """On that part of a large schema that the steps can reach; None where it was not enough."""
        words = excerpt.names(step.text for step in self._steps)
        if words is None:
            return None
        words |= {table[-1].lower() for table in _tables_of(found)}
        try:
            only = await clone.excerpt_of(self._source, dump, words, _CLONE_SECONDS)
            if only is None:
                return None
            async with self._clone(dump, found, only) as copy:
                base = await fingerprint(copy, self._policy.schemas)
                other = unlike(before, base)
                if other.extra or other.changed:
                    return None
                return await self._on_clone(copy, base, found)
        except (psycopg.Error, RollbackdError):
            return None  # whose fault it is the whole will show

    async def _on_whole(
        self, dump: Path, before: Fingerprint, found: Sequence[Applied]
    ) -> _Measured:
        async with contextlib.AsyncExitStack() as stack:
            try:
                copy = await stack.enter_async_context(self._clone(dump, found))
            except (psycopg.Error, RollbackdError) as error:
                raise _NoClone(error) from error  # no room, no right: then in place
            base = await fingerprint(copy, self._policy.schemas)
            try:
                return await self._on_clone(copy, base, found)
            except (psycopg.Error, RollbackdError) as error:
                if not unlike(before, base):
                    raise  # the clone is the same: the step is to blame
                raise _NoClone(error) from error

    def _clone(
        self, dump: Path, found: Sequence[Applied], only: Path | None = None
    ) -> AbstractAsyncContextManager[Connection]:
        return clone.cloned(
            self._url,
            self._source,
            dump,
            only=only,
            with_rows=[sql.Identifier(*table) for table in _tables_of(found)],
            limit_seconds=_CLONE_SECONDS,
            clock=self._clock,
        )

    async def _on_clone(
        self, copy: Connection, base: Fingerprint, found: Sequence[Applied]
    ) -> _Measured:
        trial = self._trial(copy, found, with_rows=False)
        # Rolled back where nothing comes after it: roles and settings are shared with the databases
        # beside the clone, and COMMIT would change them there.
        async with copy.transaction(force_rollback=not self._alone):
            seen = await self._inside_of(copy, trial, base, lock_seconds=None)
            between = await histories.applied(copy, self._policy.histories)
        alone: list[Seen] = []
        for step in self._alone:
            last = [*seen, *alone]
            alone.append(await trial.step(step, last[-1].after if last else base))
        return _Measured(
            seen=seen,
            alone=tuple(alone),
            locks=trial.locks,
            between=between,
            after=await histories.applied(copy, self._policy.histories) if alone else between,
            where=Rehearsal.CLONE,
        )

    async def _in_place(self, before: Fingerprint, found: Sequence[Applied]) -> _Measured:
        """With real rows and real locks, for as short as it takes; rolled back in any case."""
        if self._alone:
            raise PlanRefused("what runs outside of a transaction cannot be tried in place")
        trial = self._trial(self._source, found, with_rows=True)
        async with self._source.transaction(force_rollback=True):
            seen = await self._inside_of(self._source, trial, before, lock_seconds=_LOCK_SECONDS)
            between = await histories.applied(self._source, self._policy.histories)
        return _Measured(
            seen=seen,
            alone=(),
            locks=trial.locks,
            between=between,
            after=between,
            where=Rehearsal.IN_PLACE,
        )

    def _trial(self, on: Connection, found: Sequence[Applied], *, with_rows: bool) -> Trial:
        return Trial(
            on,
            schemas=self._policy.schemas,
            history_tables=frozenset(each.table for each in found),
            with_rows=with_rows,
            clock=self._clock,
        )

    async def _inside_of(
        self, on: Connection, trial: Trial, start: Fingerprint, *, lock_seconds: float | None
    ) -> tuple[Seen, ...]:
        seen: list[Seen] = []
        for step in self._inside:
            await limit(on, self._policy, lock_seconds=lock_seconds)
            seen.append(await trial.step(step, seen[-1].after if seen else start))
        return tuple(seen)


def _over(seen: Sequence[Seen]) -> Difference:
    return compare(seen[0].before, seen[-1].after) if seen else Difference()


async def _there(dumping: Awaitable[Path]) -> Path:
    try:
        return await dumping
    except (psycopg.Error, RollbackdError) as error:
        raise _NoClone(error) from error


def _tables_of(found: Sequence[Applied]) -> list[tuple[str, ...]]:
    return sorted({parts(each.table) for each in found})


def _tables_lost(seen: Sequence[Seen]) -> list[str]:
    """Also of a table that a later step brings back: its rows are gone."""
    lost = {name for one in seen for name in costs.lost_tables(compare(one.before, one.after))}
    return sorted(lost)
