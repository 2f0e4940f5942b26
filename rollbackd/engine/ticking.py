"""Tells the loop that a second is over. Ticks carry whole seconds, so that a replay can too."""

from __future__ import annotations

import math
from collections.abc import Callable

from rollbackd.core.facts import Tick
from rollbackd.core.ports import Clock


async def ticks(
    clock: Clock, every_seconds: Callable[[], float], publish: Callable[[Tick], None]
) -> None:
    """A tick at every whole second that `every_seconds` divides, until cancelled.

    A second that was slept through is left out; one that comes again, because the clock was set
    back, is told again. The first tick comes at once.
    """
    told: float | None = None
    while True:
        now = clock.now()
        at = float(math.floor(now))
        if at != told:
            publish(Tick(at=at))
            told = at
        every = max(1.0, every_seconds())
        await clock.sleep(max(0.001, (math.floor(at / every) + 1) * every - now))
