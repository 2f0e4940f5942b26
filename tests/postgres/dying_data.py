"""A restore in a process that is killed: `dying_data.py WHERE SNAPSHOT POINT`.

Points: `started KIND` (the journal has it, nothing was done), `done KIND` (it was done, the journal
does not know), `id` (before the id is written), `COMMIT` (the id is written), `sent` (COMMIT is on
the wire). A number after it: at which of several steps of that kind.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rollbackd.core.model import Restore, RollbackId
from rollbackd.core.runbook import StepState
from rollbackd.stores.sqlite import SqliteStore
from tests.postgres.dying import die_with_commit_on_the_wire
from tests.postgres.restoring import Where, approved, house, policy, wanted
from tests.support_runner import House


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def install(made: House, kinds: dict[int, str], point: str) -> None:
    """The store dies at the point; everything else is as it is."""
    what, _, kind = point.partition(" ")
    store: Any = made.store
    note, checkpoint = store.note, store.checkpoint

    async def noting(rollback: RollbackId, seq: int, state: StepState, **more: Any) -> None:
        mine = kinds[seq] == kind
        if what == "done" and mine and state is StepState.DONE:
            die()
        await note(rollback, seq, state, **more)
        if what == "started" and mine and state is StepState.STARTED:
            die()

    async def checking(rollback: RollbackId, seq: int, result: Any, **more: Any) -> None:
        if point == "id":
            die()
        await checkpoint(rollback, seq, result, **more)
        if point == "COMMIT":
            die()
        if point == "sent":
            die_with_commit_on_the_wire()

    store.note, store.checkpoint = noting, checking


async def main(where: Where, snapshot: str, point: str) -> None:
    async with house(where, policy()) as made:
        assert isinstance(made.store, SqliteStore)
        asked = await approved(made, wanted(Restore(snapshot=snapshot)))
        begun = await made.runner.begin(asked)
        install(made, {step.seq: step.kind for step in begun.plan.steps}, point)
        await made.runner.carry_out(begun)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    place = Where(**{**given, "state": Path(given["state"])})
    asyncio.run(main(place, sys.argv[2], sys.argv[3]))
