"""Which lines of the journal wait for the disk, and what the others survive."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.model import RollbackOutcome
from rollbackd.core.runbook import RollbackState, StepState
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision, plan

ABANDONED = RollbackState.CANCELLED, RollbackOutcome.CANCELLED


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path, FakeClock(100.0))
    await store.open()
    yield store
    await store.close()


async def test_only_what_must_be_known_before_an_effect_waits_for_the_disk(
    store: SqliteStore,
) -> None:
    """plan(): a look, two effects, a look, the proof."""
    said: list[str] = []
    await store._ask(lambda: store._file.connection.set_trace_callback(said.append))
    asked = decision()

    def level() -> str:
        (found,) = store._file.connection.execute("PRAGMA synchronous").fetchone()
        return {1: "NORMAL", 2: "FULL"}[found]

    async def synced(writing: Awaitable[object]) -> bool:
        first = await store._ask(level)
        said.clear()
        await writing
        levels = [first, *(s.split()[-1] for s in said if s.startswith("PRAGMA synchronous"))]
        at = [s for s in said if s.startswith("PRAGMA synchronous") or s == "COMMIT"].index(
            "COMMIT"
        )
        return levels[at] == "FULL"

    async def step(seq: int, state: StepState) -> bool:
        return await synced(store.note(asked.id, seq, state, fence=1))

    async def far(seq: int) -> bool:
        return await synced(store.checkpoint(asked.id, seq, {"xid": 7}, fence=1))

    assert await synced(store.begin(asked, plan(asked)))
    assert (await step(1, StepState.STARTED), await far(1)) == (False, False)
    assert not await step(1, StepState.DONE)
    assert (await step(2, StepState.STARTED), await far(2)) == (True, True)
    assert not await step(2, StepState.FAILED)
    assert await step(2, StepState.STARTED)
    assert not await step(2, StepState.DONE)
    assert await synced(store.turn(asked.id, RollbackState.HOLDING, fence=1))
    assert await synced(store.finish(asked.id, *ABANDONED, fence=1))


async def test_a_kill_takes_nothing_back_that_did_not_wait_for_the_disk(tmp_path: Path) -> None:
    asked = decision()
    program = (
        "import asyncio, os, sys, pathlib\n"
        "from rollbackd.clock import SystemClock\n"
        "from rollbackd.core.runbook import StepState\n"
        "from rollbackd.stores.sqlite import SqliteStore\n"
        "from tests.support_rollback import decision, plan\n"
        "async def main():\n"
        "    store = SqliteStore(pathlib.Path(sys.argv[1]), SystemClock())\n"
        "    await store.open()\n"
        "    await store.begin(decision(), plan(decision()))\n"
        "    for state in (StepState.STARTED, StepState.DONE):\n"
        "        await store.note(decision().id, 1, state, fence=1)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), cwd=Path(__file__).parents[3]
    )
    assert await killed.wait() == -9

    after = SqliteStore(tmp_path, FakeClock())
    await after.open()
    journal = await after.journal(asked.id)
    await after.close()

    assert journal is not None
    assert journal.rows[0].state is StepState.DONE
