"""Whatever is torn from the end of the write-ahead log, what is left is a state that once was,
and whoever goes on from there does nothing twice.
"""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.model import JsonObject, RollbackOutcome
from rollbackd.core.runbook import Journal, Plan, Step
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision
from tests.support_runner import FakeExecutor, House, World

POINTS = int(os.environ.get("FAULT_TORN_POINTS", "60"))  # `make faults`: 400
T = TypeVar("T")


class Watched(SqliteStore):
    """Remembers the journal after every line."""

    def __init__(self, directory: Path, clock: FakeClock) -> None:
        super().__init__(directory, clock)
        self.stood: list[tuple[object, ...]] = []

    async def _write(self, work: Callable[[sqlite3.Connection], T], **more: Any) -> T:
        answer = await super()._write(work, **more)
        self.stood.append(shape(await self.journal(decision().id)))
        return answer


def shape(journal: Journal | None) -> tuple[object, ...]:
    if journal is None:
        return ()
    rows = tuple((row.state, row.attempts, tuple(row.result.items())) for row in journal.rows)
    return journal.state, journal.fence, rows


@pytest.mark.timeout(0)  # of 400 points
async def test_a_torn_or_flipped_log_leaves_a_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollbackd.stores.ballast._MOST_BYTES", 0)  # 800 times
    world = World()
    house = House(tmp_path / "whole", FakeExecutor(world))
    store = Watched(house.directory, house.clock)
    await house.open(store)
    await house.run(decision())
    files = {name: house.directory / name for name in ("rollbackd.db", "rollbackd.db-wal")}
    whole = {name: path.read_bytes() for name, path in files.items()}
    await house.close()
    log = whole["rollbackd.db-wal"]
    assert len(log) > 50_000
    chance = random.Random(3)

    seen = set()
    for point in range(POINTS):
        at = chance.randrange(0, len(log))
        flipped = bytearray(log)
        flipped[at] ^= 0xFF
        zeroed = log[:at] + bytes(len(log) - at)
        torn = (log[:at], bytes(flipped), zeroed)[point % 3]
        directory = tmp_path / "torn"
        directory.mkdir()
        (directory / "rollbackd.db").write_bytes(whole["rollbackd.db"])
        (directory / "rollbackd.db-wal").write_bytes(torn)
        found = SqliteStore(directory, house.clock)
        await found.open()

        stands = shape(await found.journal(decision().id))

        assert stands == () or stands in store.stood
        assert await found.record_broken_at() is None
        seen.add(stands)
        await found.close()
        await _goes_on(directory, world)
        shutil.rmtree(directory)
    assert len(seen) > 5  # the cuts did fall into the rollback


class Looking(FakeExecutor):
    """Looks before it acts, as the real one does: a journal that forgot cannot tell it to."""

    async def apply(self, plan: Plan, step: Step, results: Mapping[int, JsonObject]) -> JsonObject:
        if step.mutates and self.world.applied(step):
            return {}
        return await super().apply(plan, step, results)


async def _goes_on(directory: Path, world: World) -> None:
    """The journal forgot, the platform did not: it comes to its end, and nothing is repeated."""
    before = [step.op_key for step in world.effects]
    house = House(directory, Looking(world))
    await house.open()
    left = await house.store.unfinished()
    outcomes = await house.resume()
    assert outcomes == [RollbackOutcome.RECOVERED] * len(left)
    assert await house.store.unfinished() == []
    assert [step.op_key for step in world.effects] == before
    await house.close()
