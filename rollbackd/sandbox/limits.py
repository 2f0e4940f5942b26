"""Fly's documented rate limits: one bucket per action and object. Off means unlimited."""

from __future__ import annotations

import time
from collections.abc import Callable

from rollbackd.sandbox.errors import FlyError

RATE, BURST = 1.0, 3.0
GET_MACHINE_RATE, GET_MACHINE_BURST = 5.0, 10.0
GET_MACHINE = "machine.get"


class Limits:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.enabled = True
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, action: str, identifier: str) -> None:
        """One call, or 429."""
        if not self.enabled:
            return
        eager = action == GET_MACHINE
        rate, burst = (GET_MACHINE_RATE, GET_MACHINE_BURST) if eager else (RATE, BURST)
        now = self.clock()
        left, at = self._buckets.get((action, identifier), (burst, now))
        left = min(burst, left + (now - at) * rate)
        if left < 1:
            self._buckets[action, identifier] = (left, now)
            raise FlyError(429, "rate limit exceeded")
        self._buckets[action, identifier] = (left - 1, now)
