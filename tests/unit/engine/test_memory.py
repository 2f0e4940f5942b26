"""States are written every few seconds and go on after a restart, whatever the disk does."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from rollbackd.clock import FakeClock
from rollbackd.core.decide import decide
from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import (
    MachinesSeen,
    Paused,
    ReleasesSeen,
    RollbackStarted,
    RollbackSwitched,
)
from rollbackd.core.ledger import Ledger
from rollbackd.core.model import (
    Json,
    JsonObject,
    ReleaseStatus,
    RollBack,
    RollbackId,
    TargetName,
)
from rollbackd.core.state import TargetState
from rollbackd.engine.keeping import Keeping
from rollbackd.engine.memory import Memory
from rollbackd.stores.sqlite import SqliteStore
from rollbackd.telemetry.metrics import Metrics
from tests.support import until
from tests.unit.core.test_regression import HOUR, Life
from tests.unit.core.world import SHOP, machine, release
from tests.unit.engine.test_engine import Bench


class CountingStore(SqliteStore):
    full = False

    def __init__(self, directory: Path, clock: FakeClock) -> None:
        super().__init__(directory, clock)
        self.written: list[set[str]] = []  # the keys of each write

    @property
    def writes(self) -> int:
        return len(self.written)

    async def put_blobs(self, values: Mapping[str, Json]) -> None:
        if self.full:
            raise TemporaryError("no space left", hint="free space")
        await super().put_blobs(values)
        self.written.append(set(values))


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
    (await again.engine.anew())()
    state = again.engine.states[SHOP]
    decision = decide(again.engine.policy, state, 146)
    await again.disk.close()

    assert not isinstance(decision, RollBack)
    assert state.current == release(42)


@pytest.mark.parametrize("part", ["ledger", "state", "regressions"])
async def test_what_is_damaged_is_left_out_said_loudly_and_written_anew(
    home: Home, tmp_path: Path, part: str
) -> None:
    await home.go_bad()
    await home.write()
    await home.disk.put_blobs({f"regressions/{SHOP}": {"kept": [1, 2, 3]}})
    key = f"{part}/{SHOP}"
    with sqlite3.connect(tmp_path / "rollbackd.db") as connection:
        cut = "UPDATE blob SET body = substr(body, 1, 7) WHERE key = ?"
        assert connection.execute(cut, (key,)).rowcount == 1

    with capture_logs() as logs:
        again = await restarted(home, tmp_path, 146)
    await again.engine.memory.write(again.engine.states, everything=True)
    mended = await again.disk.get_blob(f"ledger/{SHOP}")
    await again.disk.close()

    told = [each for each in logs if each["event"] == "store.failed"]
    assert [(each["key"], each["log_level"]) for each in told] == [(key, "error")]
    assert again.engine.states[SHOP].deploys.current is not None
    assert isinstance(mended, dict)


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


# What regression triggers remember ----------------------------------------------------------------

STATE, HISTORY, LEDGER = f"state/{SHOP}", f"regressions/{SHOP}", f"ledger/{SHOP}"


class Comparing:
    """An hour of v41 and a memory that wrote all of it at the end; the history is due in a minute.

    It stands alone: an engine would write the ledger, too.
    """

    def __init__(self, directory: Path) -> None:
        self.life = Life()
        self.clock = FakeClock(0.0)
        self.disk = CountingStore(directory, self.clock)
        self.keeping = Keeping(self.disk, Metrics(CollectorRegistry()))
        self.memory = Memory(self.clock, self.keeping)

    @property
    def state(self) -> TargetState:
        return self.life.world.state

    async def start(self, at: float) -> None:
        await self.disk.open()
        self.run(HOUR)
        await self.write()
        self.run(HOUR + at)
        self.disk.written.clear()

    def run(self, until: float) -> None:
        self.clock.advance(self.life.run(until).at - self.clock.now())

    async def write(self) -> None:
        await self.memory.write({SHOP: self.state})

    async def kept(self) -> Any:
        found = await self.disk.get_blob(HISTORY)
        assert isinstance(found, dict)
        return found["kept"]["worse"]["kept"]


@pytest.fixture
async def comparing(tmp_path: Path) -> AsyncIterator[Comparing]:
    made = Comparing(tmp_path)
    await made.start(20)
    yield made
    await made.disk.close()


async def test_a_new_release_is_on_disk_together_with_what_it_is_compared_with(
    comparing: Comparing,
) -> None:
    news = ReleasesSeen(target=SHOP, at=HOUR + 20, releases=(release(42), release(41)))
    comparing.memory.tell(comparing.state, news)

    await comparing.write()

    assert [keys & {STATE, HISTORY} for keys in comparing.disk.written] == [{STATE, HISTORY}]
    assert (await comparing.kept())["begun_at"] == HOUR + 20


async def test_what_a_release_will_be_compared_with_is_on_disk_before_a_machine_runs_it(
    comparing: Comparing,
) -> None:
    old = MachinesSeen(target=SHOP, at=HOUR + 19, machines=(machine("a", "image-41", 41),))
    running = release(42, status=ReleaseStatus.RUNNING)
    comparing.memory.tell(comparing.state, old)
    await comparing.write()
    comparing.clock.advance(0.1)
    comparing.disk.written.clear()

    news = ReleasesSeen(target=SHOP, at=HOUR + 20, releases=(running, release(41)))
    comparing.memory.tell(comparing.state, news)
    await comparing.write()

    assert [keys & {STATE, HISTORY} for keys in comparing.disk.written] == [{STATE, HISTORY}]
    assert (await comparing.kept())["foreseen"]["at"] == HOUR + 20
    assert (await comparing.kept())["begun_at"] == 0


async def test_a_history_that_the_disk_did_not_take_is_written_with_the_next_state(
    comparing: Comparing,
) -> None:
    news = ReleasesSeen(target=SHOP, at=HOUR + 20, releases=(release(42), release(41)))
    comparing.memory.tell(comparing.state, news)
    comparing.disk.full = True
    await comparing.write()
    comparing.disk.full = False
    comparing.clock.advance(1)

    await comparing.write()

    assert [keys & {STATE, HISTORY} for keys in comparing.disk.written] == [{STATE, HISTORY}]
    assert (await comparing.kept())["begun_at"] == HOUR + 20


async def test_a_history_is_written_every_ten_seconds_while_a_release_is_watched(
    comparing: Comparing,
) -> None:
    news = ReleasesSeen(target=SHOP, at=HOUR + 20, releases=(release(42), release(41)))
    comparing.memory.tell(comparing.state, news)
    for _ in range(31):
        await comparing.write()
        comparing.clock.advance(1)

    assert sum(HISTORY in keys for keys in comparing.disk.written) == 4


class Counted(Ledger):
    """Counts how often it is made into JSON, which takes milliseconds where it is large."""

    told = 0

    def as_json(self) -> JsonObject:
        self.told += 1
        return super().as_json()


async def test_a_ledger_is_told_once_a_change_whoever_writes_it(comparing: Comparing) -> None:
    ledger = comparing.state.ledger = Counted()
    ledger.quarantine(release(40), 1.0, why="was rolled back from")
    for at in range(5):
        paused = Paused(target=SHOP, at=HOUR + at, until=600, by="ann", reason="migration")
        comparing.memory.tell(comparing.state, paused)
        await comparing.write()
        await comparing.keeping.keep_ledger(SHOP, ledger)
        comparing.clock.advance(1)
    assert (ledger.told, sum(LEDGER in keys for keys in comparing.disk.written)) == (1, 1)

    ledger.quarantine(release(39), 2.0, why="was rolled back from")
    await comparing.keeping.keep_ledger(SHOP, ledger)

    assert (ledger.told, sum(LEDGER in keys for keys in comparing.disk.written)) == (2, 2)
