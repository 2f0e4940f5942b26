"""Whatever is torn from the end of the write-ahead log, what is left is a state that once was."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rollbackd.clock import FakeClock
from rollbackd.core.runbook import Journal
from rollbackd.stores.sqlite import SqliteStore
from tests.support_rollback import decision
from tests.support_runner import FakeExecutor, House, World

POINTS = 60
T = TypeVar("T")


class Watched(SqliteStore):
    """Remembers the journal after every line."""

    def __init__(self, directory: Path, clock: FakeClock) -> None:
        super().__init__(directory, clock)
        self.stood: list[tuple[object, ...]] = []

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        answer = await super()._write(work)
        self.stood.append(shape(await self.journal(decision().id)))
        return answer


def shape(journal: Journal | None) -> tuple[object, ...]:
    if journal is None:
        return ()
    rows = tuple((row.state, row.attempts, tuple(row.result.items())) for row in journal.rows)
    return journal.state, journal.fence, rows


async def test_a_torn_or_flipped_log_leaves_a_prefix(tmp_path: Path) -> None:
    house = House(tmp_path / "whole", FakeExecutor(World()))
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
        shutil.rmtree(directory)
    assert len(seen) > 5  # the cuts did fall into the rollback
