"""A person asks a rollback that is under way to end; its walk answers between two steps.

Once the first machine or record was changed it goes forward: half of a rollback helps nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from rollbackd.core.errors import Rejected, RollbackdError
from rollbackd.core.model import RollbackId
from rollbackd.core.runbook import Journal, Phase, RollbackState, StepRow, StepState
from rollbackd.engine.walk import Walk

ANSWER_SECONDS: Final = 45.0  # less than the command line waits; a step before the first effect
_TOUCHED: Final = frozenset({StepState.STARTED, StepState.DONE, StepState.UNKNOWN})


class Left(RollbackdError):
    """It ends here, before anything was changed, because a person asked."""


class Leaving:
    """Who asked, by rollback, and how they learn what became of it."""

    def __init__(self) -> None:
        self._asked: dict[RollbackId, tuple[str, asyncio.Future[str]]] = {}

    async def ask(self, rollback: RollbackId, words: str, journal: Journal | None = None) -> str:
        """Returns when it ended, with what is still held. Raises Rejected where it goes on, with
        what to do instead: at once where its journal tells.
        """
        if journal is not None and past_return(journal.rows):
            standing = journal.state is RollbackState.HOLDING
            raise _stands(rollback) if standing else _goes_on(rollback)
        if rollback in self._asked:
            raise Rejected(f"{rollback} was asked to end a moment ago", hint="see rollbackd status")
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[rollback] = words, answer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            raise Rejected(
                f"{rollback} came to no point at which it could end",
                hint="is there a STOP file? rollbackd history --steps shows where it is",
            ) from None
        finally:
            self._asked.pop(rollback, None)

    def check(self, walk: Walk) -> None:
        """Between two steps. Raises Left where it was asked to end and still can."""
        words, answer = self._asked.get(walk.plan.rollback, ("", None))
        if answer is None or answer.done():
            return
        if not past_return(walk.rows):
            raise Left(words)
        answer.set_exception(_goes_on(walk.plan.rollback))

    def over(self, rollback: RollbackId, *, held: str | None = None) -> None:
        """Its walk ended: by itself, or because it was asked to, and `held` is still held."""
        _, answer = self._asked.get(rollback, ("", None))
        if answer is None or answer.done():
            return
        if held is not None:
            answer.set_result(held)
        else:
            answer.set_exception(Rejected(f"{rollback} came to an end by itself meanwhile"))


def past_return(rows: Sequence[StepRow]) -> bool:
    """Whether its execute phase changed anything, or may have."""
    return any(
        row.step.phase is Phase.EXECUTE and row.step.mutates and row.state in _TOUCHED
        for row in rows
    )


def _stands(rollback: RollbackId) -> Rejected:
    return Rejected(
        f"{rollback} has begun to change machines and stands still for the STOP file",
        hint=f"without the file it goes on, then: rollbackd undo {rollback}; or stop rollbackd and"
        " give back what it holds with let-go.sh",
    )


def _goes_on(rollback: RollbackId) -> Rejected:
    return Rejected(
        f"{rollback} has begun to change machines: it goes on to its end",
        hint=f"then: rollbackd undo {rollback}; to freeze it where it is: STOP",
    )
