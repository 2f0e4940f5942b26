"""Gives back what a rollback took (cordons, leases) before it ends or stands still. It judges no
end: it says what is still held.
"""

from __future__ import annotations

from typing import Final

from rollbackd.core.errors import Fenced, RollbackdError, Stopped, TemporaryError
from rollbackd.core.runbook import RollbackState
from rollbackd.engine.ending import Ending, intent
from rollbackd.engine.walk import Walk
from rollbackd.telemetry import events

PATIENCE_SECONDS: Final = 20.0  # who aborts waits for it
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
_HINT: Final = "run scripts/rollback/let-go.sh"


async def end_to(walk: Walk, end: Ending, *, patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Write down how it will end, then `let_go`: a rollback whose traffic was given back, and that
    went on after a crash, would change what nothing fences any more.
    """
    await walk.turn(RollbackState.COMPENSATING, intent(end))
    return await let_go(walk, patience_seconds=patience_seconds)


async def let_go(walk: Walk, *, patience_seconds: float = PATIENCE_SECONDS) -> str:
    """Undo what would hurt if we stopped here; again, while it may pass. What is still held, in
    words for people; empty: nothing. Raises Stopped when the process leaves, and Fenced.
    """
    until = walk.clock.monotonic() + patience_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            lines = await walk.executor.let_go(walk.plan)
        except Fenced:
            raise
        except TemporaryError as error:
            if walk.clock.monotonic() + pause > until:
                return _held(walk, error)
        except Stopped as stop:
            await walk.pauses.sleep(0.0)  # raises on the way out: a successor lets go
            return _held(walk, stop)
        except RollbackdError as error:
            return _held(walk, error)
        else:
            walk.tell(events.ROLLBACK_LET_GO, lines=list(lines))
            return ""
        await walk.pauses.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def and_held(detail: str, held: str) -> str:
    """How it ended, and what a person must give back."""
    return f"{detail}; still held: {held}; {_HINT}" if held else detail


def _held(walk: Walk, error: RollbackdError) -> str:
    walk.tell(events.ROLLBACK_LET_GO, error=error.message, hint=_HINT)
    return error.message
