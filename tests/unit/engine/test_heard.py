"""What the loop heard goes to the record in its order; who replays it judges by the same facts."""

import asyncio
from collections.abc import Sequence

import structlog

from rollbackd.clock import FakeClock
from rollbackd.core.errors import TemporaryError
from rollbackd.core.facts import Asleep, Fact
from rollbackd.core.model import ProbeName
from rollbackd.engine.heard import Heard
from tests.support import until
from tests.unit.core.world import SHOP


class Record:
    def __init__(self) -> None:
        self.facts: list[tuple[float, Fact]] = []
        self.full = False

    async def append(self, heard: Sequence[tuple[float, Fact]]) -> None:
        if self.full:
            raise TemporaryError("no space left")
        self.facts += heard

    async def read(self, since: float) -> Sequence[tuple[float, Fact]]:
        return [each for each in self.facts if each[0] >= since]


def look(at: float) -> Fact:
    return Asleep(target=SHOP, probe=ProbeName("health"), at=at)


async def test_what_came_in_while_a_tick_waited_counts_for_that_tick() -> None:
    clock, record = FakeClock(100.0), Record()
    heard = Heard(clock, record)
    heard.note(look(99))
    clock.advance(0.9)
    heard.note(look(100))
    clock.advance(0.2)
    heard.note(look(100.5))

    heard.tick(101.0)
    await heard.flush()

    assert [at for at, _ in record.facts] == [100.0, 100.9, 101.0]


async def test_what_was_heard_since_the_newest_tick_waits_for_the_next() -> None:
    clock, record = FakeClock(100.0), Record()
    heard = Heard(clock, record)
    heard.note(look(99))

    await heard.flush()

    assert record.facts == []


async def test_a_record_that_takes_nothing_costs_the_facts_and_one_line() -> None:
    clock, record = FakeClock(100.0), Record()
    heard = Heard(clock, record)
    record.full = True

    with structlog.testing.capture_logs() as told:
        for second in (101.0, 102.0):
            heard.note(look(second))
            heard.tick(second)
            await heard.flush()
        record.full = False
        heard.note(look(103))
        heard.tick(103.0)
        await heard.flush()

    assert [line["event"] for line in told] == ["record.failed"]
    assert [fact.at for _, fact in record.facts] == [103]


async def test_without_a_record_nothing_is_collected() -> None:
    heard = Heard()
    heard.note(look(1))
    heard.tick(2)

    await heard.flush()
    await heard.run()


async def test_it_writes_every_few_seconds() -> None:
    clock, record = FakeClock(100.0), Record()
    heard = Heard(clock, record)
    heard.note(look(99))
    heard.tick(101.0)
    running = asyncio.create_task(heard.run())

    await until(lambda: len(record.facts) == 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
