"""A daemon that is killed, frozen, or loses its database in a rollback of database and app.

`FAULT_EVERY=1` (`make faults`) kills it at every point that a whole rollback passes, 200 of them.
"""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.postgres.shop import versions
from tests.postgres.struck import PATIENCE, Both, both
from tests.support import until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(0)]

EVERY = int(os.environ.get("FAULT_EVERY", "0"))
WORST = ["after send:stop:2", "on commit:1", "after send:update:1"]
GONE = [
    ("after done:stop_machine:2", ["1", "2"]),
    ("after done:database_check", ["1", "2"]),
    ("after started:database_reverse", ["1", "2"]),
    ("after done:database_reverse", ["1"]),
]


async def test_killed_anywhere_its_successor_finishes_what_was_begun(tmp_path: Path) -> None:
    """With the id noted after COMMIT the second would be taken back twice, or held."""
    async with both(tmp_path) as world:
        points = WORST
        if EVERY:
            await world.begin()
            await world.ended()
            points = [p for p in world.passed()[::EVERY] if not p.startswith("on send")]
            await world.daemon.end(9)
        for point in points:
            await world.begin(point)
            await world.daemon.start()

            ended = await world.ended()

            assert (ended["outcome"], world.as_before()) == ("recovered", []), point
            await world.daemon.end(9)


@pytest.mark.parametrize("point", ["on commit", "before commit"] if EVERY else ["on commit"])
async def test_frozen_at_commit_another_takes_over_and_it_is_committed_once(
    tmp_path: Path, point: str
) -> None:
    """With `outcome.settled` not ending the frozen one's session the other would wait for it."""
    async with both(tmp_path) as world:
        daemon = world.daemon
        await world.begin(point, by="STOP")
        frozen = daemon.process
        assert frozen is not None
        try:
            await daemon.start()
            await until(lambda: "daemon.took_over" in daemon.log(), PATIENCE)
            ended = await world.ended()
            frozen.send_signal(signal.SIGCONT)
            code = await frozen.wait()
        finally:
            if frozen.returncode is None:
                frozen.kill()
                await frozen.wait()

        assert (ended["outcome"], world.as_before()) == ("recovered", [])
        assert code == 75


@pytest.mark.parametrize(("point", "left"), GONE if EVERY else GONE[:1])
async def test_without_its_database_nothing_is_half_done_and_the_app_is_not_left_fenced(
    tmp_path: Path, point: str, left: list[str]
) -> None:
    """It ends, as a rollback that failed: nobody's app waits behind a fence for a database."""
    async with both(tmp_path) as world:
        await loses_its_database(world, point)

        ended = await world.ended()
        await asyncio.to_thread(world.database_back)

        assert ended["outcome"] != "recovered"
        assert versions(world.shop.url) == left
        await until(lambda: not world.left(), PATIENCE)


async def test_a_commit_that_nobody_can_tell_of_is_asked_for_until_the_database_is_back(
    tmp_path: Path,
) -> None:
    """It waits behind the fence: which release may run there nobody knows before."""
    async with both(tmp_path) as world:
        await loses_its_database(world, "before commit")
        await asyncio.to_thread(world.database_back)

        ended = await world.ended()

        assert (ended["outcome"], world.as_before()) == ("recovered", [])


async def loses_its_database(world: Both, point: str) -> None:
    """At that point, between two of its instructions."""
    await world.begin(point, by="STOP")
    await asyncio.to_thread(world.database_gone)
    assert world.daemon.process is not None
    world.daemon.process.send_signal(signal.SIGCONT)
