"""Walks a plan with its journal: every step on disk before it touches the world. Plans nothing,
judges nothing.

A fresh rollback and one that a crash cut short come through the same door. Phases never overlap;
within one, neighbouring steps of one kind (and one `wave`) run side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from rollbackd.core.asked import NeedsApproval
from rollbackd.core.errors import Fenced, Rejected, RollbackdError, Stopped, Superseded
from rollbackd.core.facts import RollbackStarted, TargetFact
from rollbackd.core.model import RollBack, RollbackId, RollbackOutcome, TargetName
from rollbackd.core.ports import Clock, Executor, Store
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import Journal, Plan, RollbackState
from rollbackd.engine import going_on
from rollbackd.engine.ending import Ending, ended, ending, intended, over, undone
from rollbackd.engine.group import next_group, take_group
from rollbackd.engine.leaving import Leaving, Left, past_return
from rollbackd.engine.letting_go import and_held, end_to
from rollbackd.engine.pauses import Pauses
from rollbackd.engine.steps import StandStill, StepTaker
from rollbackd.engine.stop import StopSwitch
from rollbackd.engine.switching import tell_switched
from rollbackd.engine.undoing import undo
from rollbackd.engine.walk import Tell, Walk, persistently
from rollbackd.telemetry import events

DRAIN_SECONDS: Final = 10.0
STOP_POLL_SECONDS: Final = 1.0
_HELD: Final = RollbackState.HOLDING, RollbackOutcome.HOLDING
_CANCELLED: Final = RollbackState.CANCELLED, RollbackOutcome.CANCELLED
_SUPERSEDED: Final = RollbackState.SUPERSEDED, RollbackOutcome.SUPERSEDED


@dataclass(kw_only=True)
class Runner:
    clock: Clock
    store: Store
    executor_for: Callable[[TargetName], Executor]
    publish: Callable[[TargetFact], None]
    prove: Callable[[TargetName, RollbackId], Awaitable[Proved]]
    stop: StopSwitch
    events: Tell
    _pauses: Pauses = field(init=False)
    _taker: StepTaker = field(init=False)
    _begun: set[RollbackId] = field(default_factory=set)  # by this process: no claim needed
    _walking: dict[RollbackId, asyncio.Task[Any]] = field(default_factory=dict)
    _leaving: Leaving = field(default_factory=Leaving)

    def __post_init__(self) -> None:
        self._pauses = Pauses(self.clock, self.stop)
        self._taker = StepTaker(
            clock=self.clock,
            stop=self.stop,
            pauses=self._pauses,
            prove=self._prove,
            check_awake=going_on.check_awake,
        )

    async def dry_run(self, decision: RollBack) -> Plan:
        """What would be done. Touches nothing, writes nothing."""
        return await self.executor_for(decision.target).plan(decision)

    async def begin(self, decision: RollBack, frozen: Plan | None = None) -> Journal:
        """Plan it and open its journal; on disk when this returns. What it cannot begin it tells
        as an end before any effect, and raises. `frozen`: the plan that a person approved.
        """
        try:
            self.stop.check(f"rollback of {decision.target}")
            fresh = await self.executor_for(decision.target).plan(decision)
            plan = going_on.as_approved(decision, frozen, fresh)
            journal = await self.store.begin(decision, plan)
        except RollbackdError as error:
            self._refused(decision, error)
            raise
        self._begun.add(plan.rollback)
        self.publish(
            RollbackStarted(
                target=plan.target,
                at=journal.created_at,
                rollback=plan.rollback,
                bad=decision.bad,
                good=decision.good,
                automatic=decision.automatic,
                trigger=decision.trigger,
                undoes=decision.undoes,
            )
        )
        return journal

    async def carry_out(self, journal: Journal, *, released_by: str = "") -> RollbackOutcome:
        """Take every step that is open and tell how it ended.

        HOLDING without an end being told: a person has it, another daemon has it, or this process
        is on its way out. A journal this process did not begin is claimed first. `released_by`:
        the person who lets a rollback that holds go on.
        """
        rollback = journal.plan.rollback
        task = asyncio.current_task()
        assert task is not None, "called from a task"
        if rollback in self._walking:
            raise Rejected(f"{rollback} is being carried out already")
        self._walking[rollback] = task
        try:
            return await self._carry_out(journal, released_by)
        finally:
            del self._walking[rollback]
            self._leaving.over(rollback)

    async def abort(self, rollback: RollbackId, *, by: str, reason: str) -> str:
        """A person ends a rollback; what it holds is let go first. Returns what is still held, in
        words. One that is under way ends before it changed anything or not at all: then Rejected.
        """
        detail = f"aborted by {by}: {reason}"
        if rollback in self._walking:
            return await self._leaving.ask(rollback, detail, await self.store.journal(rollback))
        walk = self._walk(await self.store.claim(rollback), resumed=True)
        stood, end = walk.journal, over(*_CANCELLED, detail)
        held = await end_to(walk, end)
        if held and self.stop.stopped:
            await walk.turn(stood.state, stood.reason)
            raise Rejected(f"{rollback} still holds what it took: {held}", hint="abort it then")
        await self._end(walk, replace(end, detail=and_held(detail, held)))
        return held

    async def hold(self, rollback: RollbackId, *, reason: str) -> None:
        """Let one that is not under way stand still for a person; what it holds is let go."""
        walk = self._walk(await self.store.claim(rollback), resumed=True)
        await self._let_go_and_end(walk, intended(walk.journal) or over(*_HELD, reason))

    async def drain(self) -> None:
        """Let the call in hand end, then leave. Leases and journal stay for the successor."""
        self.stop.drain()
        self._pauses.interrupt()
        tasks = set(self._walking.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)

    async def _carry_out(self, journal: Journal, released_by: str) -> RollbackOutcome:
        try:
            walk = await self._take_over(journal, released_by)
            if walk is None:
                return RollbackOutcome.HOLDING
            while True:
                try:
                    return await self._try(walk)
                except Stopped as stopped:
                    if self.stop.draining:
                        raise
                    await self._stand_still(walk, stopped)
        except (Fenced, Rejected) as error:
            self._tell(journal, events.ROLLBACK_FENCED, error=error.message)
        except Stopped:
            self._tell(journal, events.ROLLBACK_HANDED_OVER)
        return RollbackOutcome.HOLDING

    async def _take_over(self, journal: Journal, released_by: str) -> Walk | None:
        rollback = journal.plan.rollback
        if rollback in self._begun:
            self._begun.discard(rollback)
            return self._walk(journal, resumed=False)
        if going_on.waits_for_a_person(journal) and not released_by:
            self._tell(journal, events.ROLLBACK_HELD, detail=journal.reason)
            return None
        claimed = await persistently(
            partial(self.store.claim, rollback), self._pauses, partial(self._tell, journal)
        )
        walk = self._walk(claimed, resumed=True)
        if released_by:
            await walk.turn(RollbackState.RUNNING, f"{released_by} let it go on")
        walk.tell(events.ROLLBACK_RESUMED, resumes=walk.journal.resumes)
        return walk

    def _tell(self, journal: Journal, event: str, **words: object) -> None:
        plan = journal.plan
        self.events(event, {"rollback": plan.rollback, "target": plan.target, **words})

    async def _try(self, walk: Walk) -> RollbackOutcome:
        if walk.journal.state is RollbackState.COMPENSATING:
            end = intended(walk.journal)
            if end is not None:
                return await self._let_go_and_end(walk, end)
            return await self._undo(walk, walk.journal.reason)
        try:
            if walk.resumed:
                await going_on.check(walk)
            await walk.turn(RollbackState.RUNNING)
            await self._take_phases(walk)
        except (Stopped, Fenced):
            raise
        except Left as left:
            outcome = await self._let_go_and_end(walk, over(*_CANCELLED, left.message))
            held = walk.journal.reason if outcome is RollbackOutcome.HOLDING else ""
            self._leaving.over(walk.plan.rollback, held=held)
            return outcome
        except Superseded as error:
            return await self._let_go_and_end(walk, over(*_SUPERSEDED, error.message))
        except RollbackdError as error:
            return await self._give_up(walk, error)
        return await self._end(walk, ending(walk.rows))

    async def _take_phases(self, walk: Walk) -> None:
        while True:
            tell_switched(walk, self.publish)
            now = walk.progress()
            if now.phase is None:
                return
            self._leaving.check(walk)
            going_on.check_deadline(walk)
            await going_on.check_still_applies(walk, now)
            await take_group(walk, self._taker, next_group(now))

    async def _give_up(self, walk: Walk, error: RollbackdError) -> RollbackOutcome:
        """Hold for a person; or, where nothing was touched, fail so that it may be tried again."""
        detail = f"{error.message} ({error.hint})" if error.hint else error.message
        untouched, still = not walk.progress().applied_any, isinstance(error, StandStill)
        if not untouched and not still and not past_return(walk.rows):
            return await self._undo(walk, detail)
        if untouched and not still:
            end = over(RollbackState.FAILED, undone(walk.rows), detail)
            await end_to(walk, end, patience_seconds=0.0)
            return await self._end(walk, end)
        return await self._let_go_and_end(walk, over(*_HELD, detail))

    async def _undo(self, walk: Walk, why: str) -> RollbackOutcome:
        """It failed before its point of no return. What is not undone a person must look at."""
        await walk.turn(RollbackState.COMPENSATING, why)
        left = await undo(walk)
        if left and self.stop.draining:
            raise Stopped("shutting down", hint="the next daemon undoes the rest")
        if left:
            detail = f"{why}; not undone: {', '.join(left)}; run scripts/rollback/let-go.sh"
            return await self._end(walk, over(*_HELD, detail))
        end = RollbackState.COMPENSATED, undone(walk.rows)
        return await self._end(walk, over(*end, f"{why}; traffic was given back"))

    async def _stand_still(self, walk: Walk, stopped: Stopped) -> None:
        """A person said stop: nothing is sent until the file is gone, then it is checked anew."""
        walk.tell(events.ROLLBACK_STOPPED, error=stopped.message, hint=stopped.hint)
        await walk.turn(RollbackState.HOLDING, going_on.STOPPED_MARK + stopped.message)
        while self.stop.stopped:
            await self._pauses.sleep(STOP_POLL_SECONDS)
        walk.resumed = True
        walk.tell(events.ROLLBACK_WENT_ON)

    async def _let_go_and_end(self, walk: Walk, end: Ending) -> RollbackOutcome:
        """Where something of ours is still on the target, a person has to look, whatever else."""
        held = await end_to(walk, end)
        if held:
            end = over(*_HELD, and_held(end.detail, held))
        return await self._end(walk, end)

    async def _end(self, walk: Walk, end: Ending) -> RollbackOutcome:
        await walk.finish(end)
        held = end.outcome is RollbackOutcome.HOLDING
        name = events.ROLLBACK_HELD if held else events.ROLLBACK_ENDED
        seconds = self.clock.now() - walk.journal.created_at
        words = {"outcome": end.outcome.value, "detail": end.detail, "seconds": seconds}
        walk.tell(name, **words, recovered_at=end.recovered_at, proved_at=end.proved_at)
        self.publish(ended(walk.plan.target, walk.plan.rollback, self.clock.now(), end))
        return end.outcome

    def _refused(self, decision: RollBack, error: RollbackdError) -> None:
        words = {"rollback": decision.id, "target": decision.target}
        self.events(events.ROLLBACK_REFUSED, {**words, "error": error.message, "hint": error.hint})
        if not decision.automatic or self.stop.draining or isinstance(error, NeedsApproval):
            return  # a person is answered or asked; a successor decides afresh and at once
        end = over(RollbackState.FAILED, RollbackOutcome.FAILED_BEFORE_EFFECT, error.message)
        self.publish(ended(decision.target, decision.id, self.clock.now(), end))

    async def _prove(self, target: TargetName, rollback: RollbackId) -> Proved:
        return await self.prove(target, rollback)  # read late: the engine is made after the runner

    def _walk(self, journal: Journal, *, resumed: bool) -> Walk:
        return Walk(
            journal=journal,
            executor=self.executor_for(journal.plan.target),
            store=self.store,
            clock=self.clock,
            pauses=self._pauses,
            tell_all=self.events,
            resumed=resumed,
        )
