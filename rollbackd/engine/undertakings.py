"""The rollbacks this process carries: each in a task of its own, one per target. Decides none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from rollbackd.core.errors import Rejected, RollbackdError
from rollbackd.core.model import RollBack, TargetName
from rollbackd.core.rules import Mode
from rollbackd.core.runbook import Journal, Plan
from rollbackd.engine import going_on
from rollbackd.engine.runner import Runner
from rollbackd.telemetry import events

log = structlog.get_logger()


@dataclass(kw_only=True)
class Undertakings:
    """`target in undertakings` while a task of ours is at it, whatever the state says yet."""

    runner: Runner
    refused: Callable[[RollBack, RollbackdError], None]
    _at_work: set[TargetName] = field(default_factory=set)
    _group: asyncio.TaskGroup | None = None

    def __contains__(self, target: object) -> bool:
        return target in self._at_work

    def gather(self, group: asyncio.TaskGroup) -> None:
        """From now on tasks can be begun; they end with the group."""
        self._group = group

    def resume(self, journal: Journal, ceiling: Mode) -> None:
        """Go on with what an earlier process left; under `observe` let go and hold instead."""
        if journal.plan.target in self._at_work:
            return
        if ceiling is Mode.OBSERVE and not going_on.waits_for_a_person(journal):
            work = self.runner.hold(journal.plan.rollback, reason="ROLLBACKD_MODE is observe")
            self._start(journal.plan.target, work)
        else:
            self._start(journal.plan.target, self.runner.carry_out(journal))

    def begin(self, decision: RollBack, frozen: Plan | None = None) -> None:
        """`frozen`: the plan that a person approved."""
        self._start(decision.target, self._begin_and_carry_out(decision, frozen))

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """What is looked up for the rollbacks to come."""
        assert self._group is not None, "the engine runs"
        self._group.create_task(work)

    async def order(
        self,
        decision: RollBack,
        record: Coroutine[Any, Any, None],
        frozen: Plan | None = None,
    ) -> Journal:
        """Begin what a person asked for; the rest goes on beside. Refusals are raised."""
        target = decision.target
        try:
            self.refuse_second(target)
        except Rejected:
            record.close()
            raise
        self._at_work.add(target)
        try:
            await record
            journal = await self.runner.begin(decision, frozen)
        except BaseException:
            self._at_work.discard(target)
            raise
        self._start(target, self.runner.carry_out(journal))
        return journal

    def release(self, journal: Journal, *, by: str) -> None:
        """A person lets one that holds go on."""
        self.refuse_second(journal.plan.target)
        self._start(journal.plan.target, self.runner.carry_out(journal, released_by=by))

    def refuse_second(self, target: TargetName) -> None:
        """Raise Rejected while a task of ours is at it."""
        if target in self._at_work:
            raise Rejected(f"a rollback of {target} is under way", hint="see rollbackd status")

    def _start(self, target: TargetName, work: Coroutine[Any, Any, object]) -> None:
        assert self._group is not None, "the engine runs"
        self._at_work.add(target)
        self._group.create_task(self._to_its_end(target, work), name=f"rollback of {target}")

    async def _begin_and_carry_out(self, decision: RollBack, frozen: Plan | None) -> None:
        try:
            journal = await self.runner.begin(decision, frozen)
        except RollbackdError as error:
            self.refused(decision, error)  # the runner told of it as an end before any effect
            return
        await self.runner.carry_out(journal)

    async def _to_its_end(self, target: TargetName, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except RollbackdError as error:
            # A rollback that cannot be gone on with is a person's; it must not end the watch.
            log.error(events.ROLLBACK_HELD, target=target, error=error.message, hint=error.hint)
        finally:
            self._at_work.discard(target)
