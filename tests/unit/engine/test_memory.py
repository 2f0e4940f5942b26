"""States are written every few seconds and go on after a restart, whatever the disk does."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from rollbackd.clock import FakeClock
from rollbackd.core.decide import decide
from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import Paused, ReleasesSeen, RollbackStarted, RollbackSwitched
from rollbackd.core.model import Json, RollBack, RollbackId, TargetName
from rollbackd.stores.sqlite import SqliteStore
from tests.support import until
from tests.unit.core.world import SHOP, release
from tests.unit.engine.test_engine import Bench


class CountingStore(SqliteStore):
    writes = 0
    full = False

    async def put_blobs(self, values: Mapping[str, Json]) -> None:
        if self.full:
            raise TemporaryError("no space left", hint="free space")
        self.writes += 1
        await super().put_blobs(values)


class Home(Bench):
    """A bench whose writes are counted."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.disk = CountingStore(directory, self.clock)
        self.store = self.disk
        self.engine.store = self.disk
        self.engine._keeping._store = self.disk  # the bench made it with another one

    async def go_bad(self) -> None:
        await super().go_bad()
        self.clock.advance(146 - self.clock.now())

    async def write(self, *, everything: bool = True) -> None:
        await self.engine.memory.write(self.engine.states, everything=everything)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    made = Home(tmp_path)
    await made.open()
    yield made
    await made.disk.close()


async def restarted(home: Home, tmp_path: Path, at: float) -> Home:
    await home.disk.close()
    again = Home(tmp_path)
    again.clock.advance(at)
    await again.open()
    return again


async def test_a_restart_goes_on_with_the_breach(home: Home, tmp_path: Path) -> None:
    await home.go_bad()
    await home.write()

    again = await restarted(home, tmp_path, 146)
    decision = decide(again.engine.policy, again.engine.states[SHOP], 146)
    await again.disk.close()

    assert isinstance(decision, RollBack)


async def test_without_states_it_begins_anew_with_what_was_kept_fact_by_fact(
    home: Home, tmp_path: Path
) -> None:
    await home.go_bad()
    await home.write()

    again = await restarted(home, tmp_path, 146)
    again.engine.states = {}
    await again.engine.recall(again.engine.policy, states=False)
    again.engine.adopt(again.engine.policy)
    state = again.engine.states[SHOP]
    decision = decide(again.engine.policy, state, 146)
    await again.disk.close()

    assert not isinstance(decision, RollBack)
    assert state.current == release(42)


async def test_what_was_switched_after_the_last_write_is_told_on_top(
    home: Home, tmp_path: Path
) -> None:
    await home.go_bad()
    await home.write()
    rollback = RollbackId("r1")
    started = RollbackStarted(
        target=SHOP, at=146, rollback=rollback, bad=release(42), good=release(41)
    )
    await home.engine.turn(started)
    await home.engine.turn(RollbackSwitched(target=SHOP, at=147, rollback=rollback))

    again = await restarted(home, tmp_path, 148)
    state = again.engine.states[SHOP]
    await again.disk.close()

    assert state.current == release(41)


async def test_what_was_heard_before_the_last_write_is_not_told_twice(
    home: Home, tmp_path: Path
) -> None:
    await home.go_bad()
    rollback = RollbackId("r1")
    started = RollbackStarted(
        target=SHOP, at=146, rollback=rollback, bad=release(42), good=release(41)
    )
    await home.engine.turn(started)
    await home.engine.turn(RollbackSwitched(target=SHOP, at=147, rollback=rollback))
    for at in (150, 155):
        await home.check(at, "ok")
    home.clock.advance(156 - home.clock.now())
    await home.write()

    again = await restarted(home, tmp_path, 157)
    await again.write()
    third = await restarted(again, tmp_path, 158)
    watch = next(iter(third.engine.states[SHOP].watches.values()))
    await third.disk.close()

    assert watch.well_since == 150


async def test_it_writes_once_a_second_and_not_at_every_look(home: Home) -> None:
    for at in range(40):
        await home.check(at / 4, "ok")
        await home.write(everything=False)
        home.clock.advance(0.25)

    assert home.disk.writes == 10


async def test_what_did_not_change_is_not_written_again(home: Home) -> None:
    await home.check(1, "ok")
    for _ in range(10):
        await home.write(everything=False)
        home.clock.advance(1)

    assert home.disk.writes == 1


async def test_many_targets_are_written_less_often(home: Home) -> None:
    many = {TargetName(f"shop-{n}"): home.engine.states[SHOP] for n in range(30)}
    for at in range(12):
        await home.check(at, "ok")
        await home.engine.memory.write({SHOP: home.engine.states[SHOP], **many})
        home.clock.advance(1)

    assert home.disk.writes == 3


async def test_another_release_is_written_down_at_once(home: Home) -> None:
    await home.check(0.5, "ok")
    running = asyncio.create_task(home.engine.memory.run(lambda: home.engine.states))
    await until(lambda: home.disk.writes >= 1)
    before = home.disk.writes
    news = ReleasesSeen(target=SHOP, at=1, releases=(release(41),))
    await home.engine.turn(news)

    async def written() -> bool:
        kept = await home.disk.get_blob(f"state/{SHOP}")
        return isinstance(kept, dict) and '"version": 41' in str(kept).replace("'", '"')

    await until(written)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert home.disk.writes > before


async def test_a_state_is_never_newer_than_its_ledger(home: Home, tmp_path: Path) -> None:
    """The successor is heard, and the process dies before the tick that keeps the ledger."""
    await home.engine.turn(ReleasesSeen(target=SHOP, at=0, releases=(release(41),)))
    for at in range(5, 96, 10):
        await home.check(at, "ok")
        await home.tick(at + 1)
    await home.engine.turn(ReleasesSeen(target=SHOP, at=100, releases=(release(42), release(41))))
    await home.write(everything=False)

    again = await restarted(home, tmp_path, 101)
    standing = again.engine.states[SHOP].ledger.standing(release(41))
    await again.disk.close()

    assert standing == "good"


async def test_a_full_disk_delays_it_and_ends_nothing(home: Home) -> None:
    await home.check(1, "ok")
    home.disk.full = True
    await home.write(everything=False)
    home.disk.full = False
    home.clock.advance(1)

    await home.write(everything=False)

    assert home.disk.writes == 1


async def test_a_person_s_pause_is_there_once(home: Home, tmp_path: Path) -> None:
    await home.engine.take(Paused(target=SHOP, at=1, until=600, by="ann", reason="migration"))
    await home.write()

    again = await restarted(home, tmp_path, 5)
    state = again.engine.states[SHOP]
    await again.disk.close()

    assert state.paused(5)
    assert again.engine.memory.revived
    assert isinstance(again.clock, FakeClock)
