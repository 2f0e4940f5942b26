"""Measures how late our own event loop runs, so that our slowness is never the target's."""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from rollbackd.core.ports import Clock
from rollbackd.telemetry.metrics import Metrics

BEAT_SECONDS = 0.05
REMEMBERED_SECONDS = 30.0


class LoopLag:
    """Beats on the loop and remembers how late each beat came."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._beats: deque[tuple[float, float]] = deque()
        self._shown_at = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            asleep_at = self._clock.monotonic()
            await self._clock.sleep(BEAT_SECONDS)
            self._note(asleep_at, self._clock.monotonic())

    def worst_since(self, since: float) -> float:
        """The longest lag in seconds of any beat that ended after `since` (monotonic seconds)."""
        newest_first = reversed(self._beats)
        return max(
            (lag for _, lag in takewhile(lambda b: b[0] >= since, newest_first)), default=0.0
        )

    def _note(self, asleep_at: float, woke_at: float) -> None:
        self._beats.append((woke_at, max(0.0, woke_at - asleep_at - BEAT_SECONDS)))
        while self._beats[0][0] < woke_at - REMEMBERED_SECONDS:
            self._beats.popleft()
        if woke_at - self._shown_at >= 1:
            self._metrics.loop_lag(self.worst_since(woke_at - 10))
            self._shown_at = woke_at
