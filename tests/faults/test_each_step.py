"""At every point of a real rollback: told to leave, told to stop and then dead for good, disk full.

`FAULT_EVERY=1` (`make faults`) takes every point, CI every 45th.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollbackd.core.model import RollbackOutcome
from rollbackd.sandbox.proxy import routable
from rollbackd.sandbox.server import Sandbox
from rollbackd.stores import audit, database
from rollbackd.telemetry import events
from tests.faults.campaign import twice
from tests.faults.dying import DyingStore, Life, Lives
from tests.faults.struck import left_on
from tests.faults.test_let_go import let_go
from tests.process.daemons import images
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(0)]

EVERY = int(os.environ.get("FAULT_EVERY", "45"))
LEAVE_SECONDS = 15.0


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    quick = {"boot_seconds": 0.05, "check_seconds": 0.1, "grace_seconds": 0.1, "smoke_seconds": 0.1}
    async with Sandbox(machines=2, rate_limits=False, **quick) as box:
        await box.ready()
        made = Lives(box, tmp_path)
        await made.learn()
        yield made


async def points(lives: Lives) -> list[str]:
    """Those of a whole rollback, each once."""
    await bad_release(lives)
    life = Life()
    assert await lives.live(life, "begin") == [RollbackOutcome.RECOVERED]
    return life.passed[::EVERY]


async def bad_release(lives: Lives) -> None:
    await lives.box.deploy(image="errors-60", strategy="immediate")
    lives.told.clear()


def ended_well(lives: Lives, before: int, point: str) -> None:
    box = lives.box
    ours = [
        {"action": e.action, "machine": e.machine, "op_id": e.op_id}
        for e in box.effects[before:]
        if e.request_id != "inside"
    ]
    assert [*twice(ours), *left_on(box)] == [], point
    assert images(box) == {"good"}, point
    assert box.releases[-1].status == "complete", point


async def test_told_to_leave_it_leaves_in_time_and_its_successor_finishes(lives: Lives) -> None:
    """With `Pauses.interrupt` doing nothing it would wait for the watch and the machines."""
    loop = asyncio.get_running_loop()
    for point in await points(lives):
        await bad_release(lives)
        before = len(lives.box.effects)
        leaving: list[asyncio.Task[None]] = []
        told_at: list[float] = []

        def leave(
            told_at: list[float] = told_at, leaving: list[asyncio.Task[None]] = leaving
        ) -> None:
            told_at.append(loop.time())
            leaving.append(loop.create_task(lives.runner.drain()))

        work = asyncio.create_task(lives.live(Life(point, leave), "begin"))
        (first,) = await asyncio.gather(work, return_exceptions=True)
        await asyncio.gather(*leaving)
        assert loop.time() - told_at[0] <= LEAVE_SECONDS, point
        if first != [RollbackOutcome.RECOVERED]:  # it was not at its end anyway
            handed_over = first == [RollbackOutcome.HOLDING]
            assert handed_over or isinstance(first, asyncio.CancelledError), point
            assert await lives.live(Life(), "resume") == [RollbackOutcome.RECOVERED], point

        ended_well(lives, before, point)


async def test_stopped_and_dead_for_good_the_script_leaves_nothing_of_ours(
    lives: Lives, tmp_path: Path
) -> None:
    """Without the permit before each call (`Wire.permit`) more is sent after the stop."""
    stop = tmp_path / "STOP"
    for point in await points(lives):
        await bad_release(lives)
        before, life = len(lives.box.effects), Life(point, stop.touch)
        task = asyncio.create_task(lives.live(life, "begin"))

        def standing(task: asyncio.Task[list[RollbackOutcome]] = task) -> bool:
            return task.done() or bool(lives.heard(events.ROLLBACK_STOPPED))

        await until(standing, 60)
        over = task.done() and task.result() == [RollbackOutcome.RECOVERED]
        sent = len(lives.box.effects)
        life.dead = True  # killed for good
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(lives.box.effects) == sent, point
        await until(lambda: any(routable(machine) for machine in lives.box.machines), 20)

        code, said = await let_go(lives.box, tmp_path)

        assert code == 0, said
        assert left_on(lives.box) == [], (point, said)
        await until(lambda: all(routable(machine) for machine in lives.box.machines))
        stop.unlink()
        if not over:  # and somebody may start it again
            assert await lives.live(Life(), "resume") == [RollbackOutcome.RECOVERED], point
        ended_well(lives, before, point)


async def test_with_the_disk_full_it_waits_and_goes_on_without_a_restart(lives: Lives) -> None:
    """With `persistently` raising at once it would end there, half done."""
    waited = 0
    loop = asyncio.get_running_loop()
    for point in await points(lives):
        await bad_release(lives)
        before = len(lives.box.effects)

        def fill() -> None:
            _limit(lives.store, full=True)
            loop.call_later(0.6, lambda: _limit(lives.store, full=False))

        (outcome,) = await lives.live(Life(point, fill), "begin")

        assert outcome is RollbackOutcome.RECOVERED, (point, lives.told[-5:])
        waited += bool(lives.heard(events.STORE_FAILED) or lives.heard(events.STEP_RETRIED))
        ended_well(lives, before, point)
    assert waited


def _limit(store: DyingStore, *, full: bool) -> None:
    """Let the file not grow any more, and fill what is left of it; or let it grow again."""

    def work() -> None:
        connection = store._file.connection
        most = 1 if full else 2**31
        connection.execute(f"PRAGMA max_page_count = {most}").fetchone()  # 1: as many as there are
        for size in (20_000, 2000, 200, 1) if full else ():
            try:
                while True:
                    with database.transaction(connection):
                        audit.append(connection, "filler", at=0.0, data={"x": "y" * size})
            except sqlite3.OperationalError as error:
                assert "full" in str(error)  # noqa: PT017 -- the fault, not what is tested

    if store._thread is not None:
        store._thread.submit(work).result()
