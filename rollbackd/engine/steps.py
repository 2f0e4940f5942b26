"""Takes one step: down on disk, carried out, read back where in doubt, tried again within bounds.

Whether the rollback goes on after a failure is not decided here: errors go up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from rollbackd.core.errors import (
    Ambiguous,
    Fenced,
    LeaseHeld,
    NotFound,
    PermanentError,
    RollbackdError,
    Stopped,
    Superseded,
    TemporaryError,
    Unauthorized,
    VersionConflict,
)
from rollbackd.core.model import JsonObject, RollbackId, TargetName
from rollbackd.core.noting import NotesMidway
from rollbackd.core.ports import Clock, Observation, Seen
from rollbackd.core.proof import Proved
from rollbackd.core.runbook import Phase, Plan, Step, StepState
from rollbackd.engine.monitor import monitor, monitored_seconds
from rollbackd.engine.pauses import Pauses
from rollbackd.engine.stop import StopSwitch
from rollbackd.engine.walk import Walk
from rollbackd.telemetry import events

T = TypeVar("T")

STEP_DEADLINE_SECONDS: Final = 120.0  # where neither the step nor the plan says one
MONITOR_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 8.0
_HUNG_SECONDS: Final = 60.0  # beyond its own deadline an executor's call is taken as hung
_CONFLICTS: Final = 3


class StandStill(PermanentError):
    """Going on could harm: hold for a person, whatever was applied so far."""


@dataclass(kw_only=True)
class StepTaker:
    clock: Clock
    stop: StopSwitch
    pauses: Pauses
    prove: Callable[[TargetName, RollbackId], Awaitable[Proved]]
    check_awake: Callable[[Walk], Awaitable[None]]  # raises why no effect may come now

    async def take(self, walk: Walk, step: Step) -> None:
        """Finish the step (done, or skipped because its object is gone), or raise why not."""
        until = self.clock.monotonic() + self._budget(walk, step)
        if step.mutates:
            await self._mutate(walk, step, until)
        else:
            await self._look(walk, step, until)

    async def _mutate(self, walk: Walk, step: Step, until: float) -> None:
        if walk.row(step).attempts and await self._read_back(walk, step, until) is not None:
            return
        pause, conflicts = _FIRST_PAUSE_SECONDS, 0
        while True:
            self.stop.check(step.name)
            await self.check_awake(walk)
            await self._start(walk, step)
            error = await self._send(walk, step)
            if error is None or await self._read_back(walk, step, until, error) is not None:
                return
            conflicts += isinstance(error, VersionConflict)
            wait = self._wait(error, pause)
            if not _may_pass(error, conflicts) or self.clock.monotonic() + wait > until:
                raise error
            walk.tell(events.STEP_RETRIED, step=step.name, error=error.message, seconds=wait)
            await self.pauses.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _send(self, walk: Walk, step: Step) -> RollbackdError | None:
        """Carry it out and write that down; None when it is done."""
        try:
            async with asyncio.timeout(_seconds_of(walk.plan, step) + _HUNG_SECONDS):
                result = await _applied(walk, step)
        except (Stopped, Superseded, Fenced):
            raise  # started and in doubt: whoever goes on reads it back first
        except TimeoutError:
            return Ambiguous(f"{step.name}: no end within its time")
        except RollbackdError as error:
            return error
        await self._finish(walk, step, result)
        return None

    async def _read_back(
        self, walk: Walk, step: Step, until: float, error: RollbackdError | None = None
    ) -> Seen | None:
        """None: not applied, safe to send. Else the step is finished, by what was seen."""
        why = error.message if error else ""
        try:
            observed = await self._patiently(
                lambda: walk.executor.observe(walk.plan, step, walk.results_for(step)), until
            )
        except NotFound as gone:
            observed = Observation(seen=Seen.GONE, detail=gone.message)
        except (TemporaryError, PermanentError) as unreadable:
            await walk.note(step, StepState.UNKNOWN, error=unreadable.message)
            raise
        match observed.seen:
            case Seen.DONE:
                await self._finish(walk, step, dict(observed.result))
                return Seen.DONE
            case Seen.GONE:
                await self._skip(walk, step, {"unreachable": observed.detail or why})
                return Seen.GONE
            case Seen.CHANGED:
                await walk.note(step, StepState.UNKNOWN, error=observed.detail or why)
                raise StandStill(
                    f"{step.name}: changed by somebody else: {observed.detail}",
                    hint="look at it, then let it go on or abort it",
                )
            case Seen.NOT_DONE:
                await walk.note(step, StepState.FAILED, error=why or observed.detail)
                return None

    async def _look(self, walk: Walk, step: Step, until: float) -> None:
        await self._start(walk, step)
        try:
            result = await self._watched_or_looked(walk, step, until)
        except (Stopped, Superseded, Fenced, Unauthorized):
            raise
        except (TemporaryError, PermanentError) as error:
            await self._not_seen(walk, step, error)
        else:
            await self._finish(walk, step, result)

    async def _watched_or_looked(self, walk: Walk, step: Step, until: float) -> JsonObject:
        seconds = monitored_seconds(step)
        if seconds is None:
            return await self._patiently(lambda: self._looked(walk, step), until)

        async def watch(part: Step) -> JsonObject:
            # An hour's watch has the patience of a minute's, slice by slice.
            patience = self.clock.monotonic() + _seconds_of(walk.plan, step)
            return await self._patiently(lambda: self._looked(walk, part), patience)

        return await monitor(walk, step, seconds, watch)

    async def _looked(self, walk: Walk, step: Step) -> JsonObject:
        plan = walk.plan
        match step.kind:
            case "notify":
                walk.tell(events.ROLLBACK_NOTIFIED, step=step.name, params=dict(step.params))
                return {}
            case "monitor":
                seconds = _number(step.params.get("seconds"), plan.settings.get("monitor_seconds"))
                await self.pauses.sleep(MONITOR_SECONDS if seconds is None else seconds)
                return {}
            case "prove":
                proved = await self.pauses.wait(self.prove(plan.target, plan.rollback))
                return {
                    "outcome": proved.outcome.value,
                    "recovered_at": proved.recovered_at,
                    "proved_at": proved.proved_at,
                    **({"detail": proved.detail} if proved.detail else {}),
                }
            case _:
                return await self.pauses.wait(walk.executor.apply(plan, step, walk.results))

    async def _not_seen(self, walk: Walk, step: Step, error: RollbackdError) -> None:
        """A look that failed for good. After the execute phase it is a finding, not an obstacle:
        traffic must come back whatever it says.
        """
        match step.phase:
            case Phase.STOP_TRAFFIC | Phase.EXECUTE:  # a snapshot that failed: no further
                await walk.note(step, StepState.FAILED, error=error.message)
                raise error
            case Phase.CHECKLIST if isinstance(error, PermanentError):
                await walk.note(step, StepState.FAILED, error=error.message)
                raise error
            case Phase.CHECKLIST | Phase.REPORT:
                await self._skip(walk, step, {"not_seen": error.message})
                walk.tell(events.ROLLBACK_DEGRADED, step=step.name, error=error.message)
            case _:
                await walk.note(
                    step, StepState.DONE, result={"passed": False, "why": error.message}
                )
                walk.tell(events.STEP_FAILED, step=step.name, error=error.message)

    async def _patiently(self, ask: Callable[[], Awaitable[T]], until: float) -> T:
        """Ask again while the error may pass, until the step's time is over."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await ask()
            except TemporaryError as error:
                wait = self._wait(error, pause)
                if self.clock.monotonic() + wait > until:
                    raise
            await self.pauses.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _start(self, walk: Walk, step: Step) -> None:
        await walk.note(step, StepState.STARTED)
        walk.tell(events.STEP_STARTED, **_words(step), attempt=walk.row(step).attempts)

    async def _finish(self, walk: Walk, step: Step, result: JsonObject) -> None:
        await walk.note(step, StepState.DONE, result=result)
        row = walk.row(step)
        seconds = (row.finished_at or 0.0) - (row.started_at or 0.0)
        walk.tell(events.STEP_FINISHED, **_words(step), seconds=seconds)
        if "degraded" in result:
            walk.tell(events.ROLLBACK_DEGRADED, step=step.name, error=str(result["degraded"]))

    async def _skip(self, walk: Walk, step: Step, result: JsonObject) -> None:
        await walk.note(step, StepState.SKIPPED, result=result)
        walk.tell(events.STEP_SKIPPED, **_words(step), **result)

    def _wait(self, error: RollbackdError, pause: float) -> float:
        if isinstance(error, LeaseHeld) and error.expires_at is not None:
            return max(error.expires_at - self.clock.now(), pause)
        wished = error.retry_after_seconds if isinstance(error, TemporaryError) else None
        return max(wished or 0.0, pause)

    def _budget(self, walk: Walk, step: Step) -> float:
        """Until the first effect the plan's deadline binds too; after it we go forward."""
        own = _seconds_of(walk.plan, step)
        if walk.progress().applied_any:
            return own
        return min(own, max(walk.plan.deadline_at - self.clock.now(), 0.0))


async def _applied(walk: Walk, step: Step) -> JsonObject:
    executor = walk.executor
    if isinstance(executor, NotesMidway):
        note = partial(walk.checkpoint, step)
        return await executor.apply_noting(walk.plan, step, walk.results, note)
    return await executor.apply(walk.plan, step, walk.results)


def _may_pass(error: RollbackdError, conflicts: int) -> bool:
    if isinstance(error, VersionConflict):  # read back as not done: only our reading was old
        return conflicts < _CONFLICTS
    return isinstance(error, TemporaryError)


def _seconds_of(plan: Plan, step: Step) -> float:
    seconds = _number(
        step.params.get("deadline_seconds"), plan.settings.get("step_deadline_seconds")
    )
    return STEP_DEADLINE_SECONDS if seconds is None else seconds


def _number(*candidates: object) -> float | None:
    for one in candidates:
        if isinstance(one, int | float) and not isinstance(one, bool):
            return float(one)
    return None


def _words(step: Step) -> dict[str, object]:
    return {"step": step.name, "seq": step.seq, "phase": step.phase.value, "kind": step.kind}
