"""Undoing a rollback that failed before its point of no return: traffic comes back, that is all.

After that point there is only forward (`engine.leaving.past_return`).
"""

from __future__ import annotations

from rollbackd.core.errors import RollbackdError
from rollbackd.core.ports import Seen
from rollbackd.core.runbook import Step, StepState
from rollbackd.engine.letting_go import let_go
from rollbackd.engine.walk import Walk


async def undo(walk: Walk) -> list[str]:
    """Give back what was taken. The names of the steps that still stand, or may."""
    await let_go(walk)
    return [
        row.step.name
        for row in walk.rows
        if row.step.mutates and row.state is not StepState.PENDING and await _stands(walk, row.step)
    ]


async def _stands(walk: Walk, step: Step) -> bool:
    try:
        observed = await walk.executor.observe(walk.plan, step, walk.results_for(step))
    except RollbackdError:
        return True  # cannot tell: the careful answer
    return observed.seen is Seen.DONE
