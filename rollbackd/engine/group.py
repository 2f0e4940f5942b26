"""Which steps may run side by side, and running them so. A failure begins no further step."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import takewhile

from rollbackd.core.errors import Fenced, RollbackdError, Stopped, Superseded
from rollbackd.core.runbook import Progress, Step
from rollbackd.engine.steps import StepTaker
from rollbackd.engine.walk import Walk


def next_group(now: Progress) -> tuple[Step, ...]:
    """The open steps of the phase, in their order, up to the next change of kind or `wave`."""
    todo = sorted((*now.doubt, *now.next), key=lambda step: step.seq)
    return tuple(takewhile(lambda step: _kin(step) == _kin(todo[0]), todo))


async def take_group(walk: Walk, taker: StepTaker, steps: tuple[Step, ...]) -> None:
    """Take them, at most `plan.parallel` at a time. What is in hand when one fails is ended: a
    machine that runs the good release already is better than one half-way.
    """
    waiting = deque(steps)
    failures: list[RollbackdError] = []

    async def work() -> None:
        while waiting and not failures:
            try:
                await taker.take(walk, waiting.popleft())
            except RollbackdError as error:
                failures.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(max(walk.plan.parallel, 1), len(steps))):
            group.create_task(work())
    if failures:
        raise min(failures, key=_rank)


def _rank(error: RollbackdError) -> int:
    """Which of several failures decides: not ours any more, then stop, then stand back."""
    for rank, kind in enumerate((Fenced, Stopped, Superseded)):
        if isinstance(error, kind):
            return rank
    return 3


def _kin(step: Step) -> tuple[str, object]:
    return step.kind, step.params.get("wave")
