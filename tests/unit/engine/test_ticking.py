"""Ticks carry whole seconds, each once, whatever the clock does."""

import asyncio

from rollbackd.core.facts import Tick
from rollbackd.engine.ticking import ticks


class Scripted:
    """A clock that shows these times, one at each sleep, and then stands still."""

    def __init__(self, *times: float) -> None:
        self._times = list(times)
        self.slept: list[float] = []
        self.over = asyncio.Event()

    def now(self) -> float:
        return self._times[0]

    def monotonic(self) -> float:
        return self._times[0]

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        if len(self._times) == 1:
            self.over.set()
            await asyncio.Event().wait()
        self._times.pop(0)


async def told(clock: Scripted, every: float = 1.0) -> list[float]:
    found: list[Tick] = []
    running = asyncio.create_task(ticks(clock, lambda: every, found.append))
    await clock.over.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return [tick.at for tick in found]


async def test_a_tick_has_the_second_that_is_over_and_waits_for_the_next() -> None:
    clock = Scripted(100.25, 101.002, 102.0)

    assert await told(clock) == [100.0, 101.0, 102.0]
    assert clock.slept == [0.75, 0.998, 1.0]


async def test_waking_too_early_tells_no_second_twice() -> None:
    assert await told(Scripted(100.0, 100.9999, 101.0001)) == [100.0, 101.0]


async def test_seconds_slept_through_are_left_out() -> None:
    assert await told(Scripted(100.0, 107.5, 108.0)) == [100.0, 107.0, 108.0]


async def test_a_clock_that_was_set_back_ticks_on() -> None:
    assert await told(Scripted(100.0, 40.5, 41.0)) == [100.0, 40.0, 41.0]


async def test_longer_ticks_are_aligned_too() -> None:
    clock = Scripted(101.5, 105.0)

    assert await told(clock, every=5.0) == [101.0, 105.0]
    assert clock.slept[0] == 3.5
