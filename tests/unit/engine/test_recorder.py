"""Every hold is written once and in order, also where the way out crosses the writing."""

import asyncio
from pathlib import Path

from rollbackd.clock import FakeClock
from rollbackd.core.model import Decision, Hold, HoldReason
from rollbackd.engine.recorder import Recorder
from rollbackd.stores.sqlite import SqliteStore
from tests.support import until
from tests.unit.core.world import SHOP


class SlowDisk(SqliteStore):
    """Takes a decision when it is let to, not before."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, FakeClock(0.0))
        self.may, self.taken = asyncio.Event(), list[float]()

    async def record(self, decision: Decision) -> None:
        self.taken.append(decision.at)
        await self.may.wait()


def hold(at: float) -> Hold:
    return Hold(target=SHOP, at=at, reason=HoldReason.OK, why="")


async def test_the_way_out_waits_for_what_is_being_written(tmp_path: Path) -> None:
    disk = SlowDisk(tmp_path)
    recorder = Recorder(disk)
    running = asyncio.create_task(recorder.run())
    recorder.put(hold(1.0))
    await until(lambda: disk.taken == [1.0])
    recorder.put(hold(2.0))

    leaving = asyncio.create_task(recorder.flush())
    await asyncio.sleep(0)
    disk.may.set()
    await leaving
    running.cancel()

    assert disk.taken == [1.0, 2.0]
