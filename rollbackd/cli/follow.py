"""Follows a rollback to its end, a line for each step that moves. Watching changes nothing."""

from __future__ import annotations

import asyncio

from rollbackd.cli import show
from rollbackd.cli.client import Daemon, objects
from rollbackd.clock import SystemClock
from rollbackd.core.errors import TemporaryError
from rollbackd.core.model import JsonObject, RollbackOutcome
from rollbackd.core.runbook import RollbackState

_EVERY_SECONDS = 0.5
_PATIENCE = 60  # failed looks in a row: the daemon may be restarting, it goes on by itself
_HELD_LOOKS = 20  # so often one that was let go on a moment ago may still hold
_GOOD = frozenset({RollbackOutcome.RECOVERED, RollbackOutcome.RECOVERED_UNPROVEN})
_OVER = frozenset({*(s for s in RollbackState if s.terminal), RollbackState.HOLDING})


def follow(daemon: Daemon, rollback: str, *, json: bool, held: bool = False) -> int:
    """Print until it ends. 0 when it recovered, 1 when it did not or stands still. `held`: it stood
    still until now.
    """
    looks = _HELD_LOOKS if held else 0
    end = asyncio.run(_until_over(daemon, rollback, quiet=json, held_looks=looks))
    if json:
        show.as_json(end)
    else:
        outcome = end.get("outcome") or end.get("state")
        show.line(f"{rollback}: {outcome} {end.get('detail') or ''}".rstrip(), style="bold")
    return 0 if end.get("outcome") in _GOOD else 1


async def _until_over(daemon: Daemon, rollback: str, *, quiet: bool, held_looks: int) -> JsonObject:
    clock = SystemClock()
    told: dict[object, object] = {}
    failed = 0
    while True:
        try:
            now = daemon.get(f"/api/v1/rollbacks/{rollback}")
            failed = 0
        except TemporaryError:
            failed += 1
            if failed > _PATIENCE:
                raise
            now = {}
        if not quiet:
            _tell(now, told)
        held_looks = held_looks - 1 if now.get("state") == RollbackState.HOLDING else 0
        if now.get("state") in _OVER and held_looks <= 0:
            return now
        await clock.sleep(_EVERY_SECONDS)


def _tell(now: JsonObject, told: dict[object, object]) -> None:
    for step in objects(now.get("steps")):
        state = step.get("state")
        if state == "pending" or told.get(step.get("seq")) == state:
            continue
        told[step.get("seq")] = state
        error = f": {step['error']}" if step.get("error") else ""
        show.line(f"  {step.get('phase')!s:<18} {step.get('name')}  {state}{error}")
