"""Whether a rollback may go on: after a crash, after a stop, between its phases.

An unfinished rollback goes on only against the release it was decided for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from rollbackd.core.asked import NeedsApproval
from rollbackd.core.errors import PlanRefused, TemporaryError
from rollbackd.core.model import RollBack
from rollbackd.core.ports import Observation, Seen
from rollbackd.core.proposing import changed
from rollbackd.core.runbook import Journal, Phase, Plan, Progress, RollbackState, Step, StepState
from rollbackd.engine.steps import StandStill
from rollbackd.engine.walk import Walk
from rollbackd.telemetry import events

T = TypeVar("T")

STOPPED_MARK: Final = "stopped: "
MOST_RESUMES: Final = 5
IDLE_SECONDS: Final = 1800.0
_ASK_SECONDS: Final = 300.0  # how long a resumed rollback asks how things stand
_ASK_AGAIN_SECONDS: Final = 5.0
_FINISHED: Final = frozenset({StepState.DONE, StepState.SKIPPED})


def waits_for_a_person(journal: Journal) -> bool:
    """It holds, and not because of a STOP file: that one goes on when the file is gone."""
    return journal.state is RollbackState.HOLDING and not journal.reason.startswith(STOPPED_MARK)


def as_approved(decision: RollBack, frozen: Plan | None, fresh: Plan) -> Plan:
    """The plan that a person approved, with the deadline of now. Raises PlanRefused where what it
    rests on changed; `fresh` is the same plan made again. With none frozen the fresh one, or
    NeedsApproval where only a person may say yes to it and nobody has seen it.
    """
    if fresh.refuses:
        raise PlanRefused(fresh.refuses, hint="rollbackd rollback --dry-run shows all of it")
    if frozen is None:
        if fresh.asks and decision.plan_hash != fresh.hash:
            raise NeedsApproval(fresh)
        return fresh
    why = changed(frozen, fresh)
    if why:
        raise PlanRefused(f"not the plan that was approved: {why}", hint="rollbackd status")
    return replace(frozen, deadline_at=fresh.deadline_at)


async def check(walk: Walk) -> None:
    """Before a resumed rollback touches anything. Raises why it may not."""
    if walk.journal.resumes > MOST_RESUMES:
        raise StandStill(
            f"resumed {walk.journal.resumes} times within ten minutes",
            hint="something in this plan ends the daemon; read its log before letting it go on",
        )
    if walk.progress().phase is not None:
        await _look_around(walk)
    await _open_again(walk)


async def check_awake(walk: Walk) -> None:
    """Before every effect: whoever was suspended for long (a machine, SIGSTOP) looks first, as one
    who resumes does. Raises why it may not go on.
    """
    if walk.gap_seconds > IDLE_SECONDS:
        await _look_around(walk)


async def _look_around(walk: Walk) -> None:
    slept = walk.gap_seconds > IDLE_SECONDS
    if not slept or not await _stands_as_wanted(walk):
        await _ask_until_known(walk, partial(_still_applies, walk))
    walk.looked()


async def _open_again(walk: Walk) -> None:
    """What keeps a machine out of traffic until it is changed may have been given back since (it
    held; let-go.sh): then it is taken again first. A database is never changed behind a fence that
    stands in the journal only.
    """
    unchanged = {
        row.step.params.get("machine")
        for row in walk.rows
        if row.step.phase is Phase.EXECUTE and row.step.mutates and row.state not in _FINISHED
    } - {None}
    for row in walk.rows:
        fences = row.step.phase is Phase.STOP_TRAFFIC and row.step.mutates
        if fences and row.state is StepState.DONE and row.step.params.get("machine") in unchanged:
            observed = await _ask_until_known(walk, partial(_observe, walk, row.step))
            if observed.seen is Seen.NOT_DONE:
                await walk.note(row.step, StepState.PENDING)


async def check_still_applies(walk: Walk, now: Progress) -> None:
    """Between phases and waves. Raises Superseded; a mute releases API alone stops nothing, since
    every mutation carries its own precondition.
    """
    if now.phase is Phase.CHECKLIST:
        return  # planned a moment ago, or asked by `check`
    try:
        await walk.executor.still_applies(walk.plan)
    except TemporaryError as error:
        walk.tell(events.ROLLBACK_DEGRADED, error=error.message)


def check_deadline(walk: Walk) -> None:
    """Too late before the first effect is a failure; after it we go forward, and say so once."""
    if walk.clock.now() <= walk.plan.deadline_at:
        return
    if not walk.progress().applied_any:
        raise PlanRefused("its deadline passed before anything was touched")
    if not walk.late:
        walk.late = True
        walk.tell(events.ROLLBACK_DELAYED, deadline_at=walk.plan.deadline_at)


async def _stands_as_wanted(walk: Walk) -> bool:
    """After a long absence: is everything as the plan wanted it already? Holds where it differs
    from both what was and what was wanted.
    """
    wanted = True
    for row in walk.rows:
        if row.step.phase is not Phase.EXECUTE or not row.step.mutates:
            continue
        observed = await _ask_until_known(walk, partial(_observe, walk, row.step))
        if observed.seen is Seen.CHANGED:
            raise StandStill(
                f"{row.step.name} changed while nobody looked: {observed.detail}",
                hint="look at it, then let it go on or abort it",
            )
        if observed.seen is Seen.NOT_DONE:
            if row.state is StepState.DONE:
                raise StandStill(f"{row.step.name} was done and is not any more")
            wanted = False
    return wanted


async def _observe(walk: Walk, step: Step) -> Observation:
    return await walk.executor.observe(walk.plan, step, walk.results_for(step))


async def _still_applies(walk: Walk) -> None:
    await walk.executor.still_applies(walk.plan)


async def _ask_until_known(walk: Walk, ask: Callable[[], Awaitable[T]]) -> T:
    until = walk.clock.monotonic() + _ASK_SECONDS
    while True:
        try:
            return await ask()
        except TemporaryError as error:
            if walk.clock.monotonic() > until:
                raise StandStill(
                    f"cannot tell how things stand: {error.message}", hint=error.hint
                ) from error
            walk.tell(events.ROLLBACK_DEGRADED, error=error.message)
        await walk.pauses.sleep(_ASK_AGAIN_SECONDS)
