"""The one place where the process reads a clock."""

from __future__ import annotations

import asyncio
import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # also counts a suspended machine
_SLEW_SECONDS = 0.05  # a look; NTP itself moves far slower


class SystemClock:
    """The machine's time, but steady: somebody who sets the clock moves it only when asked.

    Every window, cool-down and deadline counts on time that passes second by second.
    """

    def __init__(self) -> None:
        self._began_at = time.time() - time.clock_gettime(_STEADY)

    def now(self) -> float:
        return self._began_at + time.clock_gettime(_STEADY)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def behind(self) -> float:
        """By how many seconds the machine's clock is ahead of ours; negative: it is behind."""
        return time.time() - self.now()

    def slew(self) -> None:
        """Follow the machine's clock by a little; called once a second it keeps up with NTP."""
        self._began_at += max(-_SLEW_SECONDS, min(_SLEW_SECONDS, self.behind()))

    def step(self) -> None:
        """Take the machine's time as it is: `now` may jump, in either direction."""
        self._began_at += self.behind()


class FakeClock:
    """A clock that tests move by hand. `sleep` returns at once and moves it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._now += seconds
